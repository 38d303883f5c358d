//! The named points, and what makes each of them come.

use std::collections::BTreeSet;
use std::path::Path;

/// What passes a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// One person changes.
    Change,
    /// Somebody becomes a contact, or an employee again.
    Kind,
    /// A mapped group is compared.
    Group,
    /// A full sync.
    Sync,
    /// Other rules come into force.
    Rules,
    /// A delta round.
    Delta,
    /// The first subscriptions are created.
    Subscribing,
    /// Subscriptions are renewed.
    Renewal,
}

/// Every point there is.
pub const POINTS: [(&str, Moment); 30] = [
    ("receiver.before_publish", Moment::Change),
    ("queue.before_commit", Moment::Change),
    ("queue.committed", Moment::Change),
    ("queue.flushed", Moment::Change),
    ("receiver.published", Moment::Change),
    ("taking.taken", Moment::Change),
    ("taking.stored", Moment::Change),
    ("taking.flushed", Moment::Change),
    ("taking.acked", Moment::Change),
    ("due.claimed", Moment::Change),
    ("store.ticket_drawn", Moment::Change),
    ("due.read", Moment::Change),
    ("due.before_commit", Moment::Change),
    ("store.before_commit", Moment::Change),
    ("store.committed", Moment::Change),
    ("due.committed", Moment::Change),
    ("store.archived", Moment::Kind),
    ("group.listed", Moment::Group),
    ("group.compared", Moment::Group),
    ("task.claimed", Moment::Sync),
    ("full_sync.saved", Moment::Sync),
    ("reevaluate.saved", Moment::Rules),
    ("delta.page_committed", Moment::Delta),
    ("delta.before_link", Moment::Delta),
    ("subscription.intended", Moment::Subscribing),
    ("subscription.created", Moment::Subscribing),
    ("subscription.saved", Moment::Subscribing),
    ("renewal.begun", Moment::Renewal),
    ("renewal.answered", Moment::Renewal),
    ("renewal.saved", Moment::Renewal),
];

/// Every point named in the source of any crate.
pub fn in_source() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for of_crate in std::fs::read_dir(crates).unwrap() {
        look_in(&of_crate.unwrap().path().join("src"), &mut found);
    }
    found
}

fn look_in(folder: &Path, found: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            look_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let points = text.split("target: \"lockstep::point\",").skip(1);
            found.extend(points.filter_map(|rest| rest.split('"').nth(1)).map(str::to_owned));
        }
    }
}

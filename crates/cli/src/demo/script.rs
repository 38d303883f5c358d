//! The story: what happens in Microsoft, what must follow here, and how long it took.

use std::time::Duration;

use lockstep_core::ObjectId;
use lockstep_core::desired::Outcome;
use lockstep_core::record::{Record, Status};
use lockstep_simulator::NewUser;
use lockstep_store::Store;
use lockstep_store::view::event::EventFilter;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::company::refused;
use super::screen::{Row, Screen};
use super::world::{FASTER, World};
use crate::failure::Failure;
use crate::word::{word, words};

/// A change that did not arrive by then counts as lost.
const ARRIVES_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at a record.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Longer than `coalesce`: the next change about the same person is read at once.
pub const BETWEEN_CHANGES: Duration = Duration::from_secs(6);

const SCOPE_RULE: &str = "rule: two reads 10 s apart";
pub const BACK_RULE: &str = "rule: two reads 30 s apart";

/// What somebody does in Microsoft.
#[derive(Clone, Debug)]
pub enum Change {
    Hire { name: String, group: Uuid },
    Rename { user: Uuid, name: String },
    Retitle { user: Uuid, title: String },
    Move { user: Uuid, from: Uuid, to: Uuid },
    Leave { user: Uuid, group: Uuid },
    Enable { user: Uuid, enabled: bool },
    Delete { user: Uuid },
    Restore { user: Uuid },
}

/// One scene of the story.
pub struct Scene {
    /// In words.
    pub what: String,
    /// In Microsoft.
    pub change: Change,
    /// What the record must look like afterwards.
    pub expected: String,
    /// Which side of the record the scene is about.
    pub aspect: Aspect,
    /// Why it takes a while, if a rule says so.
    pub rule: Option<&'static str>,
}

/// What of a record is looked at.
#[derive(Clone, Copy)]
pub enum Aspect {
    Access,
    Name,
    Title,
}

/// One change as `demo --output json` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    pub what: String,
    pub expected: String,
    pub observed: Option<String>,
    pub milliseconds: u64,
}

impl Shown {
    /// The record came to look as it must.
    pub fn arrived(&self) -> bool {
        self.observed.as_ref() == Some(&self.expected)
    }
}

impl Aspect {
    /// What the record looks like from this side.
    pub fn of(self, record: &Record) -> String {
        match self {
            Self::Access if record.status == Status::Active => {
                let role = record.role.as_deref().unwrap_or("no role");
                format!("active {}, {role}", word(record.kind))
            }
            Self::Access => format!("{}: {}", word(record.status), words(&record.reasons)),
            Self::Name => format!("named {}", record.display_name.as_deref().unwrap_or("-")),
            Self::Title => {
                format!("titled {}", record.fields.get("job_title").and_then(|title| title.as_str()).unwrap_or("-"))
            }
        }
    }
}

/// The scene `story`: everything that happens to people in a directory, once.
pub fn story(world: &World) -> Vec<Scene> {
    let company = &world.company;
    let (staff, managers) = (company.staff.0, company.managers.0);
    let person = |place: usize| company.people.get(place).map_or_else(Uuid::nil, |person| person.0);
    let (ada, alan, katherine, edsger, barbara) = (person(0), person(1), person(2), person(3), person(4));
    let access = |what: &str, change, expected: &str, rule| Scene {
        what: what.to_owned(),
        change,
        expected: expected.to_owned(),
        aspect: Aspect::Access,
        rule,
    };
    vec![
        access(
            "Grace Hopper is hired into Staff",
            Change::Hire { name: "Grace Hopper".to_owned(), group: staff },
            "active employee, Technician",
            None,
        ),
        Scene {
            what: "Ada Lovelace is now Ada King".to_owned(),
            change: Change::Rename { user: ada, name: "Ada King".to_owned() },
            expected: "named Ada King".to_owned(),
            aspect: Aspect::Name,
            rule: None,
        },
        access(
            "Alan Turing moves from Staff to Managers",
            Change::Move { user: alan, from: staff, to: managers },
            "active employee, Manager",
            None,
        ),
        access(
            "Edsger Dijkstra leaves Staff",
            Change::Leave { user: edsger, group: staff },
            "inactive: out_of_scope",
            Some(SCOPE_RULE),
        ),
        access(
            "Katherine Johnson is disabled",
            Change::Enable { user: katherine, enabled: false },
            "inactive: upstream_disabled",
            None,
        ),
        access(
            "Katherine Johnson is enabled again",
            Change::Enable { user: katherine, enabled: true },
            "active employee, Technician",
            Some(BACK_RULE),
        ),
        access("Barbara Liskov is deleted", Change::Delete { user: barbara }, "inactive: upstream_deleted", None),
        access(
            "Barbara Liskov is restored",
            Change::Restore { user: barbara },
            "active employee, Manager",
            Some(BACK_RULE),
        ),
    ]
}

/// Plays one scene and waits for the record to follow.
pub async fn play(world: &World, scene: &Scene, screen: &mut Screen) -> Result<Shown, Failure> {
    world.let_time_pass(BETWEEN_CHANGES).await;
    let changed_at = Instant::now();
    let user = scene.change.make(world)?;
    world.hurry(scene.rule.is_some());
    let watched = watch(world, user, scene, changed_at).await;
    world.hurry(false);
    let observed = watched?;
    let shown = Shown {
        what: scene.what.clone(),
        expected: scene.expected.clone(),
        observed,
        milliseconds: u64::try_from(changed_at.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    let (rule, source) = why(world, user).await?;
    let waited = scene.rule.map(|rule| format!("{rule}; the clock ran {FASTER} times faster"));
    screen.row(&Row { shown: &shown, rule, source, waited_for: waited.as_deref() })?;
    Ok(shown)
}

/// Looks until the record is as it must be; somebody who only moves must never be out in between.
async fn watch(world: &World, user: Uuid, scene: &Scene, since: Instant) -> Result<Option<String>, Failure> {
    let mut seen = None;
    while since.elapsed() < ARRIVES_WITHIN {
        if let Some(record) = world.record_of(user).await? {
            let observed = scene.aspect.of(&record);
            if observed == scene.expected {
                return Ok(Some(observed));
            }
            if matches!(scene.change, Change::Move { .. }) && record.status != Status::Active {
                return Ok(Some(observed));
            }
            seen = Some(observed);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(seen)
}

/// The rule that won, and by what the news came.
pub async fn why(world: &World, user: Uuid) -> Result<(Option<String>, Option<String>), Failure> {
    let filter = EventFilter { object: Some(ObjectId(user)), limit: 1, ..EventFilter::default() };
    let event = world.store.list_events(&filter).await?.pop();
    let source = event.map(|event| format!("{} notification", word(event.kind)));
    let rule = match world.record_of(user).await? {
        Some(record) if record.status == Status::Active => winning_rule(&world.store, &record).await?,
        _ => None,
    };
    Ok((rule, source))
}

async fn winning_rule(store: &Store, record: &Record) -> Result<Option<String>, Failure> {
    let Some(source) = store.explain_source(record.id).await? else {
        return Ok(None);
    };
    let explanation = source.explanation();
    let Some(won) = explanation.rules.iter().find(|rule| rule.outcome == Outcome::Won) else {
        return Ok(None);
    };
    let group = explanation.groups.iter().find(|group| group.id == won.group);
    Ok(Some(group.map_or_else(|| won.group.to_string(), |group| group.name.clone())))
}

impl Change {
    /// Makes it in the simulated tenant; answers whom it is about.
    pub fn make(&self, world: &World) -> Result<Uuid, Failure> {
        let tenant = &world.tenant;
        match self {
            Self::Hire { name, group } => {
                let user = tenant.create_user(NewUser::named(name).with("jobTitle", "Engineer"));
                tenant.add_member(*group, user).map(|()| user)
            }
            Self::Rename { user, name } => tenant.patch_user(*user, renamed(name)).map(|()| *user),
            Self::Retitle { user, title } => tenant.patch_user(*user, json!({ "jobTitle": title })).map(|()| *user),
            Self::Move { user, from, to } => {
                tenant.add_member(*to, *user).and_then(|()| tenant.remove_member(*from, *user)).map(|()| *user)
            }
            Self::Leave { user, group } => tenant.remove_member(*group, *user).map(|()| *user),
            Self::Enable { user, enabled } => {
                tenant.patch_user(*user, json!({ "accountEnabled": enabled })).map(|()| *user)
            }
            Self::Delete { user } => tenant.delete_user(*user, false).map(|()| *user),
            Self::Restore { user } => tenant.restore_user(*user).map(|()| *user),
        }
        .map_err(refused)
    }
}

fn renamed(name: &str) -> serde_json::Value {
    let (given, family) = name.split_once(' ').unwrap_or((name, ""));
    json!({ "displayName": name, "givenName": given, "surname": family })
}

//! What a delta round has to tell, cut into pieces that fit a page.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Cursor, Round};
use crate::directory::change::What;
use crate::directory::object::Life;
use crate::directory::schema::Kind;
use crate::directory::{MANAGER, Seen, View};
use crate::odata::select::Select;

/// One row: an object, and a slice of the members that concern it.
pub(super) struct Piece {
    id: Uuid,
    members: Vec<Uuid>,
    /// Which properties changed; `None` is all.
    changed: Option<Vec<String>>,
    /// The manager changed; who it was before.
    led_before: Option<Option<Uuid>>,
}

impl Piece {
    pub fn row(&self, view: View<'_>, round: &Round, select: &Select) -> Value {
        let Some(seen) = view.any(self.id).filter(|seen| seen.life == Life::Live) else {
            let purged = view.any(self.id).is_none_or(|seen| seen.life == Life::Purged);
            let reason = if purged { "deleted" } else { "changed" };
            return json!({"id": self.id, "@removed": {"reason": reason}});
        };
        let only = self.changed.as_deref().filter(|_| round.minimal);
        let mut row = select.show_delta(&seen, only);
        if !self.members.is_empty() {
            let current = view.members(self.id);
            let members: Vec<Value> =
                self.members.iter().map(|member| member_row(view, *member, current.contains(member))).collect();
            row.insert("members@delta".to_owned(), Value::Array(members));
        }
        if let Some(before) = self.led_before.filter(|_| select.names(MANAGER)) {
            row.extend(manager_row(view, &seen, before).map(|row| ("manager@delta".to_owned(), json!([row]))));
        }
        Value::Object(row)
    }

    /// How much of a page it takes.
    fn weight(&self) -> usize {
        self.members.len().max(1)
    }
}

/// Id and type alone [DELTA25]; nothing where there is no manager and was none.
fn manager_row(view: View<'_>, user: &Seen<'_>, before: Option<Uuid>) -> Option<Value> {
    match view.manager(user) {
        Some(manager) => Some(member_row(view, manager.id, true)),
        None => before.map(|before| member_row(view, before, false)),
    }
}

/// `deleted` stands both for "left the group" and for "was purged".
fn member_row(view: View<'_>, member: Uuid, present: bool) -> Value {
    let kind = view.any(member).map_or(Kind::User, |seen| seen.kind);
    let mut row = json!({"@odata.type": kind.odata_type(), "id": member});
    if !present {
        row["@removed"] = json!({"reason": "deleted"});
    }
    row
}

/// Whether the round tells about members at all.
fn tells_members(round: &Round) -> bool {
    let asked = round.select.as_ref().is_none_or(|names| names.iter().any(|name| name == "members"));
    round.kind == Kind::Group && asked
}

fn wanted(round: &Round, id: Uuid) -> bool {
    round.ids.as_ref().is_none_or(|ids| ids.contains(&id))
}

/// A page of a first round: every live object with all its members, by id.
pub(super) fn of_everything(view: View<'_>, round: &Round) -> (Vec<Piece>, Option<Cursor>) {
    let (start, inside) = match round.cursor {
        Cursor::After { object, member: None } => (Some(object), None),
        Cursor::After { object, member: Some(member) } => (None, Some((object, member))),
        _ => (None, None),
    };
    let resumed = inside.and_then(|(object, _)| view.live(object));
    let start = inside.map(|(object, _)| object).or(start);
    let rest = view.all_live(round.kind, start);
    let mut page = Page::new(round.size);
    for seen in resumed.into_iter().chain(rest).filter(|seen| wanted(round, seen.id)) {
        if page.is_full() {
            break;
        }
        let after = inside.filter(|(object, _)| *object == seen.id).map(|(_, member)| member);
        page.add(&seen, members_after(view, round, seen.id, after));
    }
    page.finish(view, round)
}

fn members_after(view: View<'_>, round: &Round, group: Uuid, after: Option<Uuid>) -> Vec<Uuid> {
    if !tells_members(round) {
        return Vec::new();
    }
    view.live_members(group).into_iter().filter(|member| after.is_none_or(|after| *member > after)).collect()
}

/// A page under construction, and where the next one begins.
struct Page {
    pieces: Vec<Piece>,
    room: usize,
    cursor: Option<Cursor>,
    cut: bool,
}

impl Page {
    fn new(size: usize) -> Self {
        Self { pieces: Vec::new(), room: size, cursor: None, cut: false }
    }

    fn is_full(&self) -> bool {
        self.room == 0 || self.cut
    }

    fn add(&mut self, seen: &Seen<'_>, mut members: Vec<Uuid>) {
        self.cut = members.len() > self.room;
        members.truncate(self.room);
        let member = members.last().copied().filter(|_| self.cut);
        self.cursor = Some(Cursor::After { object: seen.id, member });
        let piece = Piece { id: seen.id, members, changed: None, led_before: Some(None) };
        self.room = self.room.saturating_sub(piece.weight());
        self.pieces.push(piece);
    }

    fn finish(self, view: View<'_>, round: &Round) -> (Vec<Piece>, Option<Cursor>) {
        let more = match self.cursor {
            Some(Cursor::After { object, member: None }) => {
                view.all_live(round.kind, Some(object)).any(|seen| wanted(round, seen.id))
            }
            other => other.is_some(),
        };
        (self.pieces, self.cursor.filter(|_| more))
    }
}

/// A page of a later round: each changed object once (a large change of members in slices), in the
/// order of its first change.
pub(super) fn of_changes(view: View<'_>, round: &Round, from: u64) -> (Vec<Piece>, Option<Cursor>) {
    let (told, inside) = match round.cursor {
        Cursor::Changed { told, member } => (told, member),
        _ => (0, None),
    };
    let (mut page, mut room) = (Vec::new(), round.size);
    for (index, (id, changed)) in changed_objects(view, round, from).into_iter().enumerate().skip(told) {
        if room == 0 {
            return (page, Some(Cursor::Changed { told: index, member: None }));
        }
        let after = inside.filter(|_| index == told);
        let mut members = changed.members_told(view, round, id);
        members.retain(|member| after.is_none_or(|after| *member > after));
        let is_cut = members.len() > room;
        members.truncate(room);
        let member = members.last().copied();
        let led_before = if changed.whole { Some(changed.led_before.flatten()) } else { changed.led_before };
        let piece = Piece { id, members, changed: (!changed.whole).then_some(changed.properties), led_before };
        room = room.saturating_sub(piece.weight());
        page.push(piece);
        if is_cut {
            return (page, Some(Cursor::Changed { told: index, member }));
        }
    }
    (page, None)
}

/// Who is no more, though a first round need not tell: deleted objects, and members that left.
pub(super) fn of_the_gone(view: View<'_>, round: &Round) -> Vec<Value> {
    let gone = view.all(round.kind, None).filter(|seen| seen.life != Life::Live && wanted(round, seen.id));
    let piece = |id| Piece { id, members: Vec::new(), changed: None, led_before: None };
    let objects = gone.map(|seen| piece(seen.id));
    let select = Select(round.select.clone());
    let mut rows: Vec<Value> = objects.map(|piece| piece.row(view, round, &select)).collect();
    let changes = view.directory().changes().between(0, round.to).filter(|_| tells_members(round));
    let left: BTreeSet<(Uuid, Uuid)> = changes
        .filter_map(|change| match change.what {
            What::Member(member) if !view.members(change.id).contains(&member) => Some((change.id, member)),
            _ => None,
        })
        .filter(|(group, _)| wanted(round, *group) && view.live(*group).is_some())
        .collect();
    let removed = |(group, member)| json!({"id": group, "members@delta": [member_row(view, member, false)]});
    rows.extend(left.into_iter().map(removed));
    rows
}

#[derive(Default)]
struct Changed {
    members: BTreeSet<Uuid>,
    properties: Vec<String>,
    /// Created, deleted, restored: everything counts as changed.
    whole: bool,
    /// Who was the manager before the first change of that.
    led_before: Option<Option<Uuid>>,
}

impl Changed {
    /// The members to tell about, by id.
    fn members_told(&self, view: View<'_>, round: &Round, group: Uuid) -> Vec<Uuid> {
        let mut members = self.members.clone();
        if self.whole && tells_members(round) {
            // A restored group comes back as new, with all its members.
            members.extend(view.live_members(group));
        }
        members.into_iter().collect()
    }
}

/// What changed after `from`, by object, in the order of the first change of each.
fn changed_objects(view: View<'_>, round: &Round, from: u64) -> Vec<(Uuid, Changed)> {
    let mut order = Vec::new();
    let mut changed: HashMap<Uuid, Changed> = HashMap::new();
    let changes = view.directory().changes().between(from, round.to);
    for change in changes.filter(|change| change.kind == round.kind && wanted(round, change.id)) {
        if !tracked(round, &change.what) {
            continue;
        }
        let entry = changed.entry(change.id).or_insert_with(|| {
            order.push(change.id);
            Changed::default()
        });
        match &change.what {
            What::Life => entry.whole = true,
            What::Properties(names) => entry.properties.extend(names.iter().cloned()),
            What::Member(member) => {
                entry.members.insert(*member);
            }
            What::Manager(before) => {
                entry.led_before.get_or_insert(*before);
            }
        }
    }
    order.into_iter().filter_map(|id| changed.remove(&id).map(|changed| (id, changed))).collect()
}

/// Whether the round's options follow this change.
fn tracked(round: &Round, what: &What) -> bool {
    match what {
        What::Life => true,
        What::Properties(names) => {
            round.select.as_ref().is_none_or(|select| names.iter().any(|name| select.contains(name)))
        }
        What::Member(_) => tells_members(round),
        What::Manager(_) => round.select.as_ref().is_some_and(|names| names.iter().any(|name| name == MANAGER)),
    }
}

//! What an admin does by hand in a history, and what must come of it: local edits (Y4), on and off by hand, answers to
//! holds (D6).

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::by_hand::{Activation, FieldEdit};
use lockstep_core::record::{Reason, Record, Status};
use lockstep_core::{HoldId, RecordId};
use lockstep_store::view::hold::{HeldState, HoldFilter, HoldState};
use lockstep_store::view::record::RecordView;
use lockstep_store::{Admin, HoldDecision};
use lockstep_tests::model::{account_reasons, reasons, winner};
use uuid::Uuid;

use crate::history::stage::{Card, Stage};

/// After this long a replica shows what changed, and it has been read.
const SURELY_READ: i64 = 60_000_000;
/// `t_missed`: after this long it has been found although its notification was lost.
const SURELY_FOUND: i64 = 600_000_000;

/// What was done by hand and holds until somebody takes it back or Microsoft changes.
#[derive(Default)]
pub struct ByHand {
    /// Off by hand now.
    pub off: BTreeSet<Uuid>,
    /// Off by hand now or at some instant since the last check.
    pub off_lately: BTreeSet<Uuid>,
    /// Whose removal somebody said yes to: it does not count for the brake.
    pub approved: BTreeSet<Uuid>,
    /// Whose removal somebody said no to, and when.
    pub kept: BTreeMap<Uuid, i64>,
    edits: BTreeMap<Uuid, Edit>,
}

/// The last edit of somebody's name.
struct Edit {
    record: RecordId,
    name: String,
    at: i64,
    /// Entra's own values were here and had been for long.
    on_rest: bool,
    /// The person changed in Entra since.
    outdated: bool,
}

fn admin() -> Admin {
    Admin { name: "grace".to_owned(), reason: Some("a history".to_owned()) }
}

impl ByHand {
    /// Y4: somebody's own properties changed in Entra.
    pub fn changed_in_entra(&mut self, person: Uuid) {
        self.edits.entry(person).and_modify(|edit| edit.outdated = true);
    }

    /// Whether the last loss of access was nobody's decision here, and so counts for the brake.
    pub fn counts(&self, person: Uuid) -> bool {
        !self.off_lately.contains(&person) && !self.approved.contains(&person)
    }
}

/// Y4: another name than Entra's.
pub async fn edit(stage: &mut Stage, person: Uuid) {
    let Some(record) = stage.world.record(person).await.filter(|record| record.status != Status::Archived) else {
        return;
    };
    let name = stage.next_name("Edited");
    let edits = [FieldEdit { field: "display_name".to_owned(), value: Some(name.clone()) }];
    stage.world.store.edit_record(record.id, &edits, &admin()).await.expect("a name can be edited");
    let (at, card) = (stage.now(), &stage.cards[&person]);
    let shows_entra = record.display_name.as_ref() == Some(&card.name) && record.email.as_ref() == Some(&card.mail);
    let on_rest = shows_entra && card.since + SURELY_READ < at && account_is_known(stage, person, &record);
    stage.by_hand.edits.insert(person, Edit { record: record.id, name, at, on_rest, outdated: false });
}

/// A notification may be lost: what Entra says of the account may still have to be found.
fn account_is_known(stage: &Stage, person: Uuid, record: &Record) -> bool {
    let said = stage.chronicle.now().map(|(truth, _)| account_reasons(truth.get(&person))).unwrap_or_default();
    let own = Reason::SYNCED.iter().filter(|reason| **reason != Reason::OutOfScope);
    own.filter(|reason| record.reasons.contains(reason)).copied().collect::<BTreeSet<_>>() == said
}

/// Off by hand; on again, where it was off.
pub async fn switch(stage: &mut Stage, person: Uuid, on: bool) {
    let Some(record) = stage.world.record(person).await.filter(|record| record.status != Status::Archived) else {
        return;
    };
    if on {
        let activation = stage.world.store.activate_record(record.id, &admin()).await.expect("by hand is taken back");
        stage.books.asked += u64::from(matches!(activation, Activation::AfterRead(_)));
        stage.by_hand.off.remove(&person);
    } else {
        stage.world.store.deactivate_record(record.id, &admin()).await.expect("a record can be switched off");
        stage.by_hand.off.insert(person);
        stage.by_hand.off_lately.insert(person);
    }
}

/// D6: yes or no to some of those whom an open hold names.
pub async fn answer(stage: &mut Stage, decision: HoldDecision, percent: u64) {
    let filter = HoldFilter { state: Some(HoldState::Open), ..HoldFilter::default() };
    let holds = stage.world.store.list_holds(&filter).await.expect("the store answers");
    let Some(hold) = holds.first() else { return };
    let waits = hold.people.iter().filter(|person| person.state == HeldState::Held).map(|person| person.record);
    let mut waits: Vec<RecordId> = waits.collect();
    waits.retain(|_| stage.chance.percent(percent));
    stage.world.store.answer_hold(hold.id, decision, &waits, "a history").await.expect("the answer is taken");
    note_answers(stage, hold.id, &waits).await;
}

async fn note_answers(stage: &mut Stage, hold: HoldId, answered: &[RecordId]) {
    let hold = stage.world.store.lookup_hold(hold).await.expect("the store answers").expect("holds are kept");
    let records = stage.world.records().await;
    for held in hold.people.iter().filter(|held| answered.contains(&held.record)) {
        let record = records.iter().find(|record| record.id == held.record);
        let Some(person) = record.and_then(|record| record.entra_id).map(|id| id.0) else { continue };
        let at = stage.now();
        match held.state {
            HeldState::Kept => {
                stage.by_hand.kept.insert(person, at);
            }
            HeldState::Approved | HeldState::Gone => {
                stage.by_hand.approved.insert(person);
                stage.by_hand.kept.remove(&person);
            }
            HeldState::Held | HeldState::Back | HeldState::Overtaken => {}
        }
    }
}

/// Nobody whom an admin switched off is in, whatever Microsoft says.
pub fn judge(stage: &Stage, person: Uuid, active: bool) -> Result<(), String> {
    if active && stage.by_hand.off.contains(&person) {
        return Err(format!("D4: {person} is in, and was switched off by hand"));
    }
    Ok(())
}

/// D6: whether somebody's no explains that this person is in. They stay while nothing changed, and are judged like anybody
/// once it means something else.
pub fn stays_by_a_no(stage: &Stage, person: Uuid, record: &RecordView, held: bool) -> Result<bool, String> {
    let Some(at) = stage.by_hand.kept.get(&person).copied().filter(|_| !stage.by_hand.off.contains(&person)) else {
        return Ok(false);
    };
    if stage.chronicle.is_as_since(person, at - SURELY_FOUND) {
        return match record.status == Status::Active && !held {
            true => Ok(true),
            false => Err(format!("D6: {person} was to stay, has not changed, and is {:?}, held {held}", record.status)),
        };
    }
    let Some(((truth, rules), (then, law))) = stage.chronicle.now().zip(stage.chronicle.at(at)) else {
        return Ok(false);
    };
    let (now, then) = (truth.get(&person), then.get(&person));
    let gives = |person: Option<&_>, rules| person.and_then(|it| winner(it, rules)).map(|rule| (rule.kind, rule.role));
    Ok(reasons(now, rules) == reasons(then, law) && gives(now, rules) == gives(then, law))
}

/// Y4: the names that this person's record may have now.
pub fn names(stage: &Stage, person: Uuid, record: RecordId, card: &Card) -> BTreeSet<String> {
    let entras = card.name.clone();
    let edit = stage.by_hand.edits.get(&person).filter(|edit| edit.record == record && !edit.outdated);
    match edit {
        None => BTreeSet::from([entras]),
        Some(edit) if edit.on_rest && stage.chronicle.is_as_since(person, edit.at - SURELY_READ) => {
            BTreeSet::from([edit.name.clone()])
        }
        Some(edit) => BTreeSet::from([entras, edit.name.clone()]),
    }
}

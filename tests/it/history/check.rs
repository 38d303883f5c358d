//! What must hold at every step, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::record::{Kind, Reason, Status};
use lockstep_core::{ObjectId, RecordId, Timestamp};
use lockstep_store::People;
use lockstep_store::view::event::EventFilter;
use lockstep_store::view::record::RecordView;
use lockstep_store::view::review::ReviewFilter;
use lockstep_tests::model::{reasons, winner};
use uuid::Uuid;

use crate::history::admin;
use crate::history::brake::{self, Taken};
use crate::history::operation::MOST_LAG_MS;
use crate::history::stage::Stage;

/// What was seen of one person at a check.
#[derive(Clone, Copy)]
pub struct Seen {
    pub record: RecordId,
    pub kind: Kind,
    active: bool,
}

/// Holds what Lockstep did since the last check against what was true meanwhile.
pub async fn step(stage: &mut Stage) -> Result<(), String> {
    let records = stage.world.records().await;
    let held = brake::held(stage).await;
    // Reads between the checks may show anything true since the last check, or as long before as replicas lag.
    let from = stage.checked_at - i64::try_from(MOST_LAG_MS * 1_000).unwrap_or(i64::MAX);
    let mut seen = BTreeMap::new();
    for record in records.iter().filter(|record| record.status != Status::Archived) {
        let Some(person) = record.entra_id.map(|id| id.0) else { continue };
        let now = Seen { record: record.id, kind: record.kind, active: record.status == Status::Active };
        if seen.insert(person, now).is_some() {
            return Err(format!("G-20: {person} has two live records"));
        }
        judge(stage, person, now, from, record, &held)?;
        admin::judge(stage, person, now.active)?;
        if let Some(before) = stage.seen.get(&person).filter(|before| before.record != now.record) {
            changed_kind(stage, person, (*before, now), from, &records)?;
        }
    }
    if let Some(gone) = stage.seen.keys().find(|person| !seen.contains_key(*person)) {
        return Err(format!("G-17: the record of {gone} is gone"));
    }
    let now = stage.now();
    for (person, before) in stage.seen.iter().filter(|(person, before)| seen[person].record != before.record) {
        debug_assert!(seen[person].kind != before.kind, "judged above");
        // D6: who changes the kind loses a login.
        let taken = Taken { from: stage.checked_at, to: now, certain: stage.by_hand.counts(*person) };
        stage.taken.extend(before.active.then_some(taken));
    }
    let unseen = |record: &&RecordView| record.entra_id.is_some_and(|id| !stage.seen.contains_key(&id.0));
    let changed =
        |record: &&RecordView| record.status == Status::Archived && record.reasons.contains(&Reason::KindChanged);
    // They came with one kind and had another before anybody looked.
    let came_and_changed = records.iter().filter(unseen).filter(changed).count();
    let taken = Taken { from: stage.checked_at, to: now, certain: false };
    stage.taken.extend(std::iter::repeat_n(taken, came_and_changed));
    for person in seen.iter().filter_map(|(person, seen)| (!seen.active).then_some(person)) {
        let before = stage.seen.get(person);
        if before.is_none_or(|before| before.active) {
            let certain = before.is_some() && stage.by_hand.counts(*person);
            stage.taken.push(Taken { from: stage.checked_at, to: now, certain });
        }
    }
    brake::judge(stage, &held, &seen, from)?;
    stage.homes.extend(seen.iter().map(|(person, seen)| ((*person, seen.kind), seen.record)));
    (stage.seen, stage.held, stage.checked_at) = (seen, held, now);
    stage.by_hand.off_lately = stage.by_hand.off.clone();
    ledger(stage).await
}

fn judge(
    stage: &Stage,
    person: Uuid,
    now: Seen,
    from: i64,
    record: &RecordView,
    held: &BTreeMap<Uuid, RecordId>,
) -> Result<(), String> {
    let before = stage.seen.get(&person);
    let was_active = before.is_some_and(|before| before.active);
    let by_hand = stage.by_hand.off_lately.contains(&person);
    if was_active && !now.active && !by_hand && !stage.chronicle.was_ever_out(person, from) {
        return Err(format!("G-09: {person} lost access for {:?}, which no truth says", record.reasons));
    }
    // Whose imported record was linked had access before, and the brake may keep them in.
    let was_here = before.is_none() && stage.imported.contains(&person) && held.contains_key(&person);
    if !was_active && now.active && !was_here && !stage.chronicle.was_ever_in(person, from) {
        return Err(format!("G-10: {person} got access that no truth gives"));
    }
    Ok(())
}

/// M7, M8: another record only of another kind that a rule gave; the old one is archived, and one of that kind which the
/// person had before comes back unless it is in use.
fn changed_kind(
    stage: &Stage,
    person: Uuid,
    (before, now): (Seen, Seen),
    from: i64,
    records: &[RecordView],
) -> Result<(), String> {
    if before.kind == now.kind {
        return Err(format!("G-17: {person} has another record than before"));
    }
    if !stage.chronicle.was_ever_given(person, now.kind, from) {
        return Err(format!("M7: {person} is a {:?}, which no truth says", now.kind));
    }
    let by_id = |id: RecordId| records.iter().find(|record| record.id == id);
    let old = by_id(before.record).ok_or_else(|| format!("G-17: the old record of {person} is gone"))?;
    let names = [&old.email, &old.username].into_iter().flatten().all(|name| name.contains("_Archived"));
    if old.status != Status::Archived || !old.reasons.contains(&Reason::KindChanged) || !names {
        return Err(format!("M7: the old record of {person} is {:?} for {:?}", old.status, old.reasons));
    }
    match stage.homes.get(&(person, now.kind)).and_then(|home| by_id(*home)) {
        Some(home) if home.in_use == (home.id == now.record) => {
            Err(format!("M8: {person} came back to {}", now.record))
        }
        Some(home) if home.in_use && home.status != Status::Archived => Err(format!("M8: {person} has two records")),
        _ => Ok(()),
    }
}

/// G-05: what clients were answered 202 for is what the events add up to. A notification may arrive while this looks.
async fn ledger(stage: &Stage) -> Result<(), String> {
    const LOOKS: usize = 20;
    let mut sums = (0, 0);
    for _ in 0..LOOKS {
        let owed = stage.world.simulator.counters().notifications.delivered + stage.books.asked;
        let events =
            stage.world.store.ledger(stage.world.connection.id).await.map_err(|error| error.to_string())?.total();
        if (events >= owed || stage.books.resubscribed) && (events <= owed || stage.books.crashed) {
            return Ok(());
        }
        sums = (owed, events);
        stage.world.quiet().await;
    }
    Err(format!("G-05: {} items were accepted, {} events are there", sums.0, sums.1))
}

/// What there is to know when somebody has to find out why.
pub async fn dossier(stage: &Stage, wrong: &str) -> String {
    let connection = stage.world.connection_now().await;
    let counters = stage.world.simulator.counters().notifications;
    let mut lines = vec![
        format!(
            "connection {:?} {:?}, next try {:?}, gap since {:?}",
            connection.state, connection.reason, connection.next_try_at, connection.gap_since
        ),
        format!("notifications {counters:?}"),
    ];
    let person = wrong.split_whitespace().find_map(|word| word.parse::<Uuid>().ok());
    let filter = EventFilter { object: person.map(ObjectId), limit: 50, ..EventFilter::default() };
    if let Some(person) = person {
        let truth = stage.chronicle.now().and_then(|(truth, _)| truth.get(&person));
        lines.push(format!("in truth {truth:#?}"));
        let ids = [ObjectId(person)];
        let known = stage.world.store.load_people(&connection, People::Ids(&ids)).await.unwrap_or_default();
        lines.push(format!("mirrored as {:#?}", known.first().map(|known| &known.user)));
    }
    for event in stage.world.store.list_events(&filter).await.unwrap_or_default() {
        let at = |at: Timestamp| at.micros() as f64 / 1e6 % 1e6;
        lines.push(format!(
            "{} {:?} {:?} received {:.3} settled {:?} {:?} {:?}",
            event.object_id.map(|id| id.to_string()).unwrap_or_default(),
            event.kind,
            event.status,
            at(event.received_at),
            event.settled_at.map(at),
            event.claim,
            event.reason
        ));
    }
    for review in stage.world.store.list_reviews(&Default::default()).await.unwrap_or_default() {
        lines.push(format!("review {:?} of {} with {:?}", review.kind, review.entra_id, review.candidates));
    }
    lines.join("\n")
}

/// Every record is what the truth says, and no event is left undecided.
pub async fn end(stage: &Stage) -> Result<(), String> {
    let (truth, rules) = stage.chronicle.now().ok_or("nothing was ever true")?;
    let records = stage.world.records().await;
    let linked = |record: &RecordView| record.entra_id.map(|id| (id.0, record.clone()));
    let live = records.iter().filter(|record| record.status != Status::Archived);
    let records: BTreeMap<Uuid, RecordView> = live.filter_map(linked).collect();
    let held = brake::held(stage).await;
    for (person, record) in &records {
        agrees(stage, *person, record, held.contains_key(person))?;
    }
    let asked_about = reviewed(stage).await?;
    for (person, state) in truth {
        // Whose address changed before their record was linked has it as an alias only: a person is asked (M3).
        let is_asked = stage.imported.contains(person) && asked_about.contains(person);
        if reasons(Some(state), rules).is_empty() && !records.contains_key(person) && !is_asked {
            return Err(format!("{person} should be in and has no record"));
        }
    }
    let sums = stage.world.store.ledger(stage.world.connection.id).await.map_err(|error| error.to_string())?;
    let held_for_nobody = held.is_empty() && sums.held > 0;
    if sums.in_work + sums.waiting + sums.failed + sums.parked > 0 || held_for_nobody {
        return Err(format!(
            "G-05: left over at the end: {} in work, {} waiting, {} failed, {} parked, {} held",
            sums.in_work, sums.waiting, sums.failed, sums.parked, sums.held
        ));
    }
    Ok(())
}

async fn reviewed(stage: &Stage) -> Result<BTreeSet<Uuid>, String> {
    let filter = ReviewFilter { limit: 1_000, ..ReviewFilter::default() };
    let reviews = stage.world.store.list_reviews(&filter).await.map_err(|error| error.to_string())?;
    Ok(reviews.iter().map(|review| review.entra_id.0).collect())
}

fn agrees(stage: &Stage, person: Uuid, record: &RecordView, held: bool) -> Result<(), String> {
    let (truth, rules) = stage.chronicle.now().ok_or("nothing was ever true")?;
    let state = truth.get(&person);
    let mut wanted = reasons(state, rules);
    wanted.extend(stage.by_hand.off.contains(&person).then_some(Reason::ByHand));
    let stays = admin::stays_by_a_no(stage, person, record, held)?;
    let is_there = state.is_some_and(|state| !state.deleted);
    // Of somebody deleted nothing else can be read: what was known before stays.
    let fits = if is_there { record.reasons == wanted } else { record.reasons.contains(&Reason::UpstreamDeleted) };
    let given = state.filter(|_| is_there).and_then(|state| winner(state, rules)).map(|rule| (rule.kind, rule.role));
    let another_kind = given.is_some_and(|(kind, _)| kind != record.kind);
    if !stays && held && ((wanted.is_empty() && !another_kind) || record.status != Status::Active) {
        return Err(format!("G-19: {person} is {:?} and held, and should be out for {wanted:?}", record.status));
    }
    if !stays && !held && (!fits || (record.status == Status::Active) != wanted.is_empty()) {
        return Err(format!(
            "{person} is {:?} for {:?}, and should be out for {wanted:?}",
            record.status, record.reasons
        ));
    }
    if !is_there {
        return Ok(());
    }
    let has = record.role.as_deref().map(|role| (record.kind, role));
    if !stays && wanted.is_empty() && has != given && !held {
        return Err(format!("{person} has the role {has:?} instead of {given:?}"));
    }
    let Some(card) = stage.cards.get(&person) else { return Ok(()) };
    let names = admin::names(stage, person, record.id, card);
    let differing: BTreeSet<&str> = [
        (record.email.as_ref() != Some(&card.mail)).then_some("email"),
        (!record.display_name.as_ref().is_some_and(|name| names.contains(name))).then_some("display_name"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if differing.is_empty() { Ok(()) } else { Err(format!("{person} differs in {differing:?}")) }
}

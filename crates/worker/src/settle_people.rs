//! The one path: reads meet the mirror, `core` decides, the brake judges, one transaction applies. Whoever made the
//! reads adds what it owes (due rows, events, a checkpoint) to the same transaction and commits.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::brake::{self, CauseClass, Judgement, Removal};
use lockstep_core::mirror::{PersonRead, ProfileFound};
use lockstep_core::plan::{self, Plan, Step};
use lockstep_core::record::{Reason, Status};
use lockstep_core::spans::TARGET;
use lockstep_core::{ObjectId, RecordId, Ticket, Timestamp};
use lockstep_graph::GraphClient;
use lockstep_store::{Applied, Decided, MarkDue, MirroredPerson, PersonOutcome, Store, Trigger, Tx};
use tracing::{Instrument as _, Span};

use crate::answers::Answers;
use crate::basis::Basis;
use crate::error::WorkerError;
use crate::jobs::decide_listed::waiting;

/// An answer about an address can lead to one more question when the profile changed meanwhile; more often than this
/// the person waits for the next look.
const ROUNDS_OF_QUESTIONS: usize = 3;

/// Longest chain of people who pass their addresses on that is followed at one look.
const LONGEST_CYCLE: usize = 16;

/// Why people are looked at, and under what circumstances.
#[derive(Clone, Copy)]
pub(crate) struct Occasion {
    pub trigger: Trigger,
    /// The connection's first sync: what it takes from people who were there before is one hold (D6).
    pub first_sync: bool,
    /// Decided by what is remembered: nothing was read, so nothing is confirmed by it.
    pub remembered: bool,
}

impl Occasion {
    /// Of a read, or a listing, made just now.
    pub(crate) const fn of(trigger: Trigger) -> Self {
        Self { trigger, first_sync: false, remembered: false }
    }
}

/// What one look at one person came to.
pub(crate) struct Outcome {
    pub person: MirroredPerson,
    pub plan: Plan,
    pub result: PersonOutcome,
}

/// The effects of many looks, not yet committed.
pub(crate) struct Settled {
    pub tx: Tx,
    pub applied: Applied,
    /// In the order of the reads.
    pub outcomes: Vec<Outcome>,
}

/// A read of one person and its place in the order of reads.
#[derive(Clone)]
pub(crate) struct Look {
    pub read: PersonRead,
    pub ticket: Ticket,
    pub read_at: Timestamp,
}

/// Brings these people up to date: everything but the commit.
pub(crate) async fn settle_people(
    store: &Store,
    client: &GraphClient,
    basis: &Basis,
    looks: &[Look],
    occasion: Occasion,
) -> Result<Settled, WorkerError> {
    settle(store, Some(client), basis, looks, occasion).instrument(span_of(basis, looks)).await
}

/// Decides these people by what is remembered: everything but the commit. Nobody is asked anything; whoever would have to
/// be waits for a look of their own.
pub(crate) async fn settle_remembered(store: &Store, basis: &Basis, looks: &[Look]) -> Result<Settled, WorkerError> {
    let occasion = Occasion { remembered: true, ..Occasion::of(Trigger::Rule) };
    settle(store, None, basis, looks, occasion).instrument(span_of(basis, looks)).await
}

/// With what Graph is still asked in between, and the wait for the store.
fn span_of(basis: &Basis, looks: &[Look]) -> Span {
    let connection = basis.connection.id;
    tracing::debug_span!(target: TARGET, "decide people", connection.id = %connection, people = looks.len() as i64)
}

async fn settle(
    store: &Store,
    client: Option<&GraphClient>,
    basis: &Basis,
    looks: &[Look],
    occasion: Occasion,
) -> Result<Settled, WorkerError> {
    let mut looks = looks.to_vec();
    let asked = looks.len();
    let mut answers = Answers::default();
    let (mut rounds, mut joined) = (0, 0);
    loop {
        let reads: Vec<PersonRead> = looks.iter().map(|look| look.read.clone()).collect();
        let mut tx = store.begin("settle_people").await?;
        let people = tx.mirror(&basis.connection, &reads).await?;
        let joining = rivals(&people, &looks);
        if !joining.is_empty() && joined < LONGEST_CYCLE {
            // From the beginning, so that people are locked in order.
            drop(tx);
            looks.extend(joining);
            joined += 1;
            continue;
        }
        let now = store.now();
        let plans = answers.plans(basis, &people, now);
        let questions = answers.questions(basis, &people, &plans);
        let Some(client) = client.filter(|_| !questions.are_none() && rounds < ROUNDS_OF_QUESTIONS) else {
            let settled = apply(tx, basis, &looks, people, plans, now, occasion).await?;
            return without_rivals(settled, basis, asked, now).await;
        };
        // Nobody may wait for the database while Graph answers us.
        drop(tx);
        answers.ask(client, questions).await?;
        rounds += 1;
    }
}

/// Whoever has an address that somebody here would get: whose it is they are judged by together (semantics, "Matching").
/// Nobody reads them; what is known of them is decided once more.
fn rivals(people: &[MirroredPerson], looks: &[Look]) -> Vec<Look> {
    let known: BTreeSet<ObjectId> = looks.iter().map(|look| look.read.user).collect();
    let mut rivals: BTreeMap<ObjectId, Look> = BTreeMap::new();
    for (person, look) in people.iter().zip(looks) {
        if let Some(rival) = plan::rival(&person.observed()).filter(|rival| !known.contains(rival)) {
            rivals.entry(rival).or_insert_with(|| look.at_the_same_time(rival));
        }
    }
    rivals.into_values().collect()
}

/// The caller is told of the people it asked about; of the others what they still wait for is owed here.
async fn without_rivals(
    mut settled: Settled,
    basis: &Basis,
    asked: usize,
    now: Timestamp,
) -> Result<Settled, WorkerError> {
    let rivals = settled.outcomes.split_off(asked);
    settled.applied.per_person.truncate(asked);
    let marks: Vec<MarkDue> = rivals.iter().filter_map(|outcome| waiting(outcome, now)).collect();
    settled.tx.mark_due(basis.connection.id, &marks).await?;
    Ok(settled)
}

/// Judges and applies; whoever was linked by it is looked at once more, since what else must change depends on what
/// their record holds.
async fn apply(
    mut tx: Tx,
    basis: &Basis,
    looks: &[Look],
    people: Vec<MirroredPerson>,
    plans: Vec<Plan>,
    now: Timestamp,
    occasion: Occasion,
) -> Result<Settled, WorkerError> {
    let (mut applied, mut outcomes) = apply_once(&mut tx, basis, looks, people, plans, occasion).await?;
    let linked: Vec<usize> = (0..outcomes.len()).filter(|place| links(&outcomes[*place].plan)).collect();
    if !linked.is_empty() {
        let again: Vec<Look> = linked.iter().map(|place| looks[*place].without_read()).collect();
        let reads: Vec<PersonRead> = again.iter().map(|look| look.read.clone()).collect();
        let people = tx.mirror(&basis.connection, &reads).await?;
        let plans = people.iter().map(|person| basis.plan(person, None, now)).collect();
        let (more, later) = apply_once(&mut tx, basis, &again, people, plans, occasion).await?;
        applied.deactivated += more.deactivated;
        applied.held += more.held;
        applied.reviews += more.reviews;
        for (place, outcome) in linked.into_iter().zip(later) {
            outcomes[place].take_over(outcome);
        }
    }
    Ok(Settled { tx, applied, outcomes })
}

async fn apply_once(
    tx: &mut Tx,
    basis: &Basis,
    looks: &[Look],
    people: Vec<MirroredPerson>,
    plans: Vec<Plan>,
    occasion: Occasion,
) -> Result<(Applied, Vec<Outcome>), WorkerError> {
    let judgements = judge(tx, basis, &people, &plans, occasion.first_sync).await?;
    let applied = tx.apply(&basis.connection, &decisions(&people, &plans, judgements, looks, basis, occasion)).await?;
    let outcomes = people
        .into_iter()
        .zip(plans)
        .zip(applied.per_person.iter().copied())
        .map(|((person, plan), result)| Outcome { person, plan, result })
        .collect();
    Ok((applied, outcomes))
}

fn links(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step, Step::Link { .. } | Step::Rehire { .. } | Step::Merge(_)))
}

impl Look {
    /// Nothing was read: what is known decides.
    pub(crate) const fn remembered(user: ObjectId, (ticket, read_at): (Ticket, Timestamp)) -> Self {
        Self { read: PersonRead { user, profile: None, membership: None }, ticket, read_at }
    }

    /// Graph answered 404 to a read by id.
    pub(crate) fn is_missing(&self) -> bool {
        self.read.profile.as_ref().is_some_and(|read| matches!(read.found, ProfileFound::Missing { .. }))
    }

    fn without_read(&self) -> Self {
        self.at_the_same_time(self.read.user)
    }

    fn at_the_same_time(&self, user: ObjectId) -> Self {
        let read = PersonRead { user, profile: None, membership: None };
        Self { read, ticket: self.ticket, read_at: self.read_at }
    }
}

impl Outcome {
    /// The second look at somebody just linked: what is still to come counts, what was done stays done.
    fn take_over(&mut self, later: Self) {
        self.plan.wait = later.plan.wait;
        self.person = later.person;
        // The link's own wait was for this look.
        self.result = match later.result {
            PersonOutcome::Unchanged => PersonOutcome::Applied,
            result => result,
        };
    }
}

fn decisions<'a>(
    people: &'a [MirroredPerson],
    plans: &'a [Plan],
    judgements: Vec<Judgement>,
    looks: &[Look],
    basis: &Basis,
    Occasion { trigger, remembered, .. }: Occasion,
) -> Vec<Decided<'a>> {
    let rules_version = basis.rules.version;
    people
        .iter()
        .zip(plans)
        .zip(judgements)
        .zip(looks)
        .map(|(((person, plan), judgement), look)| Decided {
            person,
            plan,
            judgement,
            ticket: look.ticket,
            read_at: look.read_at,
            trigger,
            rules_version,
            remembered,
        })
        .collect()
}

/// The brake's word on everyone who would lose access; its row is locked only if there is somebody.
async fn judge(
    tx: &mut Tx,
    basis: &Basis,
    people: &[MirroredPerson],
    plans: &[Plan],
    first_sync: bool,
) -> Result<Vec<Judgement>, WorkerError> {
    let mut judgements = vec![Judgement::Go; people.len()];
    let leaving: Vec<(usize, Leaving)> = people
        .iter()
        .zip(plans)
        .enumerate()
        .filter_map(|(place, (person, plan))| removal(person, plan).map(|leaving| (place, leaving)))
        .collect();
    if leaving.is_empty() {
        return Ok(judgements);
    }
    let state = tx.brake_state(&basis.connection).await?;
    let mut asked = Vec::new();
    for (place, Leaving { record, reasons }) in leaving {
        let (person, exempt) = (&people[place], state.exempt.contains(&record));
        let held = person.open_hold.as_ref();
        match held.and_then(|held| held.judgement(&person.user, &reasons, &basis.rules, exempt)) {
            Some(judgement) => judgements[place] = judgement,
            None => asked.push((place, Removal { record, class: CauseClass::of(&reasons), exempt })),
        }
    }
    let records = asked.iter().map(|(_, removal)| removal.record).filter(|_| first_sync);
    let before = tx.there_before(&basis.connection, records).await?;
    // Whoever is linked just now was there, too.
    let was_there = |place: usize, record| people[place].record.is_none() || before.contains(&record);
    let (of_first_sync, usual): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|(place, removal)| first_sync && was_there(*place, removal.record));
    let limits = &basis.connection.settings.brake;
    for (some, first_sync) in [(of_first_sync, true), (usual, false)] {
        let (places, removals): (Vec<usize>, Vec<Removal>) = some.into_iter().unzip();
        let judged = brake::judge(limits, &state.connection, &state.installation, first_sync, &removals);
        for (place, judgement) in places.into_iter().zip(judged) {
            judgements[place] = judgement;
        }
    }
    Ok(judgements)
}

/// Somebody who would lose access.
struct Leaving {
    record: RecordId,
    reasons: BTreeSet<Reason>,
}

/// Whose access the plan takes, and why.
fn removal(person: &MirroredPerson, plan: &Plan) -> Option<Leaving> {
    let reasons = plan.steps.iter().find_map(|step| match step {
        Step::Deactivate { reasons } => Some(reasons.clone()),
        Step::ChangeKind(change) => change.brake.map(|_| BTreeSet::from([Reason::KindChanged])),
        _ => None,
    })?;
    let linked = person.record.as_ref().filter(|record| record.status == Status::Active).map(|record| record.id);
    let linking = plan.steps.iter().find_map(|step| match step {
        Step::Link { record } | Step::Rehire { record, .. } => Some(*record),
        _ => None,
    });
    Some(Leaving { record: linked.or(linking)?, reasons })
}

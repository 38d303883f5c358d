//! G-19 in a history: never more people lose access than a limit allows, and nothing else is held.

use std::collections::BTreeMap;

use lockstep_core::RecordId;
use lockstep_core::brake::{BrakeLimits, HoldAnswer};
use lockstep_core::record::Kind;
use lockstep_store::People;
use lockstep_store::view::hold::{HoldFilter, HoldState};
use lockstep_tests::Chance;
use uuid::Uuid;

use crate::history::check::Seen;
use crate::history::stage::Stage;

const WINDOW: i64 = 30 * 60 * 1_000_000;

/// How many people may lose access in 30 minutes.
#[derive(Clone, Copy)]
pub struct Brake {
    lost_scope: u32,
    revoked: u32,
}

/// Somebody lost access between two checks.
#[derive(Clone, Copy)]
pub struct Taken {
    pub from: i64,
    pub to: i64,
    /// Had access at the check before; otherwise they came and went in between.
    pub certain: bool,
}

impl Brake {
    pub fn off() -> Self {
        Self { lost_scope: MANY, revoked: MANY }
    }

    /// In some of the histories there is one.
    pub fn drawn(chance: &mut Chance) -> Self {
        let few = |chance: &mut Chance| 1 + u32::try_from(chance.below(4)).unwrap_or(0);
        match chance.percent(20) {
            true => Self { lost_scope: few(chance), revoked: few(chance) },
            false => Self::off(),
        }
    }

    pub fn limits(self) -> BrakeLimits {
        BrakeLimits {
            lost_scope_people: self.lost_scope,
            lost_scope_percent: 0,
            revoked_people: self.revoked,
            revoked_percent: 0,
            both_percent: MANY,
            daily_lost_scope_people: MANY,
            daily_revoked_people: MANY,
            daily_both_percent: MANY,
            small_below: 0,
            installation_people: MANY,
            ..BrakeLimits::default()
        }
    }

    fn most(self) -> usize {
        usize::try_from(self.lost_scope.saturating_add(self.revoked)).unwrap_or(usize::MAX)
    }

    fn fewest(self) -> usize {
        usize::try_from(self.lost_scope.min(self.revoked)).unwrap_or(usize::MAX)
    }
}

const MANY: u32 = 100_000;

/// Whom the brake keeps in now.
pub async fn held(stage: &Stage) -> BTreeMap<Uuid, RecordId> {
    let store = &stage.world.store;
    let filter = HoldFilter { state: Some(HoldState::Open), limit: 1, ..HoldFilter::default() };
    if store.list_holds(&filter).await.expect("the store answers").is_empty() {
        return BTreeMap::new();
    }
    let everybody = People::After(None, 100_000);
    let people = store.load_people(&stage.world.connection, everybody).await.expect("the store answers");
    let of = |person: lockstep_store::MirroredPerson| {
        let holds = person.open_hold.is_some_and(|held| !matches!(held.answer, HoldAnswer::Rejected(_)));
        person.record.filter(|_| holds).map(|record| (person.user.id.0, record.id))
    };
    people.into_iter().filter_map(of).collect()
}

/// What was taken and what is held since the last check, against the limits.
pub fn judge(
    stage: &Stage,
    held: &BTreeMap<Uuid, RecordId>,
    seen: &BTreeMap<Uuid, Seen>,
    from: i64,
) -> Result<(), String> {
    let certain: Vec<&Taken> = stage.taken.iter().filter(|taken| taken.certain).collect();
    for first in &certain {
        let within = certain.iter().filter(|taken| taken.from >= first.from && taken.to <= first.from + WINDOW).count();
        if within > stage.brake.most() {
            return Err(format!("G-19: {within} people lost access within 30 minutes"));
        }
    }
    held.keys()
        .filter(|person| !stage.held.contains_key(person))
        .try_for_each(|person| newly(stage, *person, seen, from))
}

fn newly(stage: &Stage, person: Uuid, seen: &BTreeMap<Uuid, Seen>, from: i64) -> Result<(), String> {
    let lately = stage.taken.iter().filter(|taken| taken.to + WINDOW >= stage.checked_at).count();
    if lately >= stage.brake.fewest() {
        let other = |kind: Kind| if kind == Kind::Employee { Kind::Contact } else { Kind::Employee };
        // D6: a change of kind is held as the whole step.
        let changes = seen.get(&person).is_some_and(|it| stage.chronicle.was_ever_given(person, other(it.kind), from));
        let was_out = changes || stage.chronicle.was_ever_out(person, from);
        return if was_out { Ok(()) } else { Err(format!("G-19: {person} is held, who was never out")) };
    }
    // D6: what the first sync itself concludes is one hold.
    if stage.imported.contains(&person) && stage.chronicle.was_ever_out_until(person, stage.first_synced_at) {
        return Ok(());
    }
    // D6: who was to stay is asked about again, whatever the window says.
    if stage.by_hand.kept.contains_key(&person) {
        return Ok(());
    }
    Err(format!("G-19: {person} is held although only {lately} lost access lately"))
}

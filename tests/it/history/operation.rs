//! What can happen in a history, and how often.

use std::time::Duration;

use lockstep_simulator::LifecycleEvent;
use lockstep_store::HoldDecision;
use lockstep_tests::Chance;
use uuid::Uuid;

/// How far reads may lag, milliseconds.
pub const MOST_LAG_MS: u64 = 20_000;

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Operation {
    Hire {
        groups: Vec<Uuid>,
        guest: bool,
        client: bool,
    },
    Rename(Uuid),
    ChangeMail(Uuid),
    Enable {
        person: Uuid,
        enabled: bool,
    },
    Delete {
        person: Uuid,
        hard: bool,
    },
    Restore(Uuid),
    Join {
        group: Uuid,
        member: Uuid,
    },
    Leave {
        group: Uuid,
        member: Uuid,
    },
    Move {
        person: Uuid,
        from: Uuid,
        to: Uuid,
    },
    DeleteGroup(Uuid),
    RestoreGroup(Uuid),
    ChangeRules,
    Pause,
    Resume,
    /// Another name here than in Entra.
    EditName(Uuid),
    /// By hand, here.
    Switch {
        person: Uuid,
        on: bool,
    },
    /// To the newest open hold, for so many of its people.
    AnswerHold {
        decision: HoldDecision,
        percent: u64,
    },
    /// So many of the events there are.
    Replay(u64),
    Lifecycle {
        subscription: u64,
        event: LifecycleEvent,
    },
    Sync,
    LookAt(Uuid),
    Crash,
    LoseSubscriptions,
    NotificationFaults {
        lost: u64,
        doubled: u64,
        held: u64,
        shuffled: bool,
    },
    Lag,
    GraphFaults {
        status: u16,
        percent: u64,
    },
    ClearFaults,
}

/// Who and what there is to choose from.
pub struct Cast<'a> {
    pub people: &'a [Uuid],
    /// Live people only.
    pub present: &'a [Uuid],
    /// Those of them who are in the portal.
    pub clients: &'a [Uuid],
    pub portal: Uuid,
    /// In deleted items.
    pub deleted: &'a [Uuid],
    pub groups: &'a [Uuid],
    pub deleted_groups: &'a [Uuid],
    /// By hand, here.
    pub switched_off: &'a [Uuid],
}

/// Which kinds of things happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Play {
    /// People, groups, rules, what an admin does by hand, faults and crashes.
    Everything,
    /// People and groups: the faults were set by the story.
    ChangesOnly,
    /// What may happen before the first sync is done.
    FirstSync,
}

/// Draws what happens next; `None`: what was drawn makes no sense now.
pub fn draw(chance: &mut Chance, cast: &Cast<'_>, play: Play) -> Option<Operation> {
    let most = match play {
        Play::ChangesOnly => 90,
        Play::FirstSync => 120,
        Play::Everything => 154,
    };
    let of = |chance: &mut Chance, ids: &[Uuid]| chance.pick(ids).copied();
    Some(match chance.below(most) {
        0..6 => Operation::Hire { groups: some_groups(chance, cast), guest: chance.percent(8), client: false },
        6..8 => Operation::Hire { groups: vec![cast.portal], guest: chance.percent(8), client: true },
        8..16 => Operation::Rename(of(chance, cast.present)?),
        16..20 => Operation::ChangeMail(of(chance, cast.present)?),
        20..30 => Operation::Enable { person: of(chance, cast.present)?, enabled: false },
        30..42 => Operation::Enable { person: of(chance, cast.present)?, enabled: true },
        42..46 => Operation::Delete { person: of(chance, cast.present)?, hard: false },
        46..47 => Operation::Delete { person: of(chance, cast.people)?, hard: true },
        47..52 => Operation::Restore(of(chance, cast.deleted)?),
        52..62 => Operation::Join { group: of(chance, cast.groups)?, member: of(chance, cast.present)? },
        62..69 => Operation::Leave { group: of(chance, cast.groups)?, member: of(chance, cast.present)? },
        69..73 => {
            let (from, to) = (of(chance, cast.groups)?, of(chance, cast.groups)?);
            Operation::Move { person: of(chance, cast.present)?, from, to }
        }
        // M7: to the other kind, and back.
        73..75 => {
            Operation::Move { person: of(chance, cast.present)?, from: of(chance, cast.groups)?, to: cast.portal }
        }
        75..77 => {
            Operation::Move { person: of(chance, cast.clients)?, from: cast.portal, to: of(chance, cast.groups)? }
        }
        77..79 => Operation::Join { group: of(chance, cast.groups)?, member: of(chance, cast.groups)? },
        79..82 => Operation::Leave { group: of(chance, cast.groups)?, member: of(chance, cast.groups)? },
        82..83 => Operation::DeleteGroup(of(chance, cast.groups)?),
        83..86 => Operation::RestoreGroup(of(chance, cast.deleted_groups)?),
        86..88 => Operation::Join { group: cast.portal, member: of(chance, cast.present)? },
        88..90 => Operation::Leave { group: cast.portal, member: of(chance, cast.clients)? },
        90..92 => Operation::Sync,
        92..95 => Operation::LookAt(of(chance, cast.people)?),
        95..100 => Operation::Crash,
        100..106 => Operation::NotificationFaults {
            lost: chance.below(60),
            doubled: chance.below(30),
            held: chance.below(40),
            shuffled: chance.percent(50),
        },
        106..110 => Operation::Lag,
        110..114 => {
            let status = *chance.pick(&[429, 500, 502, 503, 504])?;
            Operation::GraphFaults { status, percent: 10 + chance.below(60) }
        }
        114..120 => Operation::ClearFaults,
        120..124 => Operation::ChangeRules,
        124..126 => Operation::LoseSubscriptions,
        126..131 => Operation::Lifecycle { subscription: chance.below(2), event: lifecycle(chance)? },
        131..134 => Operation::Replay(1 + chance.below(8)),
        134..136 => Operation::Pause,
        136..138 => Operation::Resume,
        138..143 => Operation::EditName(of(chance, cast.present)?),
        143..145 => Operation::Switch { person: of(chance, cast.present)?, on: false },
        145..147 => Operation::Switch { person: of(chance, cast.switched_off)?, on: true },
        _ => {
            let decision = *chance.pick(&[HoldDecision::Approve, HoldDecision::Reject])?;
            Operation::AnswerHold { decision, percent: *chance.pick(&[50, 100])? }
        }
    })
}

fn lifecycle(chance: &mut Chance) -> Option<LifecycleEvent> {
    use LifecycleEvent::{Missed, ReauthorizationRequired, SubscriptionRemoved};
    chance.pick(&[Missed, ReauthorizationRequired, ReauthorizationRequired, SubscriptionRemoved]).copied()
}

fn some_groups(chance: &mut Chance, cast: &Cast<'_>) -> Vec<Uuid> {
    cast.groups.iter().filter(|_| chance.percent(40)).copied().collect()
}

/// How much time passes after it; `None`: the next thing happens at once.
pub fn pause(chance: &mut Chance) -> Option<Duration> {
    const SECONDS: [u64; 12] = [1, 1, 2, 3, 6, 6, 11, 15, 31, 65, 130, 310];
    if chance.percent(30) {
        return None;
    }
    chance.pick(&SECONDS).map(|seconds| Duration::from_secs(*seconds))
}

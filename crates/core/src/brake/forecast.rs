//! How far the brake is from holding somebody: what `connection show` and the hold say before it happens.

use std::time::Duration;

use super::{BrakeLimits, CauseClass, Check, LONG, SHORT, Tally, WindowCounts};
use crate::timestamp::Timestamp;

/// One person who lost access and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// When.
    pub at: Timestamp,
    /// For what.
    pub class: CauseClass,
}

/// When the brake would hold somebody, if nothing else happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Of this cause.
    pub class: CauseClass,
    /// So many more people, and the last of them is held; 1: the very next one is.
    pub more: u32,
    /// Until there is room for one more, because those who count fall out of the window. `None`: time brings no room.
    pub eases_at: Option<Timestamp>,
    /// The limit, in the words of a hold.
    pub limit: String,
}

/// The limit that would be reached first. `here` and `everywhere` are those who count in the last 24 h, of the connection
/// and of the installation; the counts of `connection` and `installation` must be theirs.
pub fn forecast(
    limits: &BrakeLimits,
    connection: &WindowCounts,
    installation: &WindowCounts,
    here: &[Counted],
    everywhere: &[Counted],
    class: CauseClass,
    now: Timestamp,
) -> Forecast {
    let tally = Tally { connection: *connection, installation: *installation };
    let [short, short_together, long, long_together, whole] = tally.checks(limits, class);
    let of_class = |counted: &&Counted| counted.class == class;
    let any = |_: &&Counted| true;
    let candidates = [
        ahead(short, here.iter().filter(of_class), SHORT, now),
        ahead(short_together, here.iter().filter(any), SHORT, now),
        ahead(long, here.iter().filter(of_class), LONG, now),
        ahead(long_together, here.iter().filter(any), LONG, now),
        ahead(whole, everywhere.iter().filter(any), SHORT, now),
    ];
    let more = candidates.iter().map(|ahead| ahead.more).min().unwrap_or(u32::MAX);
    // Of limits that are equally near the first one is what a hold would name; there is room when all of them have it.
    let nearest = || candidates.iter().filter(|ahead| ahead.more == more);
    let limit = nearest().next().map(|ahead| ahead.limit.clone()).unwrap_or_default();
    let eases_at = nearest().map(|ahead| ahead.eases_at).reduce(|a, b| Some(a?.max(b?))).flatten();
    Forecast { class, more, eases_at, limit }
}

/// How far one limit is.
struct Ahead {
    more: u32,
    eases_at: Option<Timestamp>,
    limit: String,
}

fn ahead<'c>(check: Check, counted: impl Iterator<Item = &'c Counted>, window: Duration, now: Timestamp) -> Ahead {
    let mut leaving: Vec<Timestamp> = counted.map(|counted| counted.at + window).filter(|until| *until > now).collect();
    leaving.sort_unstable();
    // More may count than are allowed, when fewer people are active than there were: all those must fall out first.
    let over = usize::try_from(check.taken.saturating_sub(check.allowed)).unwrap_or(usize::MAX);
    let left = check.allowed.saturating_sub(check.taken);
    Ahead { more: left.saturating_add(1), eases_at: leaving.get(over).copied(), limit: check.words() }
}

impl Forecast {
    /// In a line: "10 more in the next 20 minutes would trip it (lost scope: 20 people in 30 minutes)".
    pub fn words(&self, now: Timestamp) -> String {
        let Self { more, limit, .. } = self;
        let Some(minutes) = self.eases_at.map(|at| at.since(now).as_secs().div_ceil(60)) else {
            return match more {
                1 => format!("the next one is held ({limit})"),
                _ => format!("{more} more would trip it ({limit})"),
            };
        };
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        match more {
            1 => format!("the next one within {minutes} {unit} is held ({limit})"),
            _ => format!("{more} more in the next {minutes} {unit} would trip it ({limit})"),
        }
    }
}

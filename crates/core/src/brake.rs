//! The safety brake (D6, G-19): who may lose access now, and who is held for a person's yes.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::RecordId;
use crate::record::Reason;

mod forecast;
mod hold;

pub use forecast::{Counted, Forecast, forecast};
pub use hold::{ASKED_AGAIN, HeldAs, HoldAnswer, Standing};

/// The limit that the one hold of a first sync names.
pub const FIRST_SYNC: &str = "first sync: removals wait for a person's yes";

/// Why somebody would lose access, as far as the brake counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseClass {
    /// Disabled or deleted in Microsoft.
    Revoked,
    /// No rule left, became a guest, another kind of record.
    LostScope,
}

/// A person who would lose access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The record.
    pub record: RecordId,
    /// The cause.
    pub class: CauseClass,
    /// Exempt by a confirmed plan or an approved hold: does not count.
    pub exempt: bool,
}

impl CauseClass {
    /// Of a deactivation: a verified revocation outweighs lost scope.
    pub fn of(reasons: &BTreeSet<Reason>) -> Self {
        let revoked = [Reason::UpstreamDisabled, Reason::UpstreamDeleted];
        if revoked.iter().any(|reason| reasons.contains(reason)) { Self::Revoked } else { Self::LostScope }
    }
}

/// How many people may lose access in a sliding window; `[settings.brake]` of a rules file. Percentages are of the people
/// active at the window's start; of people and percent the larger counts, and whichever limit is reached first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrakeLimits {
    /// Lost scope in 30 minutes.
    pub lost_scope_people: u32,
    /// Lost scope in 30 minutes.
    pub lost_scope_percent: u32,
    /// Verified revocations in 30 minutes.
    pub revoked_people: u32,
    /// Verified revocations in 30 minutes.
    pub revoked_percent: u32,
    /// Both together in 30 minutes.
    pub both_percent: u32,
    /// Lost scope in 24 hours.
    pub daily_lost_scope_people: u32,
    /// Lost scope in 24 hours.
    pub daily_lost_scope_percent: u32,
    /// Verified revocations in 24 hours.
    pub daily_revoked_people: u32,
    /// Verified revocations in 24 hours.
    pub daily_revoked_percent: u32,
    /// Both together in 24 hours.
    pub daily_both_percent: u32,
    /// A connection with fewer active people than this may lose `small_people` in 30 minutes, whatever the percentages.
    pub small_below: u32,
    /// See `small_below`.
    pub small_people: u32,
    /// All connections together, both causes, in 30 minutes. No rules file can raise it: it guards the others.
    #[serde(skip, default = "installation_people")]
    pub installation_people: u32,
    /// See `installation_people`.
    #[serde(skip, default = "installation_percent")]
    pub installation_percent: u32,
}

fn installation_people() -> u32 {
    200
}

fn installation_percent() -> u32 {
    5
}

impl Default for BrakeLimits {
    fn default() -> Self {
        Self {
            lost_scope_people: 20,
            lost_scope_percent: 10,
            revoked_people: 50,
            revoked_percent: 30,
            both_percent: 50,
            daily_lost_scope_people: 60,
            daily_lost_scope_percent: 30,
            daily_revoked_people: 150,
            daily_revoked_percent: 60,
            daily_both_percent: 75,
            small_below: 6,
            small_people: 1,
            installation_people: installation_people(),
            installation_percent: installation_percent(),
        }
    }
}

/// Who already lost access in the windows that end now, exempt people left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// Lost scope in the last 30 minutes.
    pub short_lost_scope: u32,
    /// Verified revocations in the last 30 minutes.
    pub short_revoked: u32,
    /// Lost scope in the last 24 hours.
    pub long_lost_scope: u32,
    /// Verified revocations in the last 24 hours.
    pub long_revoked: u32,
    /// People active 30 minutes ago. For a connection that had not finished its first sync then: when it finished.
    pub active_at_start_short: u32,
    /// People active 24 hours ago; the same exception.
    pub active_at_start_long: u32,
}

/// What the brake says of one removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Takes access now.
    Go,
    /// Takes access now, by a person's yes to exactly this: does not count.
    Approved,
    /// Kept back until a person says yes.
    Hold {
        /// The limit that was reached, in words for the hold.
        limit: String,
    },
    /// On a hold already: it stays as it is.
    Stay,
    /// Stays in by a person's no, and nobody is asked again.
    Keep,
}

/// One judgement per removal, in order. Call it in the transaction that holds the brake rows, and count every `Go` that is
/// not exempt before the transaction ends: otherwise two workers share one allowance.
pub fn judge(
    limits: &BrakeLimits,
    connection: &WindowCounts,
    installation: &WindowCounts,
    first_sync: bool,
    removals: &[Removal],
) -> Vec<Judgement> {
    let mut tally = Tally { connection: *connection, installation: *installation };
    removals
        .iter()
        .map(|removal| match removal {
            Removal { exempt: true, .. } => Judgement::Go,
            _ if first_sync => Judgement::Hold { limit: FIRST_SYNC.to_owned() },
            Removal { class, .. } => tally.take(limits, *class),
        })
        .collect()
}

/// The windows, growing with each removal that goes.
struct Tally {
    connection: WindowCounts,
    installation: WindowCounts,
}

impl Tally {
    fn take(&mut self, limits: &BrakeLimits, class: CauseClass) -> Judgement {
        if let Some(limit) = self.reached(limits, class) {
            return Judgement::Hold { limit };
        }
        self.connection.count(class);
        self.installation.count(class);
        Judgement::Go
    }

    /// The first limit that one more person would break.
    fn reached(&self, limits: &BrakeLimits, class: CauseClass) -> Option<String> {
        let mut checks = self.checks(limits, class).into_iter();
        checks.find(|check| check.taken >= check.allowed).map(|check| check.words())
    }

    fn checks(&self, limits: &BrakeLimits, class: CauseClass) -> [Check; 5] {
        [
            self.short(limits, class),
            self.short_together(limits),
            self.long(limits, class),
            self.long_together(limits),
            self.installation(limits),
        ]
    }

    fn short(&self, limits: &BrakeLimits, class: CauseClass) -> Check {
        let active = self.connection.active_at_start_short;
        let (taken, people, percent, what) = match class {
            CauseClass::LostScope => {
                (self.connection.short_lost_scope, limits.lost_scope_people, limits.lost_scope_percent, "lost scope")
            }
            CauseClass::Revoked => {
                (self.connection.short_revoked, limits.revoked_people, limits.revoked_percent, "revoked")
            }
        };
        Check { taken, allowed: people.max(share(active, percent)), what, window: SHORT }
    }

    fn long(&self, limits: &BrakeLimits, class: CauseClass) -> Check {
        let active = self.connection.active_at_start_long;
        let (taken, people, percent, what) = match class {
            CauseClass::LostScope => (
                self.connection.long_lost_scope,
                limits.daily_lost_scope_people,
                limits.daily_lost_scope_percent,
                "lost scope",
            ),
            CauseClass::Revoked => {
                (self.connection.long_revoked, limits.daily_revoked_people, limits.daily_revoked_percent, "revoked")
            }
        };
        Check { taken, allowed: people.max(share(active, percent)), what, window: LONG }
    }

    fn short_together(&self, limits: &BrakeLimits) -> Check {
        let counts = &self.connection;
        let taken = counts.short_lost_scope.saturating_add(counts.short_revoked);
        let active = counts.active_at_start_short;
        let (allowed, what) = if active < limits.small_below {
            (limits.small_people, "small connection, lost scope and revoked together")
        } else {
            (share(active, limits.both_percent), "lost scope and revoked together")
        };
        Check { taken, allowed, what, window: SHORT }
    }

    /// A single leaver of a tiny connection is never delayed, whatever the percentage rounds to.
    fn long_together(&self, limits: &BrakeLimits) -> Check {
        let counts = &self.connection;
        let taken = counts.long_lost_scope.saturating_add(counts.long_revoked);
        let allowed = share(counts.active_at_start_long, limits.daily_both_percent).max(limits.small_people);
        Check { taken, allowed, what: "lost scope and revoked together", window: LONG }
    }

    fn installation(&self, limits: &BrakeLimits) -> Check {
        let counts = &self.installation;
        let taken = counts.short_lost_scope.saturating_add(counts.short_revoked);
        let share = share(counts.active_at_start_short, limits.installation_percent);
        Check { taken, allowed: limits.installation_people.max(share), what: "whole installation", window: SHORT }
    }
}

impl WindowCounts {
    /// One more person lost access now.
    pub fn count(&mut self, class: CauseClass) {
        let (short, long) = match class {
            CauseClass::LostScope => (&mut self.short_lost_scope, &mut self.long_lost_scope),
            CauseClass::Revoked => (&mut self.short_revoked, &mut self.long_revoked),
        };
        *short = short.saturating_add(1);
        *long = long.saturating_add(1);
    }
}

/// The short window.
pub const SHORT: Duration = Duration::from_secs(30 * 60);
/// The long window.
pub const LONG: Duration = Duration::from_secs(24 * 60 * 60);

struct Check {
    taken: u32,
    allowed: u32,
    what: &'static str,
    window: Duration,
}

impl Check {
    fn words(&self) -> String {
        let window = if self.window == SHORT { "30 minutes" } else { "24 hours" };
        format!("{}: {} people in {window}", self.what, self.allowed)
    }
}

/// Rounded down: the brake holds rather one too many than one too few.
fn share(active: u32, percent: u32) -> u32 {
    u32::try_from(u64::from(active) * u64::from(percent) / 100).unwrap_or(u32::MAX)
}

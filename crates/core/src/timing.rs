//! The constants of `guarantees.md` §1 that decisions depend on.

use std::time::Duration;

/// Waiting times between reads, in the names of `guarantees.md` §1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Re-read after every hint: Graph's replicas lag.
    pub settle: Duration,
    /// Re-reads while a read contradicts what the hint claimed, counted from the hint.
    pub contradicted: [Duration; 3],
    /// Two membership reads this far apart before access is taken for lost scope alone.
    pub scope_agree: Duration,
    /// A second by-id 404 this much later confirms a deletion that deleted items do not show (G-10 b).
    pub missing_agree: Duration,
    /// Two reads this far apart before access is given back to somebody who lost it recently.
    pub reenable_agree: Duration,
    /// Whoever lost access less than this ago needs `reenable_agree`.
    pub reenable_recent: Duration,
    /// Read again this long after access was given back.
    pub reenable_recheck: Duration,
    /// At most one read of one object in this time, however many hints come (BI-24, TH-02).
    pub coalesce: Duration,
    /// Ids out of scope are kept this long.
    pub seen_keep: Duration,
    /// Mirror rows of the deleted are kept this long.
    pub deleted_keep: Duration,
    /// A read that began longer ago than this is refused at commit (G-08).
    pub work_timeout: Duration,
    /// A delta run of each connection this often, and at once on every sign of a gap.
    pub delta_interval: Duration,
    /// A connection whose last complete delta run is older than this is stale (G-21).
    pub t_missed: Duration,
    /// What was listed is listed again so long after: a listing may come from a stale replica.
    pub relist: [Duration; 2],
    /// Length asked of Graph for a subscription.
    pub sub_lifetime: Duration,
    /// Comparison with Graph's own list of subscriptions.
    pub sub_check: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        Self {
            settle: Duration::from_secs(60),
            contradicted: [minutes(1), minutes(5), minutes(15)],
            scope_agree: Duration::from_secs(10),
            missing_agree: minutes(2),
            reenable_agree: Duration::from_secs(30),
            reenable_recent: minutes(15),
            reenable_recheck: minutes(5),
            coalesce: Duration::from_secs(5),
            seen_keep: minutes(30),
            deleted_keep: minutes(31 * 24 * 60),
            work_timeout: Duration::from_secs(60),
            delta_interval: minutes(5),
            t_missed: minutes(10),
            relist: [minutes(5), minutes(15)],
            sub_lifetime: minutes(48 * 60),
            sub_check: minutes(15),
        }
    }
}

//! Faults on demand: what goes wrong, where, how often.

mod twist;

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::chance::Chance;
use crate::graph::route::Route;
use crate::sync::lock;
pub use twist::Twist;

/// Something that goes wrong on one route until the faults are cleared.
///
/// Routes are written as in the counters, with or without the method: `users/{id}`,
/// `GET /users/{id}`, `token`; `notifications` is the sender's route, and `*` is every Graph
/// route and the token endpoint (not the sender). Several faults may strike one request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Where it happens.
    pub route: String,
    /// Only where the request names this object, in its address or its body.
    pub over: Option<Uuid>,
    /// How often it happens, 0 to 1.
    pub probability: f64,
    /// Answer with this status instead (5xx with an HTML body).
    pub status: Option<u16>,
    /// Wait this long (real milliseconds) before answering, or before sending a notification.
    pub delay_ms: Option<u64>,
    /// Answer reads as of this many simulated milliseconds ago (a stale replica; at most 30 min).
    pub lag_ms: Option<u64>,
    /// Draw the lag of each read anew, from none to `lag_ms`: two reads may disagree.
    pub lag_random: bool,
    /// Keep the notification back for this many simulated seconds before it is sent.
    pub hold_seconds: Option<u64>,
    /// Draw the hold of each notification anew, from none to `hold_seconds`: they arrive shuffled.
    pub hold_random: bool,
    /// Lose the notification; on a Graph route, cut the answer short.
    pub drop: bool,
    /// Send the notification twice.
    pub duplicate: bool,
    /// Let later notifications overtake this one.
    pub reorder: bool,
    /// `Retry-After` of the faulty answer, in seconds.
    pub retry_after: Option<u64>,
    /// `Retry-After` of the faulty answer as it is, sense or not.
    pub retry_after_text: Option<String>,
    /// Make an otherwise good answer wrong in this way.
    pub twist: Option<Twist>,
    /// Give this as the link to the next page, whatever it is.
    pub link: Option<String>,
    /// Show only this share of the rows of a listing (0 to 1), with no link to the rest.
    pub share: Option<f64>,
    /// Claim this lifetime in the token answer, seconds (route `token` only).
    pub expires_in: Option<i64>,
    /// Answer the token request with this AADSTS error (route `token` only).
    pub aadsts: Option<u32>,
    /// Happens this many times, then no more; for ever when absent.
    pub remaining: Option<u64>,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            route: "*".to_owned(),
            over: None,
            probability: 1.0,
            status: None,
            delay_ms: None,
            lag_ms: None,
            lag_random: false,
            hold_seconds: None,
            hold_random: false,
            drop: false,
            duplicate: false,
            reorder: false,
            retry_after: None,
            retry_after_text: None,
            twist: None,
            link: None,
            share: None,
            expires_in: None,
            aadsts: None,
            remaining: None,
        }
    }
}

impl Fault {
    /// A fault on this route, with nothing wrong yet: set the fields that should go wrong.
    pub fn on(route: impl Into<String>) -> Self {
        Self { route: route.into(), ..Self::default() }
    }

    /// Whether there is a route it can strike.
    pub(crate) fn can_strike(&self) -> bool {
        let others = ["POST /$batch", "POST token", NOTIFICATIONS];
        Route::NAMES.into_iter().chain(others).any(|route| self.matches(route))
    }

    fn matches(&self, route: &str) -> bool {
        let bare = |name: &str| name.rsplit(' ').next().unwrap_or_default().trim_matches('/').to_owned();
        match self.route.as_str() {
            "*" => route != NOTIFICATIONS,
            wanted if wanted.contains(' ') => wanted == route,
            wanted => bare(wanted) == bare(route),
        }
    }
}

/// The route name of the notification sender.
pub(crate) const NOTIFICATIONS: &str = "notifications";

/// Everything that goes wrong with one request or one notification.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    pub status: Option<u16>,
    pub retry_after: Option<String>,
    pub aadsts: Option<u32>,
    pub expires_in: Option<i64>,
    /// Real time.
    pub delay: Duration,
    /// Simulated time.
    pub lag: Duration,
    /// Simulated time.
    pub hold: Duration,
    pub twists: Vec<Twist>,
    pub link: Option<String>,
    pub share: Option<f64>,
    pub drop: bool,
    pub duplicate: bool,
    pub reorder: bool,
}

impl Trouble {
    pub fn has(&self, twist: Twist) -> bool {
        self.twists.contains(&twist)
    }

    fn add(&mut self, fault: &Fault, chance: &Chance) {
        let drawn = |most: Option<u64>, random: bool| match most {
            Some(most) if random => chance.below(most.saturating_add(1)),
            most => most.unwrap_or(0),
        };
        let retry_after = fault.retry_after_text.clone().or(fault.retry_after.map(|seconds| seconds.to_string()));
        self.status = fault.status.or(self.status);
        self.retry_after = retry_after.or(self.retry_after.take());
        self.aadsts = fault.aadsts.or(self.aadsts);
        self.expires_in = fault.expires_in.or(self.expires_in);
        self.delay += Duration::from_millis(fault.delay_ms.unwrap_or(0));
        self.lag = self.lag.max(Duration::from_millis(drawn(fault.lag_ms, fault.lag_random)));
        // Drawn in milliseconds, so that what is held for up to a second is shuffled as well.
        let hold = fault.hold_seconds.map(|seconds| seconds.saturating_mul(1000));
        self.hold = self.hold.max(Duration::from_millis(drawn(hold, fault.hold_random)));
        self.twists.extend(fault.twist);
        self.link = fault.link.clone().or(self.link.take());
        self.share = fault.share.or(self.share);
        self.drop |= fault.drop;
        self.duplicate |= fault.duplicate;
        self.reorder |= fault.reorder;
    }
}

/// The faults in force.
#[derive(Default)]
pub(crate) struct Faults {
    list: Mutex<Vec<Fault>>,
}

impl Faults {
    pub fn set(&self, fault: Fault) {
        lock(&self.list).push(fault);
    }

    pub fn clear(&self) {
        lock(&self.list).clear();
    }

    /// Draws, for one request on this route, which faults strike. Those over an object do not.
    pub fn strike(&self, route: &str, chance: &Chance) -> Trouble {
        self.strike_over(route, |_| false, chance)
    }

    /// The same for a request that may name objects.
    pub fn strike_over(&self, route: &str, names: impl Fn(Uuid) -> bool, chance: &Chance) -> Trouble {
        let mut trouble = Trouble::default();
        let mut list = lock(&self.list);
        for fault in list.iter_mut().filter(|fault| fault.matches(route)) {
            if fault.over.is_some_and(|object| !names(object)) {
                continue;
            }
            if fault.remaining == Some(0) || !chance.happens(fault.probability) {
                continue;
            }
            fault.remaining = fault.remaining.map(|left| left - 1);
            trouble.add(fault, chance);
        }
        trouble
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_its_route_only_and_only_as_often_as_asked() {
        let chance = Chance::seeded(1);
        let faults = Faults::default();
        faults.set(Fault { status: Some(503), remaining: Some(1), ..Fault::on("users/{id}") });

        assert_eq!(faults.strike("GET /groups/{id}", &chance).status, None);
        assert_eq!(faults.strike("GET /users/{id}", &chance).status, Some(503));
        assert_eq!(faults.strike("GET /users/{id}", &chance).status, None);
    }

    #[test]
    fn a_fault_over_an_object_strikes_only_what_names_it() {
        let chance = Chance::seeded(1);
        let (sick, well) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let faults = Faults::default();
        faults.set(Fault { status: Some(503), over: Some(sick), ..Fault::on("users/{id}") });
        let strike = |about: Uuid| faults.strike_over("GET /users/{id}", |object| object == about, &chance).status;
        assert_eq!((strike(sick), strike(well)), (Some(503), None));
        assert_eq!(faults.strike("GET /users/{id}", &chance).status, None);
    }

    #[test]
    fn a_random_lag_differs_between_reads_and_stays_within_its_bound() {
        let chance = Chance::seeded(1);
        let faults = Faults::default();
        faults.set(Fault { lag_ms: Some(20_000), lag_random: true, ..Fault::on("users/{id}") });
        let lags: Vec<Duration> = (0..100).map(|_| faults.strike("GET /users/{id}", &chance).lag).collect();
        assert!(lags.iter().all(|lag| *lag <= Duration::from_secs(20)));
        assert!(lags.iter().any(|lag| *lag < Duration::from_secs(5)));
        assert!(lags.iter().any(|lag| *lag > Duration::from_secs(15)));
    }

    #[test]
    fn the_star_leaves_the_sender_alone() {
        let chance = Chance::seeded(1);
        let faults = Faults::default();
        faults.set(Fault { drop: true, ..Fault::on("*") });

        assert!(faults.strike("GET /users", &chance).drop);
        assert!(!faults.strike(NOTIFICATIONS, &chance).drop);
    }
}

//! When a subscription is renewed, and how it stands (C6).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// How a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// Asked for, not yet confirmed by Graph: the intent row (FA-19).
    Pending,
    /// Graph posts to us.
    Active,
    /// Renewing has failed for so long that only a quarter of its life is left.
    Expiring,
    /// Ran out or was removed: recreated, then caught up (FA-21).
    Gone,
}

impl SubscriptionStatus {
    /// From the times alone; `expires_at` is `None` while Graph has not confirmed it. That Graph does not list it any
    /// more is for the caller to know.
    pub fn at(expires_at: Option<Timestamp>, lifetime: Duration, now: Timestamp) -> Self {
        match expires_at {
            None => Self::Pending,
            Some(at) if at <= now => Self::Gone,
            Some(at) if at.since(now) < lifetime / 4 => Self::Expiring,
            Some(_) => Self::Active,
        }
    }
}

/// Renew at half-life, so that a day of failed tries still fits. `jitter` from -0.1 to 0.1 of the lifetime keeps many
/// subscriptions from falling due together; anything outside is clamped.
pub fn renewal_due(expires_at: Timestamp, lifetime: Duration, jitter: f64, now: Timestamp) -> bool {
    let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(-0.1, 0.1) };
    expires_at.since(now) <= lifetime.mul_f64(0.5 + jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(48 * 3600);

    fn hours(hours: i64) -> Timestamp {
        Timestamp::from_micros(hours * 3_600_000_000)
    }

    #[test]
    fn renewed_at_half_life_give_or_take_a_tenth() {
        let due = |jitter, at| renewal_due(hours(48), LIFETIME, jitter, hours(at));
        assert!(!due(0.0, 23));
        assert!(due(0.0, 24));
        assert!(!due(-0.1, 28), "19.2 h before the end");
        assert!(due(-0.1, 29));
        assert!(!due(0.1, 19), "28.8 h before the end");
        assert!(due(0.1, 20));
        assert!(due(9.0, 20) && !due(9.0, 19), "absurd jitter is clamped");
        assert!(due(0.0, 1000), "long past the end");
    }

    #[test]
    fn status_follows_the_clock() {
        let at = |now| SubscriptionStatus::at(Some(hours(48)), LIFETIME, hours(now));
        assert_eq!(SubscriptionStatus::at(None, LIFETIME, hours(0)), SubscriptionStatus::Pending);
        assert_eq!(at(36), SubscriptionStatus::Active);
        assert_eq!(at(37), SubscriptionStatus::Expiring);
        assert_eq!(at(48), SubscriptionStatus::Gone);
    }
}

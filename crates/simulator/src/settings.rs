//! How the simulated Microsoft behaves until told otherwise.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::simulator::RemovedForm;

/// The standing behaviour of a simulator, for all its tenants. `POST /sim/settings` takes any of
/// the fields; those left out stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Added to every Graph answer, real milliseconds.
    pub latency_ms: u64,
    /// How `@removed` is written inside notifications.
    pub removed_form: RemovedForm,
    /// Rows (members counted as rows) of a delta page; 200. A round keeps the size it began with.
    pub delta_page: usize,
    /// Whether notifications are sent at all; what is not sent counts as dropped. Handshakes and
    /// lifecycle notifications go on.
    pub notifications: bool,
    /// Microsoft's rules of delivery by the year of their description.
    pub delivery_profile: DeliveryProfile,
    /// New users appear piece by piece (`graph-contract.md` section 6, ADS20).
    pub staged_creation_ms: StagedCreation,
    /// Throttle by resource units (`graph-contract.md` section 8, THRL); they are counted anyway.
    pub enforce_limits: bool,
    /// The longest life of a subscription, minutes; the real ceiling has been seen a little under
    /// the documented one (EXPCAP).
    pub subscription_cap_minutes: u32,
    /// Live subscriptions an app may have in a tenant; 100 (OV25).
    pub subscription_quota: usize,
    /// Ask for the handshake at every renewal, not only when the URL changes (OD, FN25).
    pub handshake_on_renewal: bool,
    /// How a delta token over 7 days old is refused.
    pub old_delta_token: Expiry,
    /// Hosts the token endpoint is known by in assertions, beside its own address and
    /// `login.microsoftonline.com`.
    pub login_hosts: Vec<String>,
    /// Refuse a client assertion whose `jti` was used before. Stricter than Microsoft, whose Python
    /// library uses one assertion for up to 10 min; it shows that Lockstep makes a fresh one.
    pub assertions_once: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            removed_form: RemovedForm::default(),
            delta_page: 200,
            notifications: true,
            delivery_profile: DeliveryProfile::default(),
            staged_creation_ms: StagedCreation::default(),
            enforce_limits: false,
            subscription_cap_minutes: 41_760,
            subscription_quota: 100,
            handshake_on_renewal: false,
            old_delta_token: Expiry::SyncStateNotFound,
            login_hosts: Vec::new(),
            assertions_once: false,
        }
    }
}

/// How a user comes into being, in simulated milliseconds. Zeros mean at once and complete. Each
/// stage is notified, and told by delta; the truth is complete from the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StagedCreation {
    /// At first reads answer 404 for this long, although the creation was notified.
    pub absent: u64,
    /// Then there is only a skeleton (`id` and `userPrincipalName`) for this long.
    pub skeleton: u64,
}

impl StagedCreation {
    /// When the skeleton appears and when the user is complete, in microseconds after creation.
    pub(crate) fn micros(self) -> Option<(i64, i64)> {
        let micros = |ms: u64| i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX / 4);
        let (appears, complete) = (micros(self.absent), micros(self.absent).saturating_add(micros(self.skeleton)));
        (complete > 0).then_some((appears, complete))
    }
}

/// Microsoft's rules of delivery (`graph-contract.md` section 2, "Answering").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryProfile {
    /// 3 s for the first answer, 10 s for retries, slow endpoints wait 10 min (WH26).
    #[default]
    #[serde(rename = "2026")]
    Of2026,
    /// 10 s for every answer, slow endpoints wait 10 s (WHHIST).
    #[serde(rename = "2025")]
    Of2025,
    /// 3 s for every answer, 2.9 s count as slow, retried every 10 min (WHHIST).
    #[serde(rename = "2023")]
    Of2023,
}

/// The figures of a profile. Limits are real time, pauses simulated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeliveryRules {
    /// Within which the first attempt must be answered.
    pub first_limit: Duration,
    /// Within which a retry must be answered.
    pub retry_limit: Duration,
    /// Before the first retry.
    pub first_pause: Duration,
    /// The pauses double up to this.
    pub longest_pause: Duration,
    /// Over 10 % of answers slower than this make an endpoint slow.
    pub slow: Duration,
    /// How long notifications for a slow endpoint wait.
    pub slow_pause: Duration,
    /// Over 15 % of answers slower than this make an endpoint lose what comes.
    pub very_slow: Duration,
}

impl DeliveryProfile {
    pub(crate) fn rules(self) -> DeliveryRules {
        let seconds = Duration::from_secs;
        let of_2026 = DeliveryRules {
            first_limit: seconds(3),
            retry_limit: seconds(10),
            first_pause: seconds(1),
            longest_pause: seconds(600),
            slow: seconds(3),
            slow_pause: seconds(600),
            very_slow: seconds(10),
        };
        match self {
            Self::Of2026 => of_2026,
            Self::Of2025 => DeliveryRules { first_limit: seconds(10), slow_pause: seconds(10), ..of_2026 },
            Self::Of2023 => DeliveryRules {
                retry_limit: seconds(3),
                first_pause: seconds(600),
                slow: Duration::from_millis(2900),
                very_slow: seconds(3),
                ..of_2026
            },
        }
    }
}

/// How Graph says that a delta token is of no use any more (`graph-contract.md` section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// 410 `syncStateNotFound`, the documented form (DELTA25).
    SyncStateNotFound,
    /// 410 `resyncRequired` without a `Location`.
    Gone,
    /// 410 `resyncRequired` with a `Location` to begin anew at (DELTA25).
    GoneWithLocation,
    /// 400 `Request_UnsupportedQuery`, as reported in the field (DLEXP).
    TooOld,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_follow_each_other_and_none_means_none() {
        assert_eq!(StagedCreation::default().micros(), None);
        assert_eq!(StagedCreation { absent: 2, skeleton: 3 }.micros(), Some((2000, 5000)));
        assert_eq!(StagedCreation { absent: 2, skeleton: 0 }.micros(), Some((2000, 2000)));
    }
}

//! One receiver of notifications: its queue, and how fast it has answered lately.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::settings::DeliveryRules;
use crate::sync::lock;

/// POSTs in flight at one endpoint.
const IN_FLIGHT: usize = 32;
/// How far back answers count, and how long an endpoint loses what comes; simulated microseconds.
const WINDOW: i64 = 10 * 60 * 1_000_000;
/// Fewer answers than this in the window say nothing.
const ENOUGH: usize = 100;

/// A URL that notifications go to.
pub(super) struct Endpoint {
    pub url: String,
    queue: Mutex<VecDeque<Arc<str>>>,
    filled: Notify,
    places: Arc<Semaphore>,
    record: Mutex<Record>,
}

/// The right to have one POST in flight; `None` never happens, since places are not closed.
pub(super) type Place = Option<OwnedSemaphorePermit>;

/// How Microsoft treats the endpoint now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Healthy,
    /// New notifications wait until then (microseconds).
    Slow {
        until: i64,
    },
    /// New notifications are lost.
    Drop,
}

#[derive(Default)]
struct Record {
    answers: VecDeque<(i64, Duration)>,
    slow_until: i64,
    drop_until: i64,
}

impl Endpoint {
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            queue: Mutex::default(),
            filled: Notify::new(),
            places: Arc::new(Semaphore::new(IN_FLIGHT)),
            record: Mutex::default(),
        }
    }

    pub fn push(&self, item: Arc<str>) {
        lock(&self.queue).push_back(item);
        self.filled.notify_one();
    }

    /// Resolves when something was pushed since the last time.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Up to this many items, oldest first; `None` if nothing waits.
    pub fn take(&self, most: usize) -> Option<Vec<Arc<str>>> {
        let mut queue = lock(&self.queue);
        let count = queue.len().min(most);
        (count > 0).then(|| queue.drain(..count).collect())
    }

    pub async fn place(&self) -> Place {
        self.places.clone().acquire_owned().await.ok()
    }

    pub fn state(&self, now: i64) -> State {
        let record = lock(&self.record);
        match (record.drop_until > now, record.slow_until > now) {
            (true, _) => State::Drop,
            (false, true) => State::Slow { until: record.slow_until },
            (false, false) => State::Healthy,
        }
    }

    /// Notes how long an answer (or its absence) took.
    pub fn note(&self, took: Duration, now: i64, rules: &DeliveryRules) {
        let mut record = lock(&self.record);
        while record.answers.front().is_some_and(|(at, _)| *at < now - WINDOW) {
            record.answers.pop_front();
        }
        record.answers.push_back((now, took));
        if took < rules.slow || record.answers.len() < ENOUGH {
            return;
        }
        let over = |limit: Duration| record.answers.iter().filter(|(_, took)| *took >= limit).count();
        let (slow, very_slow, all) = (over(rules.slow), over(rules.very_slow), record.answers.len());
        if very_slow * 100 > all * 15 {
            record.drop_until = now + WINDOW;
        } else if slow * 100 > all * 10 {
            record.slow_until = now + i64::try_from(rules.slow_pause.as_micros()).unwrap_or(WINDOW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::DeliveryProfile;

    fn endpoint_after(profile: DeliveryProfile, quick: usize, slow: usize, took: Duration) -> Endpoint {
        let (endpoint, rules) = (Endpoint::new("http://127.0.0.1/"), profile.rules());
        (0..quick).for_each(|_| endpoint.note(Duration::from_millis(5), 0, &rules));
        (0..slow).for_each(|_| endpoint.note(took, 0, &rules));
        endpoint
    }

    #[test]
    fn over_a_tenth_slow_means_new_notifications_wait_ten_minutes() {
        let endpoint = endpoint_after(DeliveryProfile::Of2026, 95, 12, Duration::from_secs(4));
        assert_eq!(endpoint.state(1), State::Slow { until: WINDOW });
        assert_eq!(endpoint.state(WINDOW), State::Healthy);
    }

    #[test]
    fn over_fifteen_percent_very_slow_means_notifications_are_lost() {
        let endpoint = endpoint_after(DeliveryProfile::Of2026, 95, 20, Duration::from_secs(11));
        assert_eq!(endpoint.state(1), State::Drop);
        assert_eq!(endpoint.state(WINDOW), State::Healthy);
    }

    #[test]
    fn a_few_slow_answers_change_nothing() {
        let endpoint = endpoint_after(DeliveryProfile::Of2026, 0, 5, Duration::from_secs(4));
        assert_eq!(endpoint.state(1), State::Healthy);
    }

    #[test]
    fn the_older_rules_wait_shorter_and_lose_sooner() {
        let (slow, short) = (Duration::from_secs(4), 10 * 1_000_000);
        let of_2025 = endpoint_after(DeliveryProfile::Of2025, 95, 12, slow);
        assert_eq!(of_2025.state(1), State::Slow { until: short });
        let of_2023 = endpoint_after(DeliveryProfile::Of2023, 95, 20, slow);
        assert_eq!(of_2023.state(1), State::Drop);
    }
}

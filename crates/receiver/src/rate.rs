//! Token buckets: so many per second, with one second's worth saved up.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Keys remembered at a time; a full bucket says nothing and may be forgotten.
const MAX_KEYS: usize = 10_000;

/// Forgetting looks at every key, so it must not happen for every request of a flood from many addresses.
const FORGET_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// One bucket for each key, bounded.
pub(crate) struct Buckets<K> {
    per_second: f64,
    known: Mutex<Known<K>>,
}

struct Known<K> {
    buckets: HashMap<K, Bucket>,
    forgot_at: Option<Instant>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn per_second(rate: u32) -> Self {
        Self { per_second: f64::from(rate), known: Mutex::new(Known { buckets: HashMap::new(), forgot_at: None }) }
    }

    /// Takes one token; `false` if there is none, or if too many keys are known already.
    pub(crate) fn take(&self, key: K, now: Instant) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.buckets.len() >= MAX_KEYS && !known.buckets.contains_key(&key) {
            known.forget_full_buckets(self.per_second, now);
            if known.buckets.len() >= MAX_KEYS {
                return false;
            }
        }
        let full = Bucket { tokens: self.per_second, at: now };
        known.buckets.entry(key).or_insert(full).take(self.per_second, now)
    }
}

impl<K> Known<K> {
    fn forget_full_buckets(&mut self, per_second: f64, now: Instant) {
        if self.forgot_at.is_none_or(|at| now.duration_since(at) >= FORGET_AT_MOST_EVERY) {
            self.forgot_at = Some(now);
            self.buckets.retain(|_, bucket| bucket.level(per_second, now) < per_second);
        }
    }
}

impl Bucket {
    fn take(&mut self, per_second: f64, now: Instant) -> bool {
        self.tokens = self.level(per_second, now);
        self.at = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }

    fn level(&self, per_second: f64, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        (self.tokens + gained).min(per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_saves_up_a_second_and_keys_do_not_share() {
        let (buckets, start) = (Buckets::per_second(2), Instant::now());
        let taken = |key, after| buckets.take(key, start + Duration::from_millis(after));
        assert_eq!([taken("a", 0), taken("a", 0), taken("a", 0)], [true, true, false]);
        assert!(taken("b", 0));
        assert_eq!([taken("a", 500), taken("a", 500)], [true, false]);
        assert_eq!([taken("a", 9_000), taken("a", 9_000), taken("a", 9_000)], [true, true, false]);
    }

    #[test]
    fn g_30_keys_are_bounded_and_forgotten_when_full() {
        let (buckets, start) = (Buckets::per_second(1), Instant::now());
        let taken = (0..=MAX_KEYS).filter(|key| buckets.take(*key, start)).count();
        assert_eq!(taken, MAX_KEYS);
        assert!(buckets.take(MAX_KEYS, start + Duration::from_secs(2)));
    }
}

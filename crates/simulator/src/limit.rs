//! Throttling by resource units: a token bucket per app and tenant (`graph-contract.md` section 8,
//! THRL).

use std::sync::Mutex;

use crate::sync::lock;

/// The bucket is full again after this long, simulated microseconds.
const WINDOW: i64 = 10_000_000;

/// How much of its allowance the app has used in a tenant.
#[derive(Default)]
pub(crate) struct Bucket {
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    units: f64,
    at: i64,
}

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Draw {
    /// Used units as a share of the allowance; over 1 the request is refused.
    pub share: f64,
    /// After how many (whole) seconds there will be room; `None` if it is let through.
    pub wait: Option<u64>,
}

/// Units in 10 s for a tenant of so many users.
fn allowance(users: usize) -> f64 {
    match users {
        0..50 => 3_500.0,
        50..=500 => 5_000.0,
        _ => 8_000.0,
    }
}

impl Bucket {
    /// Takes the units of one request. Those of a refused request count as well (THR25), up to a
    /// second allowance, so a client that does not wait stays throttled.
    pub fn draw(&self, units: u64, users: usize, now: i64) -> Draw {
        let allowance = allowance(users);
        let mut used = lock(&self.used);
        let passed = (now - used.at).max(0) as f64 / WINDOW as f64;
        used.units = (used.units - passed * allowance).max(0.0) + units as f64;
        used.at = now;
        used.units = used.units.min(2.0 * allowance);
        let over = used.units - allowance;
        let seconds = over / allowance * (WINDOW as f64 / 1e6);
        Draw { share: used.units / allowance, wait: (over > 0.0).then(|| seconds.ceil().max(1.0) as u64) }
    }

    pub fn empty(&self) {
        *lock(&self.used) = Used::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_small_tenant_has_3500_units_in_ten_seconds() {
        let bucket = Bucket::default();
        assert_eq!(bucket.draw(3_500, 10, 0).wait, None);
        assert_eq!(bucket.draw(1, 10, 0).wait, Some(1));
        assert_eq!(bucket.draw(300, 10, 2 * SECOND).wait, None, "700 flowed back in two seconds");
    }

    #[test]
    fn larger_tenants_have_more() {
        for (users, units) in [(49, 3_500), (50, 5_000), (500, 5_000), (501, 8_000)] {
            assert_eq!(Bucket::default().draw(units, users, 0).wait, None, "{users}");
            assert!(Bucket::default().draw(units + 1, users, 0).wait.is_some(), "{users}");
        }
    }

    #[test]
    fn who_does_not_wait_stays_throttled_and_who_waits_is_let_in() {
        let bucket = Bucket::default();
        bucket.draw(3_500, 1, 0);
        let mut now = 0;
        for _ in 0..20 {
            now += SECOND;
            assert!(bucket.draw(500, 1, now).wait.is_some());
        }
        let wait = bucket.draw(1, 1, now).wait.map_or(0, |seconds| seconds as i64);
        assert!((1..=10).contains(&wait));
        assert_eq!(bucket.draw(1, 1, now + (wait + 1) * SECOND).wait, None);
    }
}

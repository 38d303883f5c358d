//! Who in this process works on which message. Only in memory: when the process is lost, so are its leases, and the
//! messages come again.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// Leases by tag. Every message up to the cursor is leased here or gone from the file.
#[derive(Default)]
pub(super) struct Leases {
    cursor: i64,
    until: BTreeMap<i64, Instant>,
}

impl Leases {
    /// Reading goes on behind this tag.
    pub(super) fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Moves the cursor past `tag` and leases it; `false` if somebody has it already.
    pub(super) fn grant(&mut self, tag: i64, until: Instant) -> bool {
        self.cursor = self.cursor.max(tag);
        let mine = !self.until.contains_key(&tag);
        if mine {
            self.until.insert(tag, until);
        }
        mine
    }

    /// These are gone from the file.
    pub(super) fn settle(&mut self, tags: &[i64]) {
        for tag in tags {
            self.until.remove(tag);
        }
    }

    /// These come again.
    pub(super) fn give_back(&mut self, tags: &[i64]) {
        for tag in tags {
            if self.until.remove(tag).is_some() {
                self.cursor = self.cursor.min(tag - 1);
            }
        }
    }

    /// Gives back what was leased too long ago.
    pub(super) fn expire(&mut self, now: Instant) {
        let over: Vec<i64> = self.until.iter().filter(|(_, until)| **until <= now).map(|(tag, _)| *tag).collect();
        self.give_back(&over);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn granted(leases: &mut Leases, tags: std::ops::RangeInclusive<i64>, until: Instant) -> Vec<i64> {
        tags.filter(|tag| *tag > leases.cursor())
            .collect::<Vec<_>>()
            .into_iter()
            .filter(|t| leases.grant(*t, until))
            .collect()
    }

    #[test]
    fn what_is_given_back_comes_again_and_its_neighbours_do_not() {
        let later = Instant::now() + Duration::from_secs(60);
        let mut leases = Leases::default();
        assert_eq!(granted(&mut leases, 1..=4, later), [1, 2, 3, 4]);
        leases.settle(&[1]);
        leases.give_back(&[2]);
        assert_eq!(granted(&mut leases, 2..=5, later), [2, 5]);
    }

    #[test]
    fn a_lease_that_ends_is_given_back() {
        let now = Instant::now();
        let mut leases = Leases::default();
        granted(&mut leases, 1..=1, now + Duration::from_secs(1));
        granted(&mut leases, 2..=2, now + Duration::from_secs(9));
        leases.expire(now);
        assert_eq!(leases.cursor(), 2);
        leases.expire(now + Duration::from_secs(1));
        assert_eq!(granted(&mut leases, 1..=2, now + Duration::from_secs(9)), [1]);
    }
}

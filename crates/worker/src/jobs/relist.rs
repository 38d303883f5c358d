//! Lists once more, some minutes later, what was listed: the first listing may have come from a stale replica, while the
//! delta link came from a fresh one. What a relist finds is not listed a third time.

use lockstep_store::Task;

use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::{full_sync, list_group};

/// Goes on with the task from its checkpoint: one group, or every mapped group.
pub(crate) async fn run(ctx: &Context, task: &Task) -> Result<(), WorkerError> {
    match task.object {
        Some(_) => list_group::run(ctx, task).await,
        None => full_sync::run(ctx, task).await,
    }
}

/// FA-16: people that listings should have shown and did not, against those known to be in the listed groups. A drop
/// above 5 % looks like a truncated answer; fewer than so many people are read by id all the same, and prove nothing.
pub(crate) fn shrank(missing: u64, known: u64) -> bool {
    const FEWEST: u64 = 5;
    missing >= FEWEST && missing.saturating_mul(20) > known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fa16_more_than_one_in_twenty_missing_looks_truncated() {
        assert!(!shrank(5, 100));
        assert!(shrank(6, 100));
        assert!(!shrank(4, 4), "somebody left a small group");
        assert!(!shrank(0, 0));
    }
}

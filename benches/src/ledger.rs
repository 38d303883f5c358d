//! What was accepted must be there: without this no figure counts.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lockstep_core::hint::Subject;
use lockstep_queue::Queue;

use crate::error::{BenchError, During as _};
use crate::load::Seen;

const TAKE: usize = 5_000;
/// What a consumer that died held comes again within this time.
const QUIET: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(300);

/// What was taken out of a queue.
#[derive(Default)]
pub(crate) struct Drained {
    /// Of the first item of each message: what its POST was numbered.
    pub numbers: HashSet<u64>,
    pub messages: usize,
    /// From the first take to the last acknowledgement.
    pub took: Duration,
}

/// Takes and acknowledges everything that waits.
pub(crate) async fn drain(queue: &Queue) -> Result<Drained, BenchError> {
    const ATTEMPT: &str = "emptying the queue";
    let mut drained = Drained::default();
    let (began, mut last) = (Instant::now(), Instant::now());
    while last.elapsed() < QUIET || queue.depth().await.during(ATTEMPT)?.messages > 0 {
        if began.elapsed() > PATIENCE {
            return Err(BenchError::TooLate { what: "an empty queue".to_owned(), patience: PATIENCE });
        }
        let taken = queue.take(TAKE).await.during(ATTEMPT)?;
        if taken.is_empty() {
            queue.hinted(Duration::from_millis(20)).await;
            continue;
        }
        let tags: Vec<i64> = taken.iter().map(|message| message.tag).collect();
        drained.messages += taken.len();
        drained.numbers.extend(taken.into_iter().filter_map(|message| message.body.ok()).filter_map(|message| {
            match message.items.first()?.subject {
                Subject::User { id, .. } => u64::try_from(id.0.as_u128() & 0xffff_ffff_ffff).ok(),
                _ => None,
            }
        }));
        queue.ack(&tags).await.during(ATTEMPT)?;
        last = Instant::now();
        drained.took = began.elapsed();
    }
    Ok(drained)
}

/// Every accepted POST of these runs is among what the queue held.
pub(crate) fn nothing_lost<'a>(
    runs: impl IntoIterator<Item = &'a Seen>,
    held: &HashSet<u64>,
) -> Result<(), BenchError> {
    let lost = runs.into_iter().flat_map(|seen| &seen.accepted).filter(|number| !held.contains(number)).count();
    if lost > 0 {
        return Err(BenchError::Worthless(format!("{lost} notifications were answered 202 and lost")));
    }
    Ok(())
}

/// No answer other than 2xx and 503, and no connection without one.
pub(crate) fn all_answered(seen: &Seen) -> Result<(), BenchError> {
    if !seen.other.is_empty() || !seen.broken.is_empty() {
        let (other, broken) = (&seen.other, &seen.broken);
        return Err(BenchError::Worthless(format!(
            "beside 2xx and 503 there were answers {other:?}, and connections ended without one: {broken:?}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_and_is_not_there_is_lost() {
        let seen = Seen { accepted: vec![1, 2], ..Seen::default() };
        assert!(nothing_lost([&seen], &HashSet::from([1, 2, 3])).is_ok());
        assert!(nothing_lost([&seen], &HashSet::from([1])).is_err());
    }

    #[test]
    fn an_answer_that_is_neither_yes_nor_later_spoils_the_run() {
        assert!(all_answered(&Seen { refused: 1, ..Seen::default() }).is_ok());
        assert!(all_answered(&Seen { broken: [("reset".to_owned(), 1)].into(), ..Seen::default() }).is_err());
        assert!(all_answered(&Seen { other: [(500, 1)].into(), ..Seen::default() }).is_err());
    }
}

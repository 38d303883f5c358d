//! What becomes of due objects that could not be looked at: attempts are for faults of the object itself; whatever is
//! the connection's fault, or the store's, only makes them wait (guarantees.md, `attempts`).

use std::time::Duration;

use lockstep_core::ErrorClass;
use lockstep_core::retry::{RetryPolicy, Verdict};
use lockstep_store::Due;
use tracing::{debug, warn};

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::blame::{Suspect, may_concern_one};
use crate::supervise::chain;
use crate::trouble::{self, chance};

/// A server error about one object while others are answered: within `t_back` of its end, and no burden meanwhile.
const APART_FOR: Duration = Duration::from_secs(30);

/// How looking at a batch went, apart from what was settled.
#[derive(Default)]
pub(crate) struct Ended {
    /// Graph said something about some of them.
    pub answered: bool,
    /// Graph failed over these, each by itself.
    pub suspects: Vec<Suspect>,
    /// Kept from being looked at by a fault that is not theirs.
    pub kept_off: Vec<(Vec<Due>, WorkerError)>,
}

impl Ended {
    pub(crate) fn join(&mut self, other: Self) {
        self.answered |= other.answered;
        self.suspects.extend(other.suspects);
        self.kept_off.extend(other.kept_off);
    }
}

/// Notes what the batch says about its connection, and makes those wait that it kept off.
pub(crate) async fn conclude(ctx: &Context, basis: &Basis, ended: Ended) -> Result<(), WorkerError> {
    let Ended { answered, kept_off, suspects } = ended;
    debug_assert!(suspects.is_empty(), "judged before");
    let (apart, wide): (Vec<_>, Vec<_>) =
        kept_off.into_iter().partition(|(_, failure)| answered && may_concern_one(failure));
    for (dues, failure) in apart {
        debug!(error = %chain(&failure), objects = dues.len(), "Put {} objects off; others were answered", dues.len());
        metrics::counter!("lockstep_objects_put_off_total").increment(dues.len() as u64);
        ctx.store.put_off(ctx.id, &dues, Some(ctx.store.now() + APART_FOR), &failure.to_string()).await?;
    }
    // The longest pause asked for counts for all.
    let Some(worst) = wide.iter().map(|(_, failure)| failure).max_by_key(|failure| pause(failure)) else {
        return if answered { trouble::note_ok(ctx, &basis.connection).await } else { Ok(()) };
    };
    let reason = worst.to_string();
    trouble::note(ctx, &basis.connection, worst).await?;
    let dues: Vec<Due> = wide.into_iter().flat_map(|(dues, _)| dues).collect();
    Ok(ctx.store.put_off(ctx.id, &dues, None, &reason).await?)
}

/// Permanent trouble first: it needs a person.
fn pause(failure: &WorkerError) -> (bool, Option<Duration>) {
    match failure.class() {
        ErrorClass::Transient { retry_after } => (false, retry_after),
        ErrorClass::Permanent | ErrorClass::Bug => (true, None),
    }
}

/// A fault of the object itself.
pub(crate) async fn object_failed(ctx: &Context, due: &Due, failure: &WorkerError) -> Result<(), WorkerError> {
    debug!(object.id = %due.object, error = %chain(failure), "Looking at {} failed", due.object);
    spend_attempt(ctx, due, failure.class(), &failure.to_string()).await
}

/// Tried again later, or given up and shown.
pub(crate) async fn spend_attempt(ctx: &Context, due: &Due, class: ErrorClass, why: &str) -> Result<(), WorkerError> {
    // A worker that broke down may have done so by no fault of the object: that is found out by trying again.
    let class = if why_may_heal(class, due) { ErrorClass::Transient { retry_after: None } } else { class };
    match RetryPolicy::default().verdict(class, due.attempts, chance()) {
        Verdict::RetryIn(wait) => ctx.store.retry_object(due, ctx.store.now() + wait, why).await?,
        Verdict::Fail => fail(ctx, due, why).await?,
    }
    Ok(())
}

fn why_may_heal(class: ErrorClass, due: &Due) -> bool {
    class == ErrorClass::Bug && due.attempts < RetryPolicy::default().attempts
}

/// Whatever was claimed more often than an object may be tried breaks its worker (FA-24).
pub(crate) async fn drop_exhausted(ctx: &Context, dues: Vec<Due>) -> Result<Vec<Due>, WorkerError> {
    let most = RetryPolicy::default().attempts;
    let (exhausted, rest): (Vec<Due>, Vec<Due>) = dues.into_iter().partition(|due| due.attempts > most);
    for due in exhausted {
        fail(ctx, &due, "no attempt came to an end").await?;
    }
    Ok(rest)
}

async fn fail(ctx: &Context, due: &Due, why: &str) -> Result<(), WorkerError> {
    warn!(object.id = %due.object, connection.id = %due.connection, why, "Gave up on {} after {} attempts", due.object, due.attempts);
    metrics::counter!("lockstep_events_failed_total").increment(1);
    ctx.store.fail_object(due, why).await?;
    Ok(())
}

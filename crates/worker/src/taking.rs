//! From the queue into the store: one transaction for many messages, then the acknowledgement (G-13).

use std::time::{Duration, Instant};

use lockstep_core::hint::{self, HintMessage, LifecycleEvent};
use lockstep_core::spans::{TARGET, id_list};
use lockstep_queue::{Taken, Undecodable};
use lockstep_store::TakenHints;
use tracing::{Instrument as _, Span, info, warn};

use crate::ahead;
use crate::context::Context;
use crate::error::WorkerError;

/// Messages asked for at a time.
const TAKE: usize = 500;
/// Items in one transaction: bounds how long the writer of the store is kept.
const MOST_ITEMS: usize = 2_000;
/// How long to listen before looking at the queue all the same.
const LISTEN: Duration = Duration::from_millis(250);
/// A hint that comes so long after the one before is no part of a burst.
const QUIET: Duration = Duration::from_millis(20);

pub(crate) async fn run(ctx: Context) -> Result<(), WorkerError> {
    tokio::select! {
        recognised = recognise_queue(&ctx) => recognised?,
        () = ctx.stopped() => return Ok(()),
    }
    let mut last_taken: Option<Instant> = None;
    while !ctx.stopping() {
        let taken = ctx.queue.take(TAKE).await?;
        if taken.is_empty() {
            tokio::select! {
                () = ctx.queue.hinted(LISTEN) => {}
                () = ctx.stopped() => {}
            }
            continue;
        }
        tracing::trace!(target: "lockstep::point", "taking.taken");
        let tags: Vec<i64> = taken.iter().map(|message| message.tag).collect();
        let span = span_of(&taken);
        let quiet = last_taken.replace(Instant::now()).is_none_or(|last| last.elapsed() > QUIET);
        if let Err(failure) = take(&ctx, taken, quiet).instrument(span).await {
            // Untaken hints must not wait for their lease while the store is only busy.
            ctx.queue.give_back(&tags).await;
            return Err(failure);
        }
    }
    Ok(())
}

/// The messages' ids are what the receiver's spans have too: a hint carries nothing for the sake of being traced.
fn span_of(taken: &[Taken]) -> Span {
    let readable = || taken.iter().filter_map(|message| message.body.as_ref().ok());
    tracing::debug_span!(
        target: TARGET,
        "take hints",
        otel.kind = "consumer",
        "messaging.operation.type" = "receive",
        messaging.batch.message_count = taken.len() as i64,
        messaging.message.id = id_list(readable().map(|message| message.id)).as_str(),
        items = readable().map(|message| message.items.len()).sum::<usize>() as i64,
    )
}

/// Everybody is marked before the new queue is remembered, and the queue is marked last: whoever dies in between leaves
/// a loss that is found again.
async fn recognise_queue(ctx: &Context) -> Result<(), WorkerError> {
    let known = ctx.store.known_queue().await?;
    let found = ctx.queue.recognise(known).await?;
    if known.is_some_and(|known| known != found) {
        catch_up_everybody(ctx).await?;
    }
    ctx.store.remember_queue(found).await?;
    ctx.queue.mark(found).await?;
    Ok(())
}

/// Not the queue whose hints were promised: what waited in the other one is lost (FA-05).
async fn catch_up_everybody(ctx: &Context) -> Result<(), WorkerError> {
    warn!("The queue of hints is not the one that was there before; every connection is compared in full");
    for connection in ctx.store.list_connections().await? {
        ctx.store.mark_gap(connection.id).await?;
        ctx.store.start_full_sync(connection.id).await?;
    }
    Ok(())
}

async fn take(ctx: &Context, taken: Vec<Taken>, quiet: bool) -> Result<(), WorkerError> {
    let mut batches: Vec<Batch> = Vec::new();
    for Taken { tag, body } in taken {
        match body {
            Ok(message) => match batches.last_mut().filter(|batch| batch.items < MOST_ITEMS) {
                Some(batch) => batch.add(tag, message),
                None => batches.push(Batch::of(tag, message)),
            },
            Err(unreadable) => park_unreadable(ctx, tag, unreadable).await?,
        }
    }
    let mut left = batches.len();
    for batch in batches {
        left -= 1;
        commit(ctx, batch, left == 0, quiet).await?;
    }
    Ok(())
}

/// What is taken in one transaction.
struct Batch {
    messages: Vec<HintMessage>,
    tags: Vec<i64>,
    items: usize,
}

impl Batch {
    fn of(tag: i64, message: HintMessage) -> Self {
        Self { items: message.items.len(), tags: vec![tag], messages: vec![message] }
    }

    fn add(&mut self, tag: i64, message: HintMessage) {
        self.items += message.items.len();
        self.tags.push(tag);
        self.messages.push(message);
    }
}

/// BI-45: kept where a person can see it, and out of everybody's way.
async fn park_unreadable(ctx: &Context, tag: i64, unreadable: Undecodable) -> Result<(), WorkerError> {
    let why = unreadable.why.to_string();
    let event = ctx.store.park(None, &unreadable.bytes, &why).await?;
    warn!(event.id = %event, why, "Parked a queue message that cannot be read as event {event}");
    ctx.queue.ack(&[tag]).await?;
    Ok(())
}

async fn commit(
    ctx: &Context,
    Batch { messages, tags, .. }: Batch,
    last: bool,
    quiet: bool,
) -> Result<(), WorkerError> {
    let begun = if quiet { ahead::begin(ctx, &messages).await } else { None };
    let taken = ctx.store.take_hints_before(&messages, begun.as_ref().map(|begun| begun.ticket)).await?;
    tracing::trace!(target: "lockstep::point", "taking.stored");
    if let Some((begun, look)) = begun.zip(taken.look) {
        ctx.ahead.hand_over(begun, look);
    }
    // The work need wait neither for the disk nor until the queue has forgotten it. In a burst more about the same people is in hand
    // already, and one read answers it all.
    if last {
        ctx.due.notify_one();
    }
    for place in &taken.unknown_connection {
        park_unknown(ctx, &messages[*place]).await?;
    }
    answer_lifecycle(ctx, &taken).await?;
    ctx.store.flush().await?;
    tracing::trace!(target: "lockstep::point", "taking.flushed");
    ctx.queue.ack(&tags).await?;
    tracing::trace!(target: "lockstep::point", "taking.acked");
    metrics::counter!("lockstep_hints_taken_total", "scope" => "in").increment(taken.accepted);
    metrics::counter!("lockstep_hints_taken_total", "scope" => "out").increment(taken.ignored);
    Ok(())
}

async fn park_unknown(ctx: &Context, message: &HintMessage) -> Result<(), WorkerError> {
    let event = ctx.store.park(None, &hint::encode(message), "no such connection").await?;
    warn!(event.id = %event, connection.id = %message.connection, "Parked a hint for an unknown connection as event {event}");
    Ok(())
}

/// The gap, or the renewal that is due now, was written with the events; the scheduler, in whichever process, does the
/// rest.
async fn answer_lifecycle(ctx: &Context, taken: &TakenHints) -> Result<(), WorkerError> {
    for &(connection, subscription, event) in &taken.lifecycle {
        info!(connection.id = %connection, subscription.id = %subscription, event = ?event, "Subscription {subscription}: {event:?}");
        match event {
            LifecycleEvent::ReauthorizationRequired => {}
            LifecycleEvent::SubscriptionRemoved => {
                ctx.store.mark_subscription_gone(subscription).await?;
            }
            LifecycleEvent::Missed | LifecycleEvent::Unknown => {}
        }
    }
    if !taken.lifecycle.is_empty() {
        ctx.schedule.notify_one();
    }
    Ok(())
}

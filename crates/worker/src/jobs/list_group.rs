//! Lists one large group in steps with a checkpoint; otherwise what `compare_group` does.

use lockstep_core::{ObjectId, Ticket};
use lockstep_store::{DueReason, EventOutcome, MarkDue, Task};
use serde::{Deserialize, Serialize};

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::compare_group::{decide, mark};
use crate::listing::{Cursor, Fetched, fetch};
use crate::read::stamp;
use crate::tasks;

#[derive(Default, Serialize, Deserialize)]
struct Checkpoint {
    cursor: Cursor,
}

/// Goes on with the task from its checkpoint.
pub(crate) async fn run(ctx: &Context, task: &Task) -> Result<(), WorkerError> {
    let Some(group) = task.object else {
        return Ok(());
    };
    let Some(basis) = Basis::load(&ctx.store, task.connection).await? else {
        return Ok(());
    };
    let client = ctx.client(&basis.connection).await?;
    let mut checkpoint: Checkpoint = tasks::resume(task)?;
    loop {
        if ctx.stopping() {
            return Err(WorkerError::Stopping);
        }
        let place = stamp(&ctx.store).await?;
        let Fetched::Page(page, following) = fetch(&client, group, &checkpoint.cursor, place).await? else {
            // Deleted meanwhile: its own hint, or the next full sync, looks at its people.
            return end(ctx, &basis, task, group, None).await;
        };
        let mut tx = ctx.store.begin("list_group").await?;
        tx.mirror_listing(&basis.connection, &page).await?;
        tx.commit().await?;
        decide(ctx, &client, &basis, &page).await?;
        let Some(next) = following else {
            return end(ctx, &basis, task, group, Some(page.first_ticket)).await;
        };
        checkpoint.cursor = next;
        let mut tx = ctx.store.begin("list_group").await?;
        tx.checkpoint_task(task, &tasks::checkpoint(&checkpoint)?, &task.progress).await?;
        tx.commit().await?;
        ctx.due.notify_one();
    }
}

async fn end(
    ctx: &Context,
    basis: &Basis,
    task: &Task,
    group: ObjectId,
    first_ticket: Option<Ticket>,
) -> Result<(), WorkerError> {
    let now = ctx.store.now();
    let mut tx = ctx.store.begin("list_group").await?;
    if let Some(first_ticket) = first_ticket {
        let missing = tx.missing_from_listing(&basis.connection, group, first_ticket).await?;
        let marks: Vec<MarkDue> = missing.iter().map(|user| mark(*user, DueReason::NotListed, true, now)).collect();
        tx.mark_due(basis.connection.id, &marks).await?;
        tx.mark_group_listed(&basis.connection, group, now).await?;
        tx.settle_events(basis.connection.id, &[(group, first_ticket, EventOutcome::applied())]).await?;
    }
    tx.finish_task(task, &task.progress).await?;
    tx.commit().await?;
    ctx.due.notify_one();
    Ok(())
}

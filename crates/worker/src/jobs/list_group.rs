//! Lists one large group in steps with a checkpoint; otherwise what `compare_group` does.

use lockstep_core::{ObjectId, Ticket};
use lockstep_graph::GraphClient;
use lockstep_store::{DueReason, EventOutcome, ListedPage, MarkDue, Task, TaskKind, Tx};
use serde::{Deserialize, Serialize};

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::compare_group::{decide, mark, mark_deleted, note_shrinking};
use crate::listing::{self, Cursor, Fetched, deleted_group, fetch};
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
    let Some(basis) = Basis::load(ctx, task.connection).await? else {
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
            return gone(ctx, &basis, task, group).await;
        };
        write(ctx, &client, &basis, task.kind, &page).await?;
        let Some(next) = following else {
            return end(ctx, &basis, task, group, page.first_ticket).await;
        };
        checkpoint.cursor = next;
        let mut tx = ctx.store.begin("list_group").await?;
        tx.checkpoint_task(task, &tasks::checkpoint(&checkpoint)?, &task.progress).await?;
        tx.commit().await?;
    }
}

/// A listing of a group inside a mapped one does not tell of the mapped one: its people are read by id.
async fn write(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    kind: TaskKind,
    page: &ListedPage,
) -> Result<(), WorkerError> {
    let people: Vec<ObjectId> = page.users.iter().map(|(user, _)| *user).collect();
    let mapped = basis.rules.lookup(page.group).is_some();
    let mut tx = ctx.store.begin("list_group").await?;
    // The first listing looked at everybody.
    let entered = match kind {
        TaskKind::Relist => tx.not_in_group(&basis.connection, page.group, &people).await?,
        _ => people.clone(),
    };
    tx.mirror_listing(&basis.connection, page).await?;
    if !mapped {
        let now = ctx.store.now();
        let marks: Vec<MarkDue> = entered.iter().map(|user| mark(*user, DueReason::EnteredScope, false, now)).collect();
        tx.mark_due(basis.connection.id, &marks).await?;
    }
    tx.commit().await?;
    ctx.due.notify_one();
    if mapped { decide(ctx, client, basis, &people).await } else { Ok(()) }
}

/// Whoever the mirror has and the listing had not is read by id (G-09).
async fn end(
    ctx: &Context,
    basis: &Basis,
    task: &Task,
    group: ObjectId,
    first_ticket: Ticket,
) -> Result<(), WorkerError> {
    let now = ctx.store.now();
    let mut tx = ctx.store.begin("list_group").await?;
    let missing = tx.missing_from_listing(&basis.connection, group, first_ticket).await?;
    note_shrinking(&mut tx, basis, group, missing.len() as u64).await?;
    let marks: Vec<MarkDue> = missing.iter().map(|user| mark(*user, DueReason::NotListed, true, now)).collect();
    tx.mark_due(basis.connection.id, &marks).await?;
    tx.mark_group_listed(&basis.connection, group, now).await?;
    finish(ctx, basis, task, (group, first_ticket), tx).await
}

/// Deleted meanwhile.
async fn gone(ctx: &Context, basis: &Basis, task: &Task, group: ObjectId) -> Result<(), WorkerError> {
    let scope = listing::scope(&ctx.store, &basis.connection).await?;
    let deleted = deleted_group(&ctx.store, group, &scope).await?;
    let mut tx = ctx.store.begin("list_group").await?;
    mark_deleted(&mut tx, basis, &deleted, &scope, ctx.store.now()).await?;
    finish(ctx, basis, task, (group, deleted.ticket), tx).await
}

async fn finish(
    ctx: &Context,
    basis: &Basis,
    task: &Task,
    (group, ticket): (ObjectId, Ticket),
    mut tx: Tx,
) -> Result<(), WorkerError> {
    tx.settle_events(basis.connection.id, &[(group, ticket, EventOutcome::applied())]).await?;
    tx.finish_task(task, &task.progress).await?;
    if task.kind == TaskKind::ListGroup {
        tx.owe_relists(basis.connection.id, Some(group)).await?;
    }
    tx.commit().await?;
    ctx.due.notify_one();
    Ok(())
}

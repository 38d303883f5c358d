//! Reads who leads whom, of people whom listings showed: a group's members come without their managers. Nothing but fields
//! hangs on it (G-11), so that it follows the syncs as work of its own.

use lockstep_core::ObjectId;
use lockstep_core::field::shows_manager;
use lockstep_core::mirror::{PersonRead, ProfileFacet, ProfileFound, ProfileRead, Source};
use lockstep_core::profile::{MANAGER, Profile};
use lockstep_core::record::Status;
use lockstep_core::{Ticket, Timestamp};
use lockstep_graph::{EachUser, GraphClient, IDS_PER_BATCH, UserRead, UserSight};
use lockstep_store::{MirroredPerson, People, Task, TaskKind, Trigger, Tx};
use serde::{Deserialize, Serialize};

use crate::basis::Basis;
use crate::clients::check_tenant;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::decide_listed::waiting;
use crate::read::stamp;
use crate::settle_people::{Look, Occasion, Settled, settle_people};
use crate::tasks;

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Checkpoint {
    /// The last person read.
    after: Option<ObjectId>,
}

/// To be done now, where any record shows something of a manager.
pub(crate) async fn owe(ctx: &Context, tx: &mut Tx, basis: &Basis) -> Result<(), WorkerError> {
    let fields = &basis.connection.fields;
    if basis.rules.rules().iter().any(|rule| !rule.exclude && shows_manager(rule.kind, fields)) {
        tx.start_task(basis.connection.id, TaskKind::Managers, None, ctx.store.now()).await?;
    }
    Ok(())
}

/// Goes on with the task from its checkpoint.
pub(crate) async fn run(ctx: &Context, task: &Task) -> Result<(), WorkerError> {
    let mut checkpoint: Checkpoint = tasks::resume(task)?;
    let mut client = None;
    loop {
        if ctx.stopping() {
            return Err(WorkerError::Stopping);
        }
        let Some(basis) = Basis::load(ctx, task.connection).await? else {
            return Ok(());
        };
        let client = match &client {
            Some(client) => client,
            None => client.insert(checked_client(ctx, &basis).await?),
        };
        let people = ctx.store.load_people(&basis.connection, People::After(checkpoint.after, IDS_PER_BATCH)).await?;
        let Some(last) = people.last().map(|person| person.user.id) else {
            let mut tx = ctx.store.begin("managers").await?;
            tx.finish_task(task, &task.progress).await?;
            return Ok(tx.commit().await?);
        };
        checkpoint.after = Some(last);
        let mut tx = read_page(ctx, client, &basis, &people).await?;
        tx.checkpoint_task(task, &tasks::checkpoint(&checkpoint)?, &task.progress).await?;
        tx.commit().await?;
    }
}

async fn checked_client(ctx: &Context, basis: &Basis) -> Result<GraphClient, WorkerError> {
    let client = ctx.client(&basis.connection).await?;
    check_tenant(&client, &basis.connection).await?;
    Ok(client)
}

/// Everything but the commit.
async fn read_page(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    people: &[MirroredPerson],
) -> Result<Tx, WorkerError> {
    let led: Vec<ObjectId> = people.iter().filter(|person| is_active(person)).map(|person| person.user.id).collect();
    if led.is_empty() {
        return Ok(ctx.store.begin("managers").await?);
    }
    let place = stamp(&ctx.store).await?;
    let sights = client.read_users(&led, true).await?;
    let looks = other_managers(people, sights, place)?;
    let occasion = Occasion::of(Trigger::Sync);
    let Settled { mut tx, outcomes, .. } = settle_people(&ctx.store, client, basis, &looks, occasion).await?;
    let now = ctx.store.now();
    let marks: Vec<_> = outcomes.iter().filter_map(|outcome| waiting(outcome, now)).collect();
    tx.mark_due(basis.connection.id, &marks).await?;
    Ok(tx)
}

fn is_active(person: &MirroredPerson) -> bool {
    person.record.as_ref().is_some_and(|record| record.status == Status::Active)
        && matches!(person.user.profile, ProfileFacet::Present { .. })
}

/// Of everybody whose manager is another one than is known. Whoever was not shown is left to the next day's.
fn other_managers(
    people: &[MirroredPerson],
    mut sights: EachUser<UserSight>,
    (ticket, read_at): (Ticket, Timestamp),
) -> Result<Vec<Look>, WorkerError> {
    let mut looks = Vec::new();
    for person in people {
        let user = person.user.id;
        let profile = match sights.remove(&user) {
            Some(Ok(UserSight::Listed(profile) | UserSight::ById(UserRead::Present(profile)))) => profile,
            Some(Err(failure)) if failure.is_connection_wide() => return Err(failure.into()),
            _ => continue,
        };
        if person.user.profile.present().is_some_and(|known| leads_otherwise(&profile, known)) {
            let read =
                ProfileRead { ticket, read_at, source: Source::Listing, found: ProfileFound::Present(profile.into()) };
            let read = PersonRead { user, profile: Some(read), membership: None };
            looks.push(Look { read, ticket, read_at });
        }
    }
    Ok(looks)
}

/// That somebody has no manager of whom none was known is no news: rows are written for what changes.
fn leads_otherwise(read: &Profile, known: &Profile) -> bool {
    MANAGER.iter().any(|name| read.text(name) != known.text(name))
}

//! The ids of deleted people (D2): a deleted person keeps their groups and shows them to nobody, and neither deletion
//! nor restore raises a group event. Only whoever is known as deleted is recognised when they come back.

use std::collections::BTreeSet;

use lockstep_core::mirror::{PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::{ObjectId, Ticket, Timestamp};
use lockstep_graph::GraphClient;
use lockstep_store::{People, StoreError, Trigger};
use tracing::warn;

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::read::stamp;
use crate::settle_people::{Look, Occasion, settle_people};

/// About a million people deleted within a month (BI-31).
const MOST_PAGES: usize = 1_000;
/// A page that clashes this often is left to the next listing.
const RUNS: usize = 3;

/// Takes the ids of all deleted people that nobody knows. Of whoever is known a listing proves nothing (G-10).
pub(crate) async fn note(ctx: &Context, client: &GraphClient, basis: &Basis) -> Result<(), WorkerError> {
    let mut page = None;
    for _ in 0..MOST_PAGES {
        if ctx.stopping() {
            return Err(WorkerError::Stopping);
        }
        let place = stamp(&ctx.store).await?;
        let listed = client.list_deleted_users(page.as_ref()).await?;
        for _ in 0..RUNS {
            match note_page(ctx, client, basis, &listed.ids, place).await {
                Err(WorkerError::Store(StoreError::Conflict { .. })) => {}
                ended => {
                    ended?;
                    break;
                }
            }
        }
        page = match listed.next {
            Some(next) => Some(next),
            None => return Ok(()),
        };
    }
    warn!(connection.id = %basis.connection.id, "More than {MOST_PAGES} pages of deleted people: the rest is not known, and is not recognised when restored");
    Ok(())
}

async fn note_page(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    ids: &[ObjectId],
    (ticket, read_at): (Ticket, Timestamp),
) -> Result<(), WorkerError> {
    let known = ctx.store.load_people(&basis.connection, People::Ids(ids)).await?;
    let known: BTreeSet<ObjectId> = known.into_iter().map(|person| person.user.id).collect();
    let look = |user: ObjectId| {
        let found = ProfileFound::Missing { in_deleted_items: true };
        let profile = Some(ProfileRead { ticket, read_at, source: Source::ById, found });
        Look { read: PersonRead { user, profile, membership: None }, ticket, read_at }
    };
    let looks: Vec<Look> = ids.iter().copied().filter(|id| !known.contains(id)).map(look).collect();
    if looks.is_empty() {
        return Ok(());
    }
    let occasion = Occasion::of(Trigger::Sync);
    let settled = settle_people(&ctx.store, client, basis, &looks, occasion).await?;
    if settled.outcomes.iter().any(|outcome| outcome.person.record.is_some()) {
        let why = "somebody became known meanwhile, who is read by id like everybody else";
        return Err(StoreError::Conflict { operation: "deleted_people", why }.into());
    }
    Ok(settled.tx.commit().await?)
}

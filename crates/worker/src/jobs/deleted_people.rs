//! The ids of deleted people (D2): a deleted person keeps their groups and shows them to nobody, and neither deletion
//! nor restore raises a group event. Only whoever is known as deleted is recognised when they come back.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::mirror::{PersonRead, ProfileFacet, ProfileFound, ProfileRead, Source};
use lockstep_core::{ObjectId, Ticket, Timestamp};
use lockstep_graph::GraphClient;
use lockstep_store::{MirroredPerson, People, StoreError, Trigger};
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
            match note_strangers(ctx, client, basis, &listed.ids, place).await {
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

/// Takes those of these deleted people that nobody knows into the mirror, as deleted. Gives everybody for whom nothing has
/// to be read: them, and whoever is there as deleted and nothing more.
pub(crate) async fn note_strangers(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    deleted: &[ObjectId],
    place: (Ticket, Timestamp),
) -> Result<BTreeSet<ObjectId>, WorkerError> {
    if deleted.is_empty() {
        return Ok(BTreeSet::new());
    }
    let people = ctx.store.foresee_people(&basis.connection, People::Ids(deleted), &BTreeMap::new()).await?;
    let strangers = people.iter().filter(|person| is_unknown(person) || is_deleted_and_no_more(person));
    let looks: Vec<Look> =
        people.iter().filter(|person| is_unknown(person)).map(|person| shown_deleted(person.user.id, place)).collect();
    if !looks.is_empty() {
        let settled = settle_people(&ctx.store, client, basis, &looks, Occasion::of(Trigger::Sync)).await?;
        if settled.outcomes.iter().any(|outcome| outcome.person.record.is_some()) {
            let why = "somebody became known meanwhile, who is read by id like everybody else";
            return Err(StoreError::Conflict { operation: "deleted_people", why }.into());
        }
        settled.tx.commit().await?;
    }
    Ok(strangers.map(|person| person.user.id).collect())
}

fn is_unknown(person: &MirroredPerson) -> bool {
    person.record.is_none() && person.user.profile == ProfileFacet::Unknown && !person.user.membership.is_known()
}

fn is_deleted_and_no_more(person: &MirroredPerson) -> bool {
    person.record.is_none() && matches!(person.user.profile, ProfileFacet::Missing { in_deleted_items: true, .. })
}

fn shown_deleted(user: ObjectId, (ticket, read_at): (Ticket, Timestamp)) -> Look {
    let found = ProfileFound::Missing { in_deleted_items: true };
    let profile = Some(ProfileRead { ticket, read_at, source: Source::ById, found });
    Look { read: PersonRead { user, profile, membership: None }, ticket, read_at }
}

//! Pages of a group's members. A listing gives, it never takes (G-09): who is missing from it is read by id.

use lockstep_core::{ObjectId, Ticket, Timestamp};
use lockstep_graph::{GraphClient, GraphError, GroupRead, LinkFault, MembersRead, PageLink};
use lockstep_store::{Connection, ListedPage, MirroredGroup, Store};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::error::WorkerError;
use crate::read::stamp;

/// BI-31: no listing has more.
const MOST_PAGES: u32 = 100_000;

/// Where a listing stands; small enough for a checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Of the first page: orders the whole listing.
    pub first_ticket: Option<Ticket>,
    /// The page to fetch; checked again by the client when it is sent (BI-30).
    pub next: Option<PageLink>,
    /// Pages fetched.
    pub pages: u32,
}

/// What a fetch of one page found.
pub(crate) enum Fetched {
    /// A page, and where to go on; `None`: it was the last.
    Page(ListedPage, Option<Cursor>),
    /// The group is not there now.
    NoGroup,
}

/// Fetches the page the cursor stands before; `place` was drawn for it just now.
pub(crate) async fn fetch(
    client: &GraphClient,
    group: ObjectId,
    cursor: &Cursor,
    (ticket, read_at): (Ticket, Timestamp),
) -> Result<Fetched, WorkerError> {
    let page = match client.list_transitive_members(group, cursor.next.as_ref()).await? {
        MembersRead::Page(page) => page,
        MembersRead::NotFound => return Ok(Fetched::NoGroup),
    };
    if page.refused > 0 {
        warn!(group.id = %group, refused = page.refused, "A page of group {group} had {} unusable members", page.refused);
    }
    let first_ticket = cursor.first_ticket.unwrap_or(ticket);
    let following = following(cursor, first_ticket, page.next)?;
    let listed = ListedPage { group, first_ticket, ticket, read_at, users: page.users, groups: page.groups };
    Ok(Fetched::Page(listed, following))
}

/// A link that leads in a circle, or on for ever, ends the listing (BI-31).
fn following(cursor: &Cursor, first_ticket: Ticket, next: Option<PageLink>) -> Result<Option<Cursor>, WorkerError> {
    let Some(next) = next else { return Ok(None) };
    let refused = |fault| GraphError::LinkRefused { call: "GET /groups/{id}/transitiveMembers", fault };
    if cursor.next.as_ref() == Some(&next) {
        return Err(refused(LinkFault::Repeats).into());
    }
    if cursor.pages >= MOST_PAGES {
        return Err(refused(LinkFault::TooManyPages).into());
    }
    Ok(Some(Cursor { first_ticket: Some(first_ticket), next: Some(next), pages: cursor.pages + 1 }))
}

/// What is known of a group after reading it, for the mirror; `None`: it is not there now.
pub(crate) async fn read_group(
    store: &Store,
    client: &GraphClient,
    id: ObjectId,
) -> Result<Option<MirroredGroup>, WorkerError> {
    let (ticket, read_at) = stamp(store).await?;
    let GroupRead::Present(group) = client.read_group(id).await? else {
        return Ok(None);
    };
    let hidden = group.visibility.as_deref() == Some("HiddenMembership");
    if hidden {
        warn!(group.id = %id, "Group {id} hides its members: what is not shown there proves nothing");
    }
    Ok(Some(MirroredGroup {
        id,
        name: group.display_name,
        created_at: group.created_at,
        present: true,
        ticket,
        read_at,
        listed_at: None,
        hidden,
    }))
}

/// The same, kept as deleted: its edges stay for 31 days and name the people to look at.
pub(crate) async fn deleted_group(
    store: &Store,
    id: ObjectId,
    known: &[MirroredGroup],
) -> Result<MirroredGroup, WorkerError> {
    let (ticket, read_at) = stamp(store).await?;
    let known = known.iter().find(|group| group.id == id);
    Ok(MirroredGroup {
        id,
        name: known.map(|group| group.name.clone()).unwrap_or_default(),
        created_at: known.and_then(|group| group.created_at),
        present: false,
        ticket,
        read_at,
        listed_at: None,
        hidden: false,
    })
}

/// A group found inside a mapped one: from now on hints about it are in scope (M10).
pub(crate) struct NestedGroup {
    pub group: MirroredGroup,
    pub parents: Vec<ObjectId>,
}

/// Reads a nested group and the groups it stands in; `None`: it is not there now.
pub(crate) async fn read_nested(
    store: &Store,
    client: &GraphClient,
    id: ObjectId,
) -> Result<Option<NestedGroup>, WorkerError> {
    let Some(group) = read_group(store, client, id).await? else {
        return Ok(None);
    };
    let Some(parents) = client.group_parents(id).await? else {
        return Ok(None);
    };
    Ok(Some(NestedGroup { group, parents }))
}

/// The groups whose members are mirrored.
pub(crate) async fn scope(store: &Store, connection: &Connection) -> Result<Vec<MirroredGroup>, WorkerError> {
    let mut tx = store.begin("groups_in_scope").await?;
    Ok(tx.groups_in_scope(connection).await?)
}

//! Pages of a group's listing: they give, they never take (G-09).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_core::mirror::{MembershipRead, Merged, PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::profile::Profile;
use lockstep_core::{ObjectId, Ticket, Timestamp};

use crate::connection::Connection;
use crate::db::Tx;
use crate::due::mark::{HintedObject, MarkDue};
use crate::due::{DueClaim, DueKind, DueReason};
use crate::error::StoreError;
use crate::sql::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, sql};
use crate::taking::scope::scope_lock;

const MISSING: &str = "SELECT user_id FROM membership
    WHERE connection_id = $1 AND group_id = $2 AND present AND ticket < $3 ORDER BY user_id";
const COUNT: &str = "SELECT count(*) AS people FROM membership WHERE connection_id = $1 AND group_id = $2 AND present";
// A nested group is in scope from now on; its name comes with its first own read.
const NESTED: &str = " ON CONFLICT (connection_id, group_id) DO NOTHING";

/// One page of the transitive members of a group.
#[derive(Clone, Debug)]
pub struct ListedPage {
    /// The listed group.
    pub group: ObjectId,
    /// Ticket of the listing's first page: it orders the edges.
    pub first_ticket: Ticket,
    /// Ticket of this page: it orders the profiles.
    pub ticket: Ticket,
    /// When this page was asked for.
    pub read_at: Timestamp,
    /// The users on it, with the profile where the page showed one.
    pub users: Vec<(ObjectId, Option<Arc<Profile>>)>,
    /// The groups on it.
    pub groups: Vec<ObjectId>,
}

impl ListedPage {
    /// What it says of each person, in the order of their ids, as all who lock people do (G-08). Whoever is shown twice is
    /// told of once.
    pub fn reads(&self) -> Vec<PersonRead> {
        let users: BTreeMap<ObjectId, Option<&Arc<Profile>>> =
            self.users.iter().map(|(id, profile)| (*id, profile.as_ref())).collect();
        users.into_iter().map(|(id, profile)| listed(self, id, profile)).collect()
    }
}

impl Tx {
    /// Applies a page to the mirror; nobody is decided by it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn mirror_listing(&mut self, connection: &Connection, page: &ListedPage) -> Result<(), StoreError> {
        self.enter_groups(connection, page).await?;
        // A statement's worth at a time: what is compared is held several times over.
        let mut merged = BTreeMap::new();
        for some in page.reads().chunks(ROWS_PER_STATEMENT) {
            merged.extend(self.merge_reads(connection, some).await?.merged);
        }
        // After the people: whoever decides about them locks them first and their due rows last.
        self.look_at_seen(connection, page).await?;
        self.look_at_differing(connection, &merged).await
    }

    /// What else follows from a page whose people are in the mirror and committed: the groups on it come into scope, and
    /// hints about its people that were passed by before count after all.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn enter_scope(&mut self, connection: &Connection, page: &ListedPage) -> Result<(), StoreError> {
        self.enter_groups(connection, page).await?;
        self.look_at_seen(connection, page).await
    }

    async fn enter_groups(&mut self, connection: &Connection, page: &ListedPage) -> Result<(), StoreError> {
        for chunk in page.groups.chunks(ROWS_PER_STATEMENT) {
            let insert =
                sql("INSERT INTO directory_group (connection_id, group_id, name, state, ticket, read_at) VALUES ");
            let rows = chunk.iter().map(|group| -> Vec<Bind> {
                vec![
                    connection.id.into(),
                    (*group).into(),
                    "".into(),
                    "present".into(),
                    0_i64.into(),
                    page.read_at.into(),
                ]
            });
            self.run(insert.rows(rows).push(NESTED)).await?;
        }
        Ok(())
    }

    /// Where a listing says something else than a read by id, nothing of it is taken: a new read by id tells (G-08).
    async fn look_at_differing(
        &mut self,
        connection: &Connection,
        merged: &BTreeMap<ObjectId, Merged>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let differing = merged.iter().filter(|(_, merged)| merged.lost_and_differs);
        let marks: Vec<MarkDue> = differing
            .map(|(user, _)| MarkDue {
                object: *user,
                kind: DueKind::User,
                at: now,
                urgent: true,
                read_profile: true,
                read_membership: true,
                reason: DueReason::LostRead,
            })
            .collect();
        self.mark_due(connection.id, &marks).await
    }

    /// Somebody whose hint was passed by as out of scope comes into scope: the hint counts after all.
    /// No hint is being taken meanwhile: it would find them out of scope still, and note them as seen too late for us.
    async fn look_at_seen(&mut self, connection: &Connection, page: &ListedPage) -> Result<(), StoreError> {
        self.lock_name(scope_lock(connection.id)).await?;
        for chunk in page.users.chunks(IDS_PER_STATEMENT) {
            let ids = || chunk.iter().map(|(id, _)| *id);
            let seen = sql("SELECT object_id FROM seen WHERE connection_id = ").value(connection.id);
            let seen = self.all(seen.push(" AND object_id IN ").list(ids())).await?;
            if seen.is_empty() {
                continue;
            }
            let mut hinted = Vec::new();
            for row in &seen {
                hinted.push(HintedObject {
                    connection: connection.id,
                    object: ObjectId(row.get("object_id")?),
                    kind: DueKind::User,
                    claim: DueClaim::Changed,
                    claim_group: None,
                    urgent: true,
                    read_profile: true,
                    read_membership: true,
                });
            }
            self.mark_hinted(&hinted).await?;
            let forget = sql("DELETE FROM seen WHERE connection_id = ").value(connection.id);
            self.run(forget.push(" AND object_id IN ").list(ids())).await?;
        }
        Ok(())
    }

    /// How many people the mirror has in the group.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count_in_group(&mut self, connection: &Connection, group: ObjectId) -> Result<u64, StoreError> {
        let row = self.only(sql(COUNT).bind(connection.id).bind(group)).await?;
        Ok(u64::try_from(row.get::<i64>("people")?).unwrap_or(0))
    }

    /// Which of these the mirror does not have in the group.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn not_in_group(
        &mut self,
        connection: &Connection,
        group: ObjectId,
        users: &[ObjectId],
    ) -> Result<Vec<ObjectId>, StoreError> {
        let mut inside = BTreeSet::new();
        for chunk in users.chunks(IDS_PER_STATEMENT) {
            let query = sql("SELECT user_id FROM membership WHERE present AND connection_id = ").value(connection.id);
            let query = query.push(" AND group_id = ").value(group).push(" AND user_id IN ");
            for row in self.all(query.list(chunk.iter().copied())).await? {
                inside.insert(ObjectId(row.get("user_id")?));
            }
        }
        Ok(users.iter().copied().filter(|user| !inside.contains(user)).collect())
    }

    /// Who is in the group by the mirror, yet was not shown by the listing that began with `first_ticket`: to be read by
    /// id, because absence proves nothing (G-09).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn missing_from_listing(
        &mut self,
        connection: &Connection,
        group: ObjectId,
        first_ticket: Ticket,
    ) -> Result<Vec<ObjectId>, StoreError> {
        let rows = self.all(sql(MISSING).bind(connection.id).bind(group).bind(first_ticket)).await?;
        rows.iter().map(|row| row.get("user_id").map(ObjectId)).collect()
    }
}

fn listed(page: &ListedPage, user: ObjectId, profile: Option<&Arc<Profile>>) -> PersonRead {
    let profile = profile.map(|profile| ProfileRead {
        ticket: page.ticket,
        read_at: page.read_at,
        source: Source::Listing,
        found: ProfileFound::Present(Arc::clone(profile)),
    });
    let membership = MembershipRead {
        ticket: page.first_ticket,
        read_at: page.read_at,
        source: Source::Listing,
        groups: BTreeMap::from([(page.group, None)]),
    };
    PersonRead { user, profile, membership: Some(membership) }
}

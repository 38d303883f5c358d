//! Pages of a group's listing: they give, they never take (G-09).

use std::collections::BTreeMap;

use lockstep_core::mirror::{MembershipRead, PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::profile::Profile;
use lockstep_core::{ObjectId, Ticket, Timestamp};

use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::mirror::MirroredPerson;
use crate::sql::{Bind, ROWS_PER_STATEMENT, sql};

const MISSING: &str = "SELECT user_id FROM membership
    WHERE connection_id = $1 AND group_id = $2 AND present AND ticket < $3 ORDER BY user_id";
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
    pub users: Vec<(ObjectId, Option<Profile>)>,
    /// The groups on it.
    pub groups: Vec<ObjectId>,
}

impl Tx {
    /// Applies a page to the mirror and gives its people back, in the order of the page, ready to be decided.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn mirror_listing(
        &mut self,
        connection: &Connection,
        page: &ListedPage,
    ) -> Result<Vec<MirroredPerson>, StoreError> {
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
        let reads: Vec<PersonRead> =
            page.users.iter().map(|(id, profile)| listed(page, *id, profile.as_ref())).collect();
        self.mirror(connection, &reads).await
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

fn listed(page: &ListedPage, user: ObjectId, profile: Option<&Profile>) -> PersonRead {
    let profile = profile.map(|profile| ProfileRead {
        ticket: page.ticket,
        read_at: page.read_at,
        source: Source::Listing,
        found: ProfileFound::Present(Box::new(profile.clone())),
    });
    let membership = MembershipRead {
        ticket: page.first_ticket,
        read_at: page.read_at,
        source: Source::Listing,
        groups: BTreeMap::from([(page.group, None)]),
    };
    PersonRead { user, profile, membership: Some(membership) }
}

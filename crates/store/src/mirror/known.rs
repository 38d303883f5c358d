//! What is known of people before they are read: enough to choose how to read them, one row each. The decision loads them
//! in full, and locked.

use std::collections::BTreeMap;

use lockstep_core::profile::{Invitation, UserType};
use lockstep_core::record::Status;
use lockstep_core::{ConnectionId, ObjectId};
use serde::Deserialize;

use crate::db::Store;
use crate::error::StoreError;
use crate::record::status_from;
use crate::sql::{IDS_PER_STATEMENT, Row, Sql, sql};

const KNOWN: &str =
    "SELECT u.user_id, u.profile_state, u.profile, u.membership_ticket, EXISTS (SELECT 1 FROM membership m
        WHERE m.connection_id = u.connection_id AND m.user_id = u.user_id) AS has_edges,
    (SELECT r.status FROM record r WHERE r.connection_id = u.connection_id AND r.entra_id = u.user_id
        AND r.status <> 'archived') AS status
    FROM directory_user u WHERE u.connection_id = ";

/// Somebody in the mirror, in brief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPerson {
    /// What the last read of the profile showed.
    pub profile: KnownProfile,
    /// The membership was read at least once, by id or by a listing.
    pub membership: bool,
    /// Of the live record linked to them.
    pub status: Option<Status>,
}

/// The profile facet as far as access hangs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownProfile {
    /// Never read.
    Unknown,
    /// A by-id read answered 404.
    Missing,
    /// Graph showed the user.
    Present(KnownAccess),
}

/// What a profile says about access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct KnownAccess {
    /// `None` when Graph did not say (BI-34).
    pub account_enabled: Option<bool>,
    /// Member or guest.
    pub user_type: Option<UserType>,
    /// Whether an invitation was accepted.
    pub invitation: Option<Invitation>,
}

impl KnownPerson {
    /// As `MirroredUser::needs_membership`: a read of the profile must come with one of the membership.
    pub fn needs_membership(&self) -> bool {
        self.profile == KnownProfile::Missing || !self.membership
    }
}

impl Store {
    /// Those of these people whom the mirror knows. Nobody is locked: what is done about them must not rest on it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn known_people(
        &self,
        connection: ConnectionId,
        ids: &[ObjectId],
    ) -> Result<BTreeMap<ObjectId, KnownPerson>, StoreError> {
        let mut known = BTreeMap::new();
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            for row in self.all("known_people", known_among(connection, chunk)).await? {
                known.insert(ObjectId(row.get("user_id")?), known_from(&row)?);
            }
        }
        Ok(known)
    }
}

pub(crate) fn known_among(connection: ConnectionId, ids: &[ObjectId]) -> Sql {
    sql(KNOWN).value(connection).push(" AND u.user_id IN ").list(ids.iter().copied())
}

fn known_from(row: &Row) -> Result<KnownPerson, StoreError> {
    const T: &str = "directory_user";
    let profile = match row.get::<String>("profile_state")?.as_str() {
        "unknown" => KnownProfile::Unknown,
        "missing" => KnownProfile::Missing,
        "present" => KnownProfile::Present(row.json(T, "profile")?),
        _ => return Err(row.impossible(T, "profile_state")),
    };
    let status = match row.get::<Option<String>>("status")? {
        Some(word) => Some(status_from(&word).ok_or_else(|| row.impossible("record", "status"))?),
        None => None,
    };
    let complete = row.get::<Option<i64>>("membership_ticket")?.is_some();
    Ok(KnownPerson { profile, membership: complete || row.get("has_edges")?, status })
}

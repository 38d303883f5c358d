//! Reading the mirror: rows into directory users, and the records that stand in their way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use lockstep_core::matching::{Candidate, CandidateKeys, answered_usernames, candidate_keys};
use lockstep_core::mirror::{
    Agreements, CompleteRead, Edge, KindSeen, LossSeen, MembershipFacet, MirroredUser, PersonRead, ProfileFacet,
    ProfileFound, Source,
};
use lockstep_core::profile::{Profile, address_key};
use lockstep_core::record::Record;
use lockstep_core::review::Answer;
use lockstep_core::{ConnectionId, ObjectId, Ticket, Timestamp};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::record::{KeyColumn, Reader, kind_from};
use crate::sql::{IDS_PER_STATEMENT, Row, sql};

const T: &str = "directory_user";

/// A row of `directory_user` with its edges.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MirrorRow {
    pub(crate) user: MirroredUser,
    pub(crate) decided_version: Option<i64>,
}

impl MirrorRow {
    pub(crate) fn unknown(id: ObjectId) -> Self {
        Self { user: MirroredUser::unknown(id), decided_version: None }
    }
}

impl Reader<'_> {
    /// What the mirror knows of these people, sorted by id.
    pub(crate) async fn mirror_rows(
        &mut self,
        connection: ConnectionId,
        ids: &[ObjectId],
    ) -> Result<BTreeMap<ObjectId, MirrorRow>, StoreError> {
        self.mirror_rows_beside(connection, ids, &[]).await
    }

    /// The same, after these reads: the profile of somebody who is as they were is not taken apart, it is that of the read.
    pub(crate) async fn mirror_rows_beside(
        &mut self,
        connection: ConnectionId,
        ids: &[ObjectId],
        reads: &[PersonRead],
    ) -> Result<BTreeMap<ObjectId, MirrorRow>, StoreError> {
        let shown: HashMap<ObjectId, &Arc<Profile>> = reads.iter().filter_map(shown).collect();
        let mut rows = BTreeMap::new();
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            let query = sql("SELECT user_id, profile_state, profile, profile_source, profile_ticket, profile_read_at, missing_since,
                in_deleted_items, membership_ticket, membership_read_at, loss_read_at, loss_rules_version, regain_read_at,
                kind_seen, kind_read_at, kind_rules_version, decided_version FROM directory_user WHERE connection_id = ");
            let query = query.value(connection).push(" AND user_id IN ").list(chunk.iter().copied());
            let query = self.locked(query, " ORDER BY user_id");
            for row in self.all(query).await? {
                let read = mirror_row_from(&row, &shown)?;
                rows.insert(read.user.id, read);
            }
            let query = sql("SELECT user_id, group_id, ticket, direct, present FROM membership WHERE connection_id = ");
            let query = query.value(connection).push(" AND user_id IN ").list(chunk.iter().copied());
            for row in self.all(query).await? {
                let edge = Edge {
                    ticket: Ticket(row.get("ticket")?),
                    direct: row.get("direct")?,
                    present: row.get("present")?,
                };
                if let Some(of) = rows.get_mut(&ObjectId(row.get("user_id")?)) {
                    of.user.membership.edges.insert(ObjectId(row.get("group_id")?), edge);
                }
            }
        }
        Ok(rows)
    }

    /// By person: other records of the realm that hold an address or a username they would take.
    pub(crate) async fn candidates(
        &mut self,
        connection: &Connection,
        people: &[(MirrorRow, Option<Record>)],
        answers: &BTreeMap<ObjectId, Vec<Answer>>,
    ) -> Result<BTreeMap<ObjectId, Vec<Candidate>>, StoreError> {
        let keys: Vec<(ObjectId, Option<&Record>, CandidateKeys)> = people
            .iter()
            .filter_map(|(row, record)| {
                let ProfileFacet::Present { profile, .. } = &row.user.profile else { return None };
                let mut keys = candidate_keys(profile, &connection.settings);
                keys.usernames
                    .extend(answers.get(&row.user.id).map(|given| answered_usernames(given)).into_iter().flatten());
                Some((row.user.id, record.as_ref(), without_own(keys, record.as_ref(), connection)))
            })
            .collect();
        let emails = all_keys(keys.iter().map(|(_, _, keys)| &keys.emails));
        let usernames = all_keys(keys.iter().map(|(_, _, keys)| &keys.usernames));
        let by_email = self.holders(connection, KeyColumn::Email, &emails).await?;
        let by_username = self.holders(connection, KeyColumn::Username, &usernames).await?;
        let root = match emails.is_empty() && usernames.is_empty() {
            true => None,
            false => self.root(connection).await?,
        };
        let mut candidates = BTreeMap::new();
        for (user, record, keys) in keys {
            let emails = keys.emails.iter().filter_map(|key| by_email.get(key));
            let usernames = keys.usernames.iter().filter_map(|key| by_username.get(key));
            let reserved = root.iter().filter(|root| {
                keys.emails.iter().any(|key| root.has_address(key))
                    || keys.usernames.iter().any(|key| root.has_username(key))
            });
            let others = emails
                .chain(usernames)
                .chain(reserved)
                .filter(|candidate| record.is_none_or(|own| own.id != candidate.id));
            let unique: BTreeMap<_, _> = others.map(|candidate| (candidate.id, candidate.clone())).collect();
            candidates.insert(user, unique.into_values().collect());
        }
        Ok(candidates)
    }
}

/// What somebody's own record holds nobody else in the realm can hold.
fn without_own(mut keys: CandidateKeys, record: Option<&Record>, connection: &Connection) -> CandidateKeys {
    let Some(own) = record.filter(|own| own.realm == connection.realm) else { return keys };
    let held = |address: &Option<String>| address.as_deref().map(address_key);
    keys.emails.retain(|key| Some(key) != held(&own.email).as_ref());
    keys.usernames.retain(|key| Some(key) != held(&own.username).as_ref());
    keys
}

fn all_keys<'a>(keys: impl Iterator<Item = &'a BTreeSet<String>>) -> Vec<String> {
    keys.flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

fn shown(read: &PersonRead) -> Option<(ObjectId, &Arc<Profile>)> {
    match &read.profile.as_ref()?.found {
        ProfileFound::Present(profile) => Some((read.user, profile)),
        ProfileFound::Missing { .. } => None,
    }
}

fn mirror_row_from(row: &Row, shown: &HashMap<ObjectId, &Arc<Profile>>) -> Result<MirrorRow, StoreError> {
    let mut user = MirroredUser::unknown(ObjectId(row.get("user_id")?));
    user.profile = profile_from(row, shown.get(&user.id).copied())?;
    user.membership = MembershipFacet { edges: BTreeMap::new(), complete: complete_from(row)? };
    user.agreements = agreements_from(row)?;
    Ok(MirrorRow { user, decided_version: row.get("decided_version")? })
}

/// Takes a text to be written, and fails where it is another one.
struct Same<'a>(&'a [u8]);

impl io::Write for Same<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(piece).ok_or(io::ErrorKind::InvalidData)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_written_as(profile: &Profile, text: &str) -> bool {
    let mut rest = Same(text.as_bytes());
    serde_json::to_writer(&mut rest, profile).is_ok() && rest.0.is_empty()
}

fn profile_from(row: &Row, shown: Option<&Arc<Profile>>) -> Result<ProfileFacet, StoreError> {
    let ticket = Ticket(row.get("profile_ticket")?);
    let read_at = row.maybe_at("profile_read_at")?;
    let profile = match (row.get::<Option<String>>("profile")?, shown) {
        (None, _) => None,
        (Some(text), Some(shown)) if is_written_as(shown, &text) => Some(Arc::clone(shown)),
        (Some(text), _) => Some(Arc::new(serde_json::from_str(&text).map_err(|_| row.impossible(T, "profile"))?)),
    };
    match (row.get::<String>("profile_state")?.as_str(), read_at, profile) {
        ("unknown", ..) => Ok(ProfileFacet::Unknown),
        ("present", Some(read_at), Some(profile)) => {
            let source = row.word(T, "profile_source", source_from)?;
            Ok(ProfileFacet::Present { ticket, read_at, source, profile })
        }
        ("missing", Some(read_at), last) => Ok(ProfileFacet::Missing {
            ticket,
            read_at,
            first_at: row.maybe_at("missing_since")?.unwrap_or(read_at),
            in_deleted_items: row.get("in_deleted_items")?,
            last,
        }),
        _ => Err(row.impossible(T, "profile_state")),
    }
}

fn complete_from(row: &Row) -> Result<Option<CompleteRead>, StoreError> {
    let ticket: Option<i64> = row.get("membership_ticket")?;
    let read_at: Option<Timestamp> = row.maybe_at("membership_read_at")?;
    Ok(ticket.map(Ticket).zip(read_at).map(|(ticket, read_at)| CompleteRead { ticket, read_at }))
}

fn agreements_from(row: &Row) -> Result<Agreements, StoreError> {
    let version: Option<i64> = row.get("loss_rules_version")?;
    let loss = row.maybe_at("loss_read_at")?.zip(version);
    let kind = match row.get::<Option<String>>("kind_seen")? {
        Some(word) => Some(kind_from(&word).ok_or_else(|| row.impossible(T, "kind_seen"))?),
        None => None,
    };
    let (read_at, version): (_, Option<i64>) = (row.maybe_at("kind_read_at")?, row.get("kind_rules_version")?);
    let kind = kind.zip(read_at).zip(version);
    Ok(Agreements {
        loss: loss.map(|(read_at, rules_version)| LossSeen { read_at, rules_version }),
        regain_at: row.maybe_at("regain_read_at")?,
        kind: kind.map(|((kind, read_at), rules_version)| KindSeen { kind, read_at, rules_version }),
    })
}

pub(crate) const fn source_word(source: Source) -> &'static str {
    match source {
        Source::ById => "by_id",
        Source::Listing => "listing",
    }
}

fn source_from(word: &str) -> Option<Source> {
    [Source::ById, Source::Listing].into_iter().find(|source| source_word(*source) == word)
}

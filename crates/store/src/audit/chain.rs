//! The hash that chains audit entries: over the place, the hash before and everything the entry says.

use std::fmt;
use std::str::FromStr;

use lockstep_core::Timestamp;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::StoreError;
use crate::sql::Row;

/// Another way of hashing gets another name, so that the two cannot be mistaken for each other.
const SCHEME: &[u8] = b"lockstep.audit.1";

/// SHA-256 over an entry and all before it; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditHash(pub(crate) [u8; 32]);

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hash of an audit head has 64 hexadecimal digits")]
pub struct NotAHash;

impl AuditHash {
    /// What the first entry follows.
    pub(crate) const BEGINNING: Self = Self([0; 32]);

    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let bytes: Vec<u8> = row.get("hash")?;
        bytes.try_into().map(Self).map_err(|_| row.impossible("audit_seal", "hash"))
    }
}

impl fmt::Display for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AuditHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digits = text.trim().as_bytes();
        if digits.len() != 64 {
            return Err(NotAHash);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NotAHash)?;
            // `from_str_radix` also takes a sign.
            *byte = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+')).ok_or(NotAHash)?;
        }
        Ok(Self(hash))
    }
}

impl Serialize for AuditHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The columns of an [`Entry`], of a table called `a`.
pub(crate) const ENTRY: &str = "a.id, a.at, a.connection_id, a.actor, a.action, a.object_kind, a.object_id, a.detail";

/// An entry as it is chained: every column, the detail as its text.
pub(crate) struct Entry {
    pub(crate) id: Uuid,
    at: Timestamp,
    connection: Option<Uuid>,
    actor: String,
    action: String,
    object_kind: String,
    object_id: String,
    detail: String,
}

impl Entry {
    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            at: row.at("at")?,
            connection: row.get("connection_id")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            object_kind: row.get("object_kind")?,
            object_id: row.get("object_id")?,
            detail: row.get("detail")?,
        })
    }

    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    /// Each part is preceded by its length, so that no two entries read alike.
    pub(crate) fn chained(&self, position: i64, previous: AuditHash) -> AuditHash {
        let connection = self.connection.as_ref().map_or(&[][..], |id| id.as_bytes());
        let parts: [&[u8]; 11] = [
            SCHEME,
            &previous.0,
            &position.to_be_bytes(),
            self.id.as_bytes(),
            &self.at.micros().to_be_bytes(),
            connection,
            self.actor.as_bytes(),
            self.action.as_bytes(),
            self.object_kind.as_bytes(),
            self.object_id.as_bytes(),
            self.detail.as_bytes(),
        ];
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        AuditHash(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            id: Uuid::from_u128(1),
            at: Timestamp::from_micros(1_800_000_000_000_000),
            connection: Some(Uuid::from_u128(2)),
            actor: "cli".into(),
            action: "rules.apply".into(),
            object_kind: "connection".into(),
            object_id: "x".into(),
            detail: "{}".into(),
        }
    }

    #[test]
    fn g_28_every_part_of_an_entry_and_its_place_count() {
        let hash = entry().chained(7, AuditHash::BEGINNING);
        let others = [
            Entry { id: Uuid::from_u128(3), ..entry() }.chained(7, AuditHash::BEGINNING),
            Entry { at: Timestamp::from_micros(1), ..entry() }.chained(7, AuditHash::BEGINNING),
            Entry { connection: None, ..entry() }.chained(7, AuditHash::BEGINNING),
            Entry { actor: "sync".into(), ..entry() }.chained(7, AuditHash::BEGINNING),
            Entry { object_kind: "record".into(), ..entry() }.chained(7, AuditHash::BEGINNING),
            Entry { detail: "{ }".into(), ..entry() }.chained(7, AuditHash::BEGINNING),
            // The same letters, divided otherwise.
            Entry { actor: "clir".into(), action: "ules.apply".into(), ..entry() }.chained(7, AuditHash::BEGINNING),
            entry().chained(8, AuditHash::BEGINNING),
            entry().chained(7, hash),
        ];
        assert!(others.iter().all(|other| *other != hash), "{others:?}");
    }

    /// Heads are noted outside and compared years later: the way of hashing must never change unnoticed.
    #[test]
    fn g_28_the_hash_of_an_entry_is_for_ever() {
        let hash = entry().chained(7, AuditHash::BEGINNING).to_string();
        assert_eq!(hash, "2f84671ba663d53b908fe64c1ca21bd8bcd5f3c7688c9f202a1a21ab0e9cf59a");
    }

    #[test]
    fn a_hash_reads_back_from_its_text() {
        let hash = entry().chained(7, AuditHash::BEGINNING);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string()[1..].parse::<AuditHash>(), Err(NotAHash));
        assert_eq!("+f".repeat(32).parse::<AuditHash>(), Err(NotAHash));
    }
}

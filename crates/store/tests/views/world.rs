//! A store with one connection, and the same file opened beside it to put rows there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lockstep_core::timing::Timing;
use lockstep_core::{ObjectId, RecordId};
use lockstep_store::import::{ImportOutcome, ImportedRecord};
use lockstep_store::{Clock, Connection, NewConnection, NewCredential, Store, StoreConfig};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::store_place::StorePlace;

/// 2026-01-01T00:00:00Z.
pub const START: i64 = 1_767_225_600_000_000;
pub const HOUR: i64 = 3_600_000_000;

pub const STAFF: Uuid = Uuid::from_u128(0xa1);
pub const INTERNS: Uuid = Uuid::from_u128(0xa2);
pub const BARRED: Uuid = Uuid::from_u128(0xa3);
pub const ADA: Uuid = Uuid::from_u128(0xb1);

/// A store with one connection, and the same file opened beside it to put rows there.
pub struct World {
    pub store: Store,
    pub connection: Connection,
    place: StorePlace,
    pub now: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let now = Arc::new(AtomicI64::new(START));
        let hands = Arc::clone(&now);
        let place = StorePlace::new(folder.path()).await;
        let store = Store::open(StoreConfig {
            url: place.url().to_owned(),
            key_file: folder.path().join("key"),
            clock: Clock::following(Arc::new(move || hands.load(Ordering::SeqCst))),
            timing: Timing::default(),
        })
        .await
        .expect("a new store");
        let connection = store.add_connection(contoso()).await.expect("a new connection");
        Self { store, connection, place, now, _folder: folder }
    }

    pub async fn put(&self, statement: &str, ids: &[Uuid]) {
        self.place.change(statement, ids).await.expect("a row");
    }

    pub async fn count(&self, statement: &str) -> i64 {
        self.place.number(statement).await
    }

    pub async fn import(&self, file: &str) -> ImportOutcome {
        let lines = ImportedRecord::parse_file(file).unwrap_or_else(|refused| panic!("{refused:?}"));
        self.store.import_records(&self.connection, &lines).await.expect("an import")
    }

    /// Ada is linked, in Staff by way of Interns.
    pub async fn with_ada(&self) -> RecordId {
        let (id, c) = (Uuid::now_v7(), self.connection.id.0);
        self.put(INSERT_RULE, &[c, STAFF]).await;
        self.put(INSERT_EXCLUDE, &[c, BARRED]).await;
        self.put(INSERT_RECORD, &[id, c, ADA, STAFF]).await;
        self.put(INSERT_USER, &[c, ADA]).await;
        for (group, name) in [(STAFF, "Staff"), (INTERNS, "Interns")] {
            let insert = format!(
                "INSERT INTO directory_group (connection_id, group_id, name, state, ticket, read_at)
                 VALUES ($1, $2, '{name}', 'present', 1, 1)",
            );
            self.put(&insert, &[c, group]).await;
        }
        self.put(
            "INSERT INTO membership (connection_id, user_id, group_id, ticket, direct, present)
             VALUES ($1, $2, $3, 1, FALSE, TRUE), ($1, $2, $4, 1, TRUE, TRUE)",
            &[c, ADA, STAFF, INTERNS],
        )
        .await;
        self.put("INSERT INTO group_edge VALUES ($1, $2, $3)", &[c, STAFF, INTERNS]).await;
        RecordId(id)
    }
}

pub const INSERT_RULE: &str =
    "INSERT INTO rule (connection_id, group_id, rule_order, kind, permissions, nested, exclude, group_name)
    VALUES ($1, $2, 10, 'employee', '[\"tickets\"]', TRUE, FALSE, 'Staff')";
pub const INSERT_EXCLUDE: &str =
    "INSERT INTO rule (connection_id, group_id, rule_order, kind, permissions, nested, exclude, group_name)
    VALUES ($1, $2, 20, 'employee', '[]', TRUE, TRUE, 'Barred')";
pub const INSERT_RECORD: &str = "INSERT INTO record (id, connection_id, realm, kind, status, reasons, permissions, email, email_key,
    fields, entra_id, rule_group_id, created_at, updated_at)
    VALUES ($1, $2, 'contoso', 'employee', 'active', '[]', '[\"tickets\"]', 'Ada@contoso.example', 'ada@contoso.example',
    '{\"job_title\":\"Analyst\"}', $3, $4, 1767225600000000, 1767225600123456)";
pub const INSERT_USER: &str = "INSERT INTO directory_user (connection_id, user_id, profile_state, profile, profile_source,
    profile_ticket, profile_read_at, created_at) VALUES ($1, $2, 'present',
    '{\"id\":\"00000000-0000-0000-0000-0000000000b1\",\"account_enabled\":true,\"user_type\":\"member\",\"invitation\":null,\
      \"sessions_valid_from\":null,\"properties\":{\"jobTitle\":\"Analyst\"}}', 'by_id', 1, 1767225600000000, 1)";
pub const INSERT_EVENT: &str = "INSERT INTO event (id, connection_id, kind, status, taken_ticket, received_at)
    VALUES ($1, $2, 'catch_up', 'waiting', 1, 1767225600000000)";
pub const INSERT_HOLD: &str = "INSERT INTO hold (id, connection_id, opened_at, limit_reached, cause, state)
    VALUES ($1, $2, 1767225600000000, '20 people in 30 min', 'lost_scope', 'open')";
pub const INSERT_HELD: &str =
    "INSERT INTO hold_person (hold_id, connection_id, record_id, user_id, cause, class, state, held_at)
    VALUES ($1, $2, $3, $4, '[\"out_of_scope\"]', 'lost_scope', 'held', 1)";
pub const INSERT_BACK: &str =
    "INSERT INTO hold_person (hold_id, connection_id, record_id, user_id, cause, class, state, held_at)
    VALUES ($1, $2, $3, $4, '[\"out_of_scope\"]', 'lost_scope', 'back', 1)";
pub const INSERT_REVIEW: &str =
    "INSERT INTO review (id, connection_id, kind, entra_id, candidates, choices, why, state, opened_at)
    VALUES ($1, $2, 'link', $3, '[]', '[\"link\",\"keep_apart\"]', 'two records', 'open', 1)";
pub const INSERT_PENDING: &str =
    "INSERT INTO subscription (id, connection_id, resource, status, client_state_mac, created_at)
    SELECT $1, id, 'users', 'pending', path_token_mac, 1 FROM connection WHERE id = $2";
pub const INSERT_SUBSCRIBED: &str = "INSERT INTO subscription (id, connection_id, resource, status, graph_id, client_state_mac,
    created_at, expires_at, renew_at) SELECT $1, id, 'groups', 'active', $3, path_token_mac, 1, 1767398400000000, 1767312000000000 FROM connection WHERE id = $2";

pub fn contoso() -> NewConnection {
    NewConnection {
        name: "contoso".to_owned(),
        tenant_id: ObjectId(Uuid::from_u128(0xc0)),
        domain: "contoso.example".to_owned(),
        client_id: "11111111-1111-1111-1111-111111111111".to_owned(),
        credential: NewCredential::ClientSecret("not a real one".to_owned().into()),
        cloud: "global".to_owned(),
        realm: None,
        guests: false,
        match_domains: vec!["contoso.example".to_owned()],
        test_users: Vec::new(),
    }
}

/// The JSON of a view, after a look at its keys: exactly those of the surface, whatever is absent.
pub fn seen(view: &impl Serialize, keys: &str) -> Value {
    let json = serde_json::to_value(view).expect("JSON");
    assert_eq!(keys_of(&json), keys.split(", ").map(str::to_owned).collect());
    json
}

pub fn keys_of(json: &Value) -> BTreeSet<String> {
    json.as_object().expect("an object").keys().cloned().collect()
}

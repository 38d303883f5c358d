//! Opening, migrations, keys and secrets (G-25, G-29).

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use lockstep_core::ErrorClass;
use lockstep_store::{MacPurpose, Place, QueueSeen, Resource, Store, StoreError};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::store_place::StorePlace;
use crate::world::{CLIENT_SECRET, START, World, config};

#[tokio::test]
async fn migrations_run_again_without_harm() {
    let world = World::new().await;
    let again = world.another_process().await;
    assert_eq!(again.list_connections().await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_processes_start_on_nothing_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = StorePlace::new(folder.path()).await;
    let clock = Arc::new(AtomicI64::new(START));
    let config = || config(&place, &folder, &clock);
    let (one, two) = tokio::join!(Store::open(config()), Store::open(config()));
    assert_eq!(one.unwrap().keys().id(), two.unwrap().keys().id());
}

#[tokio::test]
async fn another_key_is_refused() {
    let world = World::new().await;
    let other = tempfile::tempdir().unwrap();
    let place = StorePlace::new(other.path()).await;
    let clock = Arc::new(AtomicI64::new(START));
    Store::open(config(&place, &other, &clock)).await.unwrap();
    let mut wrong = config(&world.place, &world.folder, &clock);
    wrong.key_file = other.path().join("key");
    let refused = Store::open(wrong).await.err().expect("another key");
    assert!(matches!(refused, StoreError::WrongKey { .. }), "{refused}");
    assert_eq!(refused.class(), ErrorClass::Permanent);
}

#[tokio::test]
async fn a_lost_key_file_is_not_made_anew() {
    let world = World::new().await;
    std::fs::remove_file(world.folder.path().join("key")).unwrap();
    let clock = Arc::new(AtomicI64::new(START));
    let refused = Store::open(config(&world.place, &world.folder, &clock)).await.err().expect("no key");
    assert!(matches!(refused, StoreError::WrongKey { .. }), "{refused}");
    assert!(!world.folder.path().join("key").exists());
}

#[tokio::test]
async fn the_key_file_is_private_and_must_stay_so() {
    let world = World::new().await;
    let key = world.folder.path().join("key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let clock = Arc::new(AtomicI64::new(START));
    let refused = Store::open(config(&world.place, &world.folder, &clock)).await.err().expect("open key");
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
}

#[tokio::test]
async fn g_25_a_dump_holds_no_secret() {
    let world = World::new().await;
    let token = world.store.path_token(&world.connection).await.unwrap();
    let state = SecretString::from("canary-client-state-4Rt");
    world.store.open_subscription_intent(world.connection.id, Resource::Users, &state).await.unwrap();
    world.store.close().await;
    let dump = world.dump().await;
    assert!(dump.windows(7).any(|window| window == b"contoso"), "it is a dump");
    for secret in [CLIENT_SECRET, token.expose_secret(), state.expose_secret()] {
        let found = dump.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "a secret stands in it");
    }
}

#[tokio::test]
async fn g_25_a_secret_opens_only_in_its_own_row() {
    let world = World::new().await;
    let secret = world.store.connection_secret(&world.connection).await.unwrap();
    assert_eq!(secret.expose_secret(), CLIENT_SECRET);
    let keys = world.store.keys();
    let sealed = keys.seal(&Place { table: "connection", row: "a", column: "credential" }, b"hidden");
    for place in [
        Place { table: "connection", row: "b", column: "credential" },
        Place { table: "connection", row: "a", column: "path_token" },
        Place { table: "target", row: "a", column: "credential" },
    ] {
        assert!(keys.open(&place, &sealed).is_err());
    }
    let mut altered = sealed.clone();
    *altered.last_mut().unwrap() ^= 1;
    assert!(keys.open(&Place { table: "connection", row: "a", column: "credential" }, &altered).is_err());
}

#[tokio::test]
async fn keyed_hashes_differ_by_purpose() {
    let world = World::new().await;
    let keys = world.store.keys();
    let mac = keys.mac(MacPurpose::PathToken, b"token");
    assert!(keys.verify_mac(MacPurpose::PathToken, b"token", &mac));
    assert!(!keys.verify_mac(MacPurpose::PathToken, b"Token", &mac));
    assert!(!keys.verify_mac(MacPurpose::ClientState, b"token", &mac));
}

#[tokio::test]
async fn g_08_tickets_are_never_given_twice_by_two_processes() {
    let world = World::new().await;
    let other = world.another_process().await;
    let mut drawn = Vec::new();
    for _ in 0..50 {
        let (one, two) = tokio::join!(world.store.draw_ticket(), other.draw_ticket());
        drawn.extend([one.unwrap(), two.unwrap()]);
    }
    let reopened = world.another_process().await.draw_ticket().await.unwrap();
    assert!(drawn.iter().all(|ticket| *ticket < reopened));
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 100);
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing_and_the_next_one_begins() {
    let world = World::new().await;
    let mut tx = world.store.begin("dropped").await.unwrap();
    tx.note_first_sync(world.connection.id).await.unwrap();
    drop(tx);
    assert!(world.store.begin("next").await.is_ok());
}

#[tokio::test]
async fn fa_05_a_new_queue_file_is_noticed() {
    let world = World::new().await;
    let (known, other) = (Uuid::new_v4(), Uuid::new_v4());
    assert_eq!(world.store.known_queue().await.unwrap(), None);
    assert_eq!(world.store.remember_queue(known).await.unwrap(), QueueSeen::First);
    assert_eq!(world.store.known_queue().await.unwrap(), Some(known));
    assert_eq!(world.store.remember_queue(known).await.unwrap(), QueueSeen::Same);
    assert_eq!(world.store.remember_queue(other).await.unwrap(), QueueSeen::Replaced);
    assert_eq!(world.store.remember_queue(other).await.unwrap(), QueueSeen::Same);
}

//! What an operator does to a connection, and what is told before it ends: pause, resume, drawbacks, certificates.

use std::time::Duration;

use lockstep_store::{ConnectionState, CredentialKind, NewConnection, NewCredential, Trouble};
use secrecy::{ExposeSecret, SecretString};

use crate::world::{World, new_connection, user};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn c5_a_paused_connection_takes_hints_and_nobody_works_on_them() {
    let mut world = World::new().await;
    assert!(world.store.pause_connection(world.connection.id).await.unwrap());
    assert!(!world.store.pause_connection(world.connection.id).await.unwrap(), "once is enough");
    let read = world.read(1, "one@example.org", true, &[world.staff]).await;
    world.sync(&[read]).await.unwrap();
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    let worker = uuid::Uuid::now_v7();
    assert!(world.store.claim_due(worker, 10).await.unwrap().is_empty());
    assert_eq!(world.store.ledger(world.connection.id).await.unwrap().in_work, 1);

    world.wait(DAY);
    assert!(world.store.resume_connection(world.connection.id).await.unwrap());
    assert!(!world.store.resume_connection(world.connection.id).await.unwrap());
    let due = world.store.claim_due(worker, 10).await.unwrap();
    assert_eq!(due.iter().map(|due| due.object).collect::<Vec<_>>(), [user(1)], "due at once");
    world.reload().await;
    assert_eq!(world.connection.gap_since, Some(world.now()), "what nobody notified of is caught up");
    let audited = "SELECT count(*) FROM audit WHERE action IN ('connection.pause', 'connection.resume')";
    assert_eq!(world.number(audited).await, 2);
}

#[tokio::test]
async fn c5_after_a_pause_the_state_is_what_is_known() {
    let mut world = World::new().await;
    let id = world.connection.id;
    let switch = async |world: &mut World| {
        world.store.pause_connection(id).await.unwrap();
        world.store.resume_connection(id).await.unwrap();
        world.reload().await;
        (world.connection.state, world.connection.next_try_at)
    };
    assert_eq!(switch(&mut world).await, (ConnectionState::Active, None));

    let trouble = Trouble {
        state: ConnectionState::NeedsAttention,
        reason: "refused".into(),
        remedy: "put a new secret".into(),
        next_try_at: Some(world.now() + DAY),
    };
    world.store.note_connection_trouble(&world.connection, &trouble).await.unwrap();
    assert_eq!(switch(&mut world).await, (ConnectionState::Degraded, None), "tried again at once");
    assert_eq!(world.connection.reason.as_deref(), Some("refused"));

    let new = world.store.add_connection(new_connection("fabrikam")).await.unwrap();
    world.store.pause_connection(new.id).await.unwrap();
    world.store.resume_connection(new.id).await.unwrap();
    let new = world.store.lookup_connection(new.id).await.unwrap().unwrap();
    assert_eq!((new.state, new.gap_since), (ConnectionState::New, None));
}

#[tokio::test]
async fn the_view_says_that_it_is_paused_and_how_to_go_on() {
    let world = World::new().await;
    world.store.pause_connection(world.connection.id).await.unwrap();
    let view = world.store.lookup_connection_view("contoso").await.unwrap().unwrap();
    assert!(view.reason.unwrap().contains("paused"));
    assert_eq!(view.remedy.as_deref(), Some("lockstep connection resume contoso"));
}

#[tokio::test]
async fn a_drawback_is_said_of_a_connection_that_works_and_only_its_own_end_ends_it() {
    let mut world = World::new().await;
    let id = world.connection.id;
    world.store.note_drawback(id, "no notifications", "open the firewall").await.unwrap();
    world.store.clear_drawback(id, "another").await.unwrap();
    world.store.note_connection_ok(id).await.unwrap();
    world.reload().await;
    let c = &world.connection;
    assert_eq!((c.state, c.reason.as_deref()), (ConnectionState::Active, Some("no notifications")));
    world.store.clear_drawback(id, "no notifications").await.unwrap();
    world.reload().await;
    assert_eq!((&world.connection.reason, &world.connection.remedy), (&None, &None));

    let trouble = Trouble {
        state: ConnectionState::Degraded,
        reason: "throttled".into(),
        remedy: "wait".into(),
        next_try_at: None,
    };
    world.store.note_connection_trouble(&world.connection, &trouble).await.unwrap();
    world.store.note_drawback(id, "no notifications", "open the firewall").await.unwrap();
    world.reload().await;
    assert_eq!(world.connection.reason.as_deref(), Some("throttled"), "the graver one stays");
}

#[tokio::test]
async fn c3_a_certificate_is_kept_sealed_with_its_end_and_its_end_is_announced() {
    const PEM: &str = "canary-private-key-9Qx";
    let world = World::new().await;
    let expires_at = world.now() + DAY * 13;
    let credential = NewCredential::Certificate { pem: SecretString::from(PEM), expires_at };
    let added = world.store.add_connection(NewConnection { credential, ..new_connection("fabrikam") }).await.unwrap();
    assert_eq!((added.credential_kind, added.credential_expires_at), (CredentialKind::Certificate, Some(expires_at)));
    assert_eq!(world.store.connection_secret(&added).await.unwrap().expose_secret(), PEM);

    let (fields, defaults, settings) = (&added.fields, &added.defaults, &added.settings);
    world
        .store
        .apply_rules(added.id, vec![crate::world::rule(world.staff, 1, "x")], fields, defaults, settings, &[])
        .await
        .unwrap();
    world.store.note_connection_ok(added.id).await.unwrap();
    let mut tx = world.store.begin("first sync").await.unwrap();
    tx.note_first_sync(added.id).await.unwrap();
    tx.commit().await.unwrap();
    let soon = world.store.lookup_connection_view("fabrikam").await.unwrap().unwrap();
    assert_eq!((soon.credential.kind.as_str(), soon.credential.expires_at), ("certificate", Some(expires_at)));
    assert_eq!(soon.state, ConnectionState::Active);
    let reason = soon.reason.unwrap();
    assert!(reason.contains("certificate runs out in 13 days"), "{reason}");
    assert!(soon.remedy.is_some());

    world.store.close().await;
    let dump = world.dump().await;
    assert!(!dump.windows(PEM.len()).any(|window| window == PEM.as_bytes()), "the key stands in it");
}

//! The audit chain (G-28): whatever is done to the trail behind Lockstep's back is found.

use std::time::Duration;

use lockstep_store::view::audit::AuditFilter;
use lockstep_store::{AuditBreak, AuditFault, AuditHash, Lease, SealLook, StoreError};
use uuid::Uuid;

use crate::store_place::on_postgres;
use crate::world::{World, mail};

const LONG: Duration = Duration::from_secs(3600);
/// What somebody with the right to do so does first.
const UNLOCK: [(&str, &str); 4] = [
    ("audit_stays", "audit"),
    ("audit_is_kept", "audit"),
    ("audit_seal_stays", "audit_seal"),
    ("audit_seal_is_kept", "audit_seal"),
];
/// An entry like another one, with the id given.
const COPY_ONE: &str = "INSERT INTO audit SELECT $1, at, connection_id, actor, action, object_kind, object_id, detail
    FROM audit LIMIT 1";
const ENTRIES: &str = "SELECT count(*) FROM audit";
const SEALS: &str = "SELECT count(*) FROM audit_seal";

async fn lease(world: &World) -> Lease {
    world.store.take_lease("renewer", Uuid::from_u128(1), LONG).await.unwrap().expect("nobody else has it")
}

async fn seal(world: &World) -> u64 {
    world.store.seal_audit(lease(world).await, SealLook::Far).await.unwrap().entries
}

/// Six people came in: with what the set-up left, more than six entries.
async fn sealed() -> World {
    let world = World::new().await;
    for n in 1..=6 {
        let read = world.read(n, &mail(n), true, &[world.staff]).await;
        world.sync(&[read]).await.unwrap();
    }
    assert_eq!(seal(&world).await as i64, world.number(ENTRIES).await);
    world
}

async fn unlocked() -> World {
    let world = sealed().await;
    for (trigger, table) in UNLOCK {
        let on = if on_postgres() { format!(" ON {table}") } else { String::new() };
        world.change(made(format!("DROP TRIGGER {trigger}{on}"))).await;
    }
    world
}

async fn fault(world: &World, noted: Option<AuditHash>) -> Option<AuditFault> {
    world.store.verify_audit(noted).await.unwrap().broken.map(|broken| broken.fault)
}

/// A statement made at run time.
fn made(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[tokio::test]
async fn g_28_every_entry_is_sealed_once_and_what_waits_is_named() {
    let world = sealed().await;
    let entries = world.number(ENTRIES).await;
    assert_eq!(seal(&world).await, 0, "twice is once");
    let check = world.store.verify_audit(None).await.unwrap();
    assert_eq!((check.verified, check.unsealed, check.broken), (entries, 0, None));
    assert_eq!(check.head, world.store.audit_head().await.unwrap());

    let read = world.read(7, &mail(7), true, &[world.staff]).await;
    world.sync(&[read]).await.unwrap();
    let check = world.store.verify_audit(None).await.unwrap();
    assert_eq!((check.verified, check.unsealed, check.broken), (entries, 1, None));
    assert_eq!(seal(&world).await, 1);
    assert_eq!(world.store.verify_audit(check.head.map(|head| head.hash)).await.unwrap().verified, entries + 1);
}

#[tokio::test]
async fn g_28_a_long_tail_is_sealed_piece_by_piece() {
    let world = World::new().await;
    let id = match on_postgres() {
        true => "('01' || lpad(to_hex(i), 30, '0'))::uuid",
        false => "unhex(printf('01%030x', i))",
    };
    let many = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
         INSERT INTO audit SELECT {id}, 0, NULL, 'cli', 'test', 'test', 'x', '{{}}' FROM n"
    );
    world.change(&many).await;
    let lease = lease(&world).await;
    let (mut look, mut sealed) = (SealLook::Far, Vec::new());
    loop {
        let round = world.store.seal_audit(lease, look).await.unwrap();
        sealed.push(round.entries);
        let Some(last) = round.more_after else { break };
        look = SealLook::After(last);
    }
    assert!(sealed.len() == 3 && sealed.iter().sum::<u64>() as i64 == world.number(ENTRIES).await, "{sealed:?}");
    let check = world.store.verify_audit(None).await.unwrap();
    assert_eq!((check.verified, check.unsealed, check.broken), (world.number(SEALS).await, 0, None));
}

#[tokio::test]
async fn g_28_nothing_is_sealed_before_there_is_anything() {
    let world = World::new().await;
    let check = world.store.verify_audit(None).await.unwrap();
    assert_eq!((check.verified, check.head, check.broken), (0, None, None));
    assert!(check.unsealed > 0, "adding the connection was audited");
}

#[tokio::test]
async fn g_28_the_trail_refuses_to_be_changed() {
    let world = sealed().await;
    for table in ["audit", "audit_seal"] {
        let id = if table == "audit" { "id" } else { "entry_id" };
        assert!(world.try_change(made(format!("UPDATE {table} SET {id} = {id}"))).await.is_err(), "{table}");
        assert!(world.try_change(made(format!("DELETE FROM {table}"))).await.is_err(), "{table}");
    }
}

#[tokio::test]
async fn g_28_change_removal_and_reordering_are_found_at_their_place() {
    const THIRD: &str = "(SELECT entry_id FROM audit_seal WHERE position = 3)";
    let tamperings: [(&[&str], AuditFault); 6] = [
        (&["UPDATE audit SET actor = 'sync2' WHERE id = {}"], AuditFault::Altered),
        (&["UPDATE audit SET detail = '{\"a\": 1}' WHERE id = {}"], AuditFault::Altered),
        (
            &["UPDATE audit_seal SET hash = (SELECT hash FROM audit_seal WHERE position = 1) WHERE position = 3"],
            AuditFault::Altered,
        ),
        (&["DELETE FROM audit WHERE id = {}"], AuditFault::EntryMissing),
        (&["DELETE FROM audit WHERE id = {}", "DELETE FROM audit_seal WHERE position = 3"], AuditFault::SealMissing),
        (
            &[
                "UPDATE audit_seal SET position = -1 WHERE position = 3",
                "UPDATE audit_seal SET position = 3 WHERE position = 4",
                "UPDATE audit_seal SET position = 4 WHERE position = -1",
            ],
            AuditFault::Altered,
        ),
    ];
    for (statements, fault) in tamperings {
        let world = unlocked().await;
        for statement in statements {
            world.change(made(statement.replace("{}", THIRD))).await;
        }
        let check = world.store.verify_audit(None).await.unwrap();
        let broken = check.broken.expect(statements[0]);
        assert_eq!((broken.fault, broken.position, check.verified), (fault, Some(3), 2), "{statements:?}");
    }
}

#[tokio::test]
async fn g_28_an_entry_written_into_the_past_is_found_and_never_sealed() {
    let world = sealed().await;
    let old = Uuid::parse_str("01900000-0000-7000-8000-000000000001").unwrap();
    world.place.change(COPY_ONE, &[old]).await.unwrap();
    assert_eq!(seal(&world).await, 0);
    let check = world.store.verify_audit(None).await.unwrap();
    assert_eq!(check.broken, Some(AuditBreak { fault: AuditFault::Inserted, position: None, entry: Some(old) }));
}

/// FA-26: the clock of another machine is behind.
#[tokio::test]
async fn g_28_an_entry_of_a_clock_that_is_behind_is_sealed_all_the_same() {
    let world = sealed().await;
    let newest =
        world.store.list_audit(&AuditFilter { limit: 1, ..AuditFilter::default() }).await.unwrap().remove(0).id;
    let behind = (newest.as_u128() >> 80) - 8 * 60 * 1_000;
    world.place.change(COPY_ONE, &[Uuid::from_u128(behind << 80)]).await.unwrap();
    assert_eq!(world.store.seal_audit(lease(&world).await, SealLook::Near).await.unwrap().entries, 0);
    assert_eq!(world.store.verify_audit(None).await.unwrap().unsealed, 1);
    assert_eq!(seal(&world).await, 1);
    assert_eq!(fault(&world, None).await, None);
}

#[tokio::test]
async fn g_28_a_chain_that_was_cut_off_or_made_anew_is_found_with_a_noted_head() {
    let world = unlocked().await;
    let noted = world.store.audit_head().await.unwrap().map(|head| head.hash);
    assert_eq!(fault(&world, noted).await, None);
    world.change("DELETE FROM audit WHERE id IN (SELECT entry_id FROM audit_seal WHERE position > 4)").await;
    world.change("DELETE FROM audit_seal WHERE position > 4").await;
    assert_eq!(fault(&world, None).await, None, "what is left is whole");
    assert_eq!(fault(&world, noted).await, Some(AuditFault::HeadUnknown));

    let world = unlocked().await;
    let noted = world.store.audit_head().await.unwrap().map(|head| head.hash);
    world.change("UPDATE audit SET actor = 'nobody'").await;
    world.change("DELETE FROM audit_seal").await;
    assert!(seal(&world).await > 4);
    assert_eq!(fault(&world, None).await, None);
    assert_eq!(fault(&world, noted).await, Some(AuditFault::HeadUnknown));
}

#[tokio::test]
async fn fa_20_a_sealer_that_lost_its_lease_seals_nothing() {
    let world = World::new().await;
    let old = world.store.take_lease("renewer", Uuid::from_u128(1), LONG).await.unwrap().expect("free");
    world.wait(LONG);
    let new = world.store.take_lease("renewer", Uuid::from_u128(2), LONG).await.unwrap().expect("run out");
    let refused = world.store.seal_audit(old, SealLook::Far).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert_eq!(world.number(SEALS).await, 0);
    assert!(world.store.seal_audit(new, SealLook::Far).await.unwrap().entries > 0);
}

#[tokio::test]
async fn fa_20_one_holds_the_lease_and_each_change_of_holder_raises_the_fence() {
    let world = World::new().await;
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let take = |who| world.store.take_lease("renewer", who, LONG);
    let first = take(one).await.unwrap().expect("free");
    assert_eq!(take(two).await.unwrap(), None);
    assert_eq!(take(one).await.unwrap(), Some(first), "kept");
    world.wait(LONG + Duration::from_secs(1));
    assert_eq!(take(one).await.unwrap(), Some(first), "nobody wanted it meanwhile");
    world.wait(LONG + Duration::from_secs(1));
    let second = take(two).await.unwrap().expect("run out");
    assert!(second.fence > first.fence);
    world.store.give_back_lease(first).await.unwrap();
    assert_eq!(take(one).await.unwrap(), None, "only its holder can give it back");
    world.store.give_back_lease(second).await.unwrap();
    assert!(take(one).await.unwrap().expect("given back").fence > second.fence, "FA-33: at once");
}

#[tokio::test]
async fn r_4_entries_of_one_record_are_found_among_many_others() {
    let world = sealed().await;
    let record = world.record(3).await.id;
    let id = if on_postgres() { "('ff' || lpad(to_hex(i), 30, '0'))::uuid" } else { "unhex(printf('ff%030x', i))" };
    world
        .change(made(format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40100)
             INSERT INTO audit SELECT {id}, 0, NULL, 'cli', 'test', 'test', 'x', '{{}}' FROM n",
        )))
        .await;
    let filter = AuditFilter { record: Some(record), ..AuditFilter::default() };
    let found = world.store.list_audit(&filter).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].object_id.as_str(), found[0].position.is_some()), (record.to_string().as_str(), true));
    let all = world.store.list_audit(&AuditFilter { limit: 40_110, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(all.len() as i64, world.number(ENTRIES).await.min(40_110));
    assert!(all.is_sorted_by(|newer, older| newer.id > older.id), "newest first, none twice");
    let of_nobody = AuditFilter { connection: Some("nobody"), ..AuditFilter::default() };
    assert!(world.store.list_audit(&of_nobody).await.unwrap().is_empty());
}

#[tokio::test]
async fn p_3_the_figures_are_those_of_the_store() {
    let world = sealed().await;
    world.store.take_hints(&[world.about(1), world.about(2)]).await.unwrap();
    world.wait(Duration::from_secs(700));
    let figures = world.store.figures().await.unwrap();
    let [connection] = &figures.connections[..] else { panic!("one connection: {figures:?}") };
    assert_eq!((connection.id, connection.active, connection.inactive), (world.connection.id, 6, 0));
    assert_eq!(connection.events.iter().map(|(_, count)| count).sum::<i64>(), 2, "{:?}", connection.events);
    assert!(connection.due == 2 && connection.oldest_due.as_secs() >= 600, "{connection:?}");
    assert!(connection.stale, "no delta run for longer than t_missed");
    assert_eq!(figures.audit_entries, world.number(SEALS).await);
    assert!(figures.parked_nameless == 0 && figures.tasks.is_empty(), "{figures:?}");
    world.store.park(None, b"?", "not a message").await.unwrap();
    assert_eq!(world.store.figures().await.unwrap().parked_nameless, 1);
}

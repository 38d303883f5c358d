//! Delta rounds go on from their checkpoints; links are compared and set (G-12).

use std::time::Duration;

use lockstep_core::ObjectId;
use lockstep_core::mirror::Source;
use lockstep_store::{
    DeltaGroup, DeltaMember, DeltaProgress, DeltaRound, DeltaState, DeltaUser, Due, DueClaim, DueKind, DueReason,
    ListedPage, StoreError, TakenLink, TakenRows,
};
use uuid::Uuid;

use crate::world::{World, changed, user};

fn taken(world: &World, link: &str) -> Vec<TakenLink> {
    let taken_at = world.now();
    DeltaRound::ALL.map(|round| TakenLink { round: round.as_str().into(), link: link.into(), taken_at }).to_vec()
}

async fn renew(world: &World, links: &[TakenLink]) {
    let mut tx = world.store.begin("renew").await.unwrap();
    tx.renew_delta_links(world.connection.id, links).await.unwrap();
    tx.commit().await.unwrap();
}

async fn state(world: &World, round: DeltaRound) -> DeltaState {
    world.store.lookup_delta(world.connection.id, round).await.unwrap().unwrap()
}

async fn complete(world: &World, state: &DeltaState, link: &str) -> Result<(), StoreError> {
    let mut tx = world.store.begin("complete").await?;
    tx.complete_delta(state, link, world.now()).await?;
    tx.commit().await
}

fn progress(world: &World, next_link: &str) -> DeltaProgress {
    DeltaProgress { next_link: next_link.into(), started_at: world.now(), pages: 1, rows: 200, refused: 0 }
}

async fn with_links() -> World {
    let world = World::new().await;
    renew(&world, &taken(&world, "first")).await;
    world
}

async fn known(world: &World, people: &[u128]) {
    let mut reads = Vec::new();
    for n in people {
        reads.push(world.read(*n, &crate::world::mail(*n), true, &[world.staff]).await);
    }
    world.sync(&reads).await.unwrap();
}

async fn listed(world: &World) {
    let mut tx = world.store.begin("listed").await.unwrap();
    let group = world.staff;
    let ticket = lockstep_core::Ticket(1);
    let page = ListedPage { group, first_ticket: ticket, ticket, read_at: world.now(), users: vec![], groups: vec![] };
    tx.mirror_listing(&world.connection, &page).await.unwrap();
    tx.commit().await.unwrap();
}

async fn claim(world: &World) -> Vec<Due> {
    let mut dues = world.store.claim_due(Uuid::new_v4(), 100).await.unwrap();
    dues.sort_by_key(|due| due.object);
    dues
}

fn row(n: u128) -> DeltaUser {
    DeltaUser { id: user(n), removed: false, urgent: true, may_be_restored: false }
}

async fn take(world: &World, users: &[DeltaUser]) -> TakenRows {
    let mut tx = world.store.begin("rows").await.unwrap();
    let taken = tx.take_delta_users(world.connection.id, users).await.unwrap();
    tx.commit().await.unwrap();
    taken
}

#[tokio::test]
async fn g12_a_link_is_replaced_only_by_who_saw_it_last() {
    let world = with_links().await;
    let seen = state(&world, DeltaRound::Groups).await;
    complete(&world, &seen, "second").await.unwrap();
    let late = complete(&world, &seen, "other").await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
    assert_eq!(state(&world, DeltaRound::Groups).await.link, "second");
}

#[tokio::test]
async fn g12_a_page_that_another_worker_took_too_is_taken_once() {
    let world = with_links().await;
    let seen = state(&world, DeltaRound::UsersAccess).await;
    let mut tx = world.store.begin("page").await.unwrap();
    tx.checkpoint_delta(&seen, progress(&world, "page 2")).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.store.begin("page").await.unwrap();
    let twice = tx.checkpoint_delta(&seen, progress(&world, "page 2")).await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })));
    drop(tx);
    let now = state(&world, DeltaRound::UsersAccess).await;
    assert_eq!((now.link.as_str(), now.under_way.unwrap().next_link.as_str()), ("first", "page 2"));
}

#[tokio::test]
async fn a_full_sync_leaves_a_link_that_works_and_replaces_a_forgotten_one() {
    let world = with_links().await;
    world.store.expire_delta(&state(&world, DeltaRound::UsersAccess).await).await.unwrap();
    let forgotten = state(&world, DeltaRound::UsersAccess).await;
    assert_eq!(forgotten.link, "first", "the old link is kept until the sync is complete (FA-13)");
    assert!(forgotten.expired_at.is_some());
    renew(&world, &taken(&world, "second")).await;
    let access = state(&world, DeltaRound::UsersAccess).await;
    assert_eq!((access.link.as_str(), access.expired_at), ("second", None));
    assert_eq!(state(&world, DeltaRound::Groups).await.link, "first", "it has still to tell what came before");
}

#[tokio::test]
async fn g21_the_last_delta_is_that_of_users_and_groups_both() {
    let mut world = with_links().await;
    let start = world.now();
    world.wait(Duration::from_secs(300));
    complete(&world, &state(&world, DeltaRound::UsersAccess).await, "second").await.unwrap();
    world.reload().await;
    assert_eq!(world.connection.last_delta_at, Some(start));
    complete(&world, &state(&world, DeltaRound::Groups).await, "second").await.unwrap();
    world.reload().await;
    assert_eq!(world.connection.last_delta_at, Some(world.now()));
    assert!(!world.connection.is_stale(world.now(), world.store.timing()));
    world.wait(Duration::from_secs(601));
    assert!(world.connection.is_stale(world.now(), world.store.timing()));
}

#[tokio::test]
async fn g04_a_gap_is_closed_by_rounds_that_all_began_after_it() {
    let mut world = with_links().await;
    world.wait(Duration::from_secs(1));
    let message = world.message(vec![lockstep_core::hint::Subject::Unclear]);
    world.store.take_hints(&[message]).await.unwrap();
    for (place, round) in DeltaRound::ALL.into_iter().enumerate() {
        world.reload().await;
        assert!(world.connection.gap_since.is_some(), "{place} of 3 rounds");
        complete(&world, &state(&world, round).await, "second").await.unwrap();
    }
    world.reload().await;
    assert_eq!(world.connection.gap_since, None);
    assert_eq!(world.text("SELECT status FROM event").await, "applied");
}

#[tokio::test]
async fn rows_in_scope_are_due_with_their_claim_and_the_rest_is_seen() {
    let world = World::new().await;
    known(&world, &[1, 2]).await;
    let removed = DeltaUser { removed: true, urgent: false, ..row(2) };
    let rows = take(&world, &[row(1), removed, row(3), row(1)]).await;
    assert_eq!(rows, TakenRows { due: 2, out_of_scope: 1, unnotified: 2 });
    let dues = claim(&world).await;
    let told: Vec<_> = dues.iter().map(|due| (due.object, due.claim, due.read_membership)).collect();
    assert_eq!(
        told,
        [(user(1), Some(DueClaim::Changed), false), (user(2), Some(DueClaim::Deleted), false)],
        "BI-38: whatever the reason, a read by id decides"
    );
    assert!(dues.iter().all(|due| due.hinted_at == Some(world.now())), "settled like every hint");
    assert_eq!(world.number("SELECT count(*) FROM seen").await, 1);
}

/// D2: a stranger's restore is the one change of a stranger that is looked at.
#[tokio::test]
async fn d2_a_stranger_who_may_be_restored_is_due_with_both_facets() {
    let world = World::new().await;
    known(&world, &[1]).await;
    let restored = |n| DeltaUser { may_be_restored: true, ..row(n) };
    let rows = take(&world, &[restored(1), restored(2), row(3)]).await;
    assert_eq!(rows, TakenRows { due: 2, out_of_scope: 1, unnotified: 1 }, "a stranger's change is no missed one");
    let told: Vec<_> = claim(&world).await.iter().map(|due| (due.object, due.urgent, due.read_membership)).collect();
    assert_eq!(told, [(user(1), true, false), (user(2), false, true)]);
}

#[tokio::test]
async fn fa22_a_change_that_was_notified_is_not_counted_as_missed() {
    let world = World::new().await;
    known(&world, &[1, 2]).await;
    world.store.take_hints(&[world.message(vec![changed(1)])]).await.unwrap();
    world.change("DELETE FROM due").await;
    world.wait(Duration::from_secs(9 * 60));
    assert_eq!(take(&world, &[row(1), row(2)]).await.unnotified, 1);
    world.change("DELETE FROM due").await;
    world.wait(Duration::from_secs(2 * 60));
    assert_eq!(take(&world, &[row(1)]).await.unnotified, 1, "that was another change");
}

/// FA-15, FA-22: a row that served as a snapshot is settled and counted like one that was a hint.
#[tokio::test]
async fn fa22_snapshots_of_a_wide_round_are_settled_and_counted() {
    let world = World::new().await;
    known(&world, &[1, 2]).await;
    world.store.take_hints(&[world.message(vec![changed(1)])]).await.unwrap();
    world.change("DELETE FROM due").await;
    let mut tx = world.store.begin("rows").await.unwrap();
    let taken = tx.note_delta_snapshots(world.connection.id, &[user(1), user(2)]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((taken.due, taken.unnotified), (2, 1));
    assert!(claim(&world).await.is_empty(), "not now: the row told");
    world.wait(world.store.timing().settle);
    let settled = claim(&world).await;
    assert_eq!(
        settled.iter().map(|due| (due.object, due.reason)).collect::<Vec<_>>(),
        [(user(1), DueReason::Settle), (user(2), DueReason::Settle)]
    );
}

#[tokio::test]
async fn a_groups_members_are_due_and_without_members_the_group_is() {
    let world = World::new().await;
    known(&world, &[1]).await;
    listed(&world).await;
    let member = |n, kind, removed| DeltaMember { id: user(n), kind, removed };
    let groups = [
        DeltaGroup {
            id: world.staff,
            removed: false,
            members: vec![member(1, DueKind::Unknown, true), member(2, DueKind::User, false)],
        },
        DeltaGroup { id: ObjectId(Uuid::from_u128(9)), removed: false, members: vec![member(3, DueKind::User, false)] },
    ];
    let mut tx = world.store.begin("rows").await.unwrap();
    let rows = tx.take_delta_groups(world.connection.id, &groups).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((rows.due, rows.out_of_scope), (2, 1));
    let told: Vec<_> = claim(&world).await.into_iter().map(|due| (due.object, due.kind, due.claim)).collect();
    assert_eq!(
        told,
        [(user(1), DueKind::User, Some(DueClaim::Removed)), (user(2), DueKind::User, Some(DueClaim::Added))]
    );

    world.change("DELETE FROM due").await;
    for removed in [false, true] {
        let gone = [DeltaGroup { id: world.staff, removed, members: vec![] }];
        let mut tx = world.store.begin("rows").await.unwrap();
        tx.take_delta_groups(world.connection.id, &gone).await.unwrap();
        tx.commit().await.unwrap();
    }
    let dues = claim(&world).await;
    assert_eq!((dues[0].object, dues[0].kind, dues[0].claim), (world.staff, DueKind::Group, Some(DueClaim::Deleted)));
}

/// G-08: a listing never overrides a read by id about access; the difference is read by id.
#[tokio::test]
async fn a_listing_that_differs_from_a_read_by_id_makes_the_person_due() {
    let world = World::new().await;
    known(&world, &[1]).await;
    let (ticket, read_at) = (world.store.draw_ticket().await.unwrap(), world.now());
    let shown = crate::world::profile(1, &crate::world::mail(1), false);
    let users = vec![(user(1), Some(shown.into()))];
    let page = ListedPage { group: world.staff, first_ticket: ticket, ticket, read_at, users, groups: vec![] };
    let mut tx = world.store.begin("page").await.unwrap();
    tx.mirror_listing(&world.connection, &page).await.unwrap();
    tx.commit().await.unwrap();
    let facet = world.person(1).await.user.profile;
    assert!(matches!(facet, lockstep_core::mirror::ProfileFacet::Present { source: Source::ById, .. }));
    let dues = claim(&world).await;
    assert_eq!((dues[0].object, dues[0].reason), (user(1), DueReason::LostRead));
}

#[tokio::test]
async fn relists_follow_at_five_and_fifteen_minutes_and_close_ones_join() {
    let world = World::new().await;
    let owe = async || {
        let mut tx = world.store.begin("listed").await.unwrap();
        tx.owe_relists(world.connection.id, Some(world.staff)).await.unwrap();
        tx.commit().await.unwrap();
    };
    let owed = async || world.number("SELECT count(*) FROM task WHERE kind = 'relist'").await;
    owe().await;
    assert_eq!(owed().await, 2);
    assert_eq!(world.store.next_due_at().await.unwrap(), Some(world.now() + Duration::from_secs(300)));
    world.wait(Duration::from_secs(30));
    owe().await;
    assert_eq!(owed().await, 2, "half a minute later the same relists will do");
    world.wait(Duration::from_secs(240));
    owe().await;
    assert_eq!(owed().await, 4);
}

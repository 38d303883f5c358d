//! The mirror obeys tickets, never the order of arrival (G-08, G-09).

use std::time::Duration;

use lockstep_core::mirror::{PersonRead, ProfileFacet, ProfileFound, ProfileRead, Source};
use lockstep_core::{ObjectId, Ticket};
use lockstep_store::{KnownAccess, KnownProfile, ListedPage, MirroredGroup, People};
use proptest::prelude::*;
use uuid::Uuid;

use crate::world::{World, mail, profile, read_at, rule, user};

async fn mirrored(world: &World, read: PersonRead) {
    let mut tx = world.store.begin("mirror").await.unwrap();
    tx.mirror(&world.connection, &[read]).await.unwrap();
    tx.commit().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// G-08: whatever the order of arrival, the read that began last is what the mirror holds.
    #[test]
    fn g_08_an_older_ticket_never_overwrites_a_newer(order in Just((1..=6_i64).collect::<Vec<_>>()).prop_shuffle()) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let world = World::new().await;
            for ticket in order {
                let groups = if ticket % 2 == 0 { vec![world.staff] } else { vec![] };
                let read = read_at(Ticket(ticket), world.now(), 1, &mail(ticket as u128), ticket % 3 == 0, &groups);
                mirrored(&world, read).await;
            }
            let person = world.person(1).await;
            prop_assert_eq!(person.user.profile.ticket(), Some(Ticket(6)));
            let newest = mail(6);
            prop_assert_eq!(person.user.profile.present().unwrap().mail(), Some(newest.as_str()));
            prop_assert!(person.user.membership.is_present(world.staff));
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_losing_read_that_differs_is_reported() {
    let world = World::new().await;
    mirrored(&world, read_at(Ticket(5), world.now(), 1, &mail(1), true, &[world.staff])).await;
    let mut tx = world.store.begin("mirror").await.unwrap();
    let late = read_at(Ticket(4), world.now(), 1, &mail(1), false, &[]);
    let people = tx.mirror(&world.connection, &[late]).await.unwrap();
    assert!(people[0].merged.lost_and_differs);
}

#[tokio::test]
async fn people_come_back_in_the_order_of_the_reads() {
    let world = World::new().await;
    let mut reads = Vec::new();
    for n in [3, 1, 2] {
        reads.push(world.read(n, &mail(n), true, &[world.staff]).await);
    }
    let mut tx = world.store.begin("mirror").await.unwrap();
    let people = tx.mirror(&world.connection, &reads).await.unwrap();
    assert_eq!(people.iter().map(|person| person.user.id).collect::<Vec<_>>(), [user(3), user(1), user(2)]);
    assert!(people.iter().all(|person| person.user.fresh.profile && person.user.fresh.membership));
}

#[tokio::test]
async fn what_is_read_is_what_is_loaded() {
    let world = World::new().await;
    let read = world.read(1, &mail(1), true, &[world.staff]).await;
    let mut tx = world.store.begin("mirror").await.unwrap();
    let mut written = tx.mirror(&world.connection, &[read]).await.unwrap().remove(0);
    tx.commit().await.unwrap();
    written.user.fresh = Default::default();
    assert_eq!(world.person(1).await.user, written.user);
}

#[tokio::test]
async fn a_404_keeps_its_first_time_and_the_last_profile() {
    let world = World::new().await;
    mirrored(&world, world.read(1, &mail(1), true, &[world.staff]).await).await;
    let gone = |ticket, at| PersonRead {
        user: user(1),
        profile: Some(ProfileRead {
            ticket,
            read_at: at,
            source: Source::ById,
            found: ProfileFound::Missing { in_deleted_items: false },
        }),
        membership: None,
    };
    let first = world.now();
    mirrored(&world, gone(world.store.draw_ticket().await.unwrap(), first)).await;
    world.wait(Duration::from_secs(120));
    mirrored(&world, gone(world.store.draw_ticket().await.unwrap(), world.now())).await;
    let person = world.person(1).await;
    let ProfileFacet::Missing { first_at, read_at, last, .. } = person.user.profile else { panic!("missing") };
    assert_eq!((first_at, read_at), (first, world.now()));
    assert_eq!(last.unwrap().mail(), Some(mail(1).as_str()));
}

#[tokio::test]
async fn th_08_an_id_that_nobody_knows_leaves_no_trace() {
    let world = World::new().await;
    let ticket = world.store.draw_ticket().await.unwrap();
    let found = ProfileFound::Missing { in_deleted_items: false };
    let profile = Some(ProfileRead { ticket, read_at: world.now(), source: Source::ById, found });
    mirrored(&world, PersonRead { user: user(1), profile, membership: None }).await;
    assert_eq!(world.number("SELECT count(*) FROM directory_user").await, 0);
}

#[tokio::test]
async fn only_edges_to_groups_in_scope_are_kept() {
    let world = World::new().await;
    let club = ObjectId(Uuid::new_v4());
    mirrored(&world, world.read(1, &mail(1), true, &[world.staff, club]).await).await;
    assert_eq!(world.number("SELECT count(*) FROM membership").await, 1);
}

#[tokio::test]
async fn g_09_a_listing_gives_and_never_takes() {
    let world = World::new().await;
    mirrored(&world, world.read(1, &mail(1), true, &[world.staff]).await).await;
    let first_ticket = world.store.draw_ticket().await.unwrap();
    let nested = ObjectId(Uuid::new_v4());
    let page = ListedPage {
        group: world.staff,
        first_ticket,
        ticket: first_ticket,
        read_at: world.now(),
        users: vec![(user(2), Some(profile(2, &mail(2), true).into()))],
        groups: vec![nested],
    };
    let mut tx = world.store.begin("listing").await.unwrap();
    tx.mirror_listing(&world.connection, &page).await.unwrap();
    let missing = tx.missing_from_listing(&world.connection, world.staff, first_ticket).await.unwrap();
    let groups = tx.groups_in_scope(&world.connection).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(missing, [user(1)], "to be read by id");
    assert!(world.person(1).await.user.membership.is_present(world.staff));
    assert!(world.person(2).await.user.membership.is_present(world.staff));
    assert!(groups.iter().any(|group| group.id == nested));
}

/// T8: of somebody who is as they were only the time and the order of the read are written.
#[tokio::test]
async fn t8_a_look_at_somebody_who_is_as_they_were_writes_no_profile() {
    let world = World::new().await;
    mirrored(&world, world.read(1, &mail(1), true, &[world.staff]).await).await;
    // The same content in other letters: whoever writes it again writes it without the space.
    world.change("UPDATE directory_user SET profile = ' ' || profile").await;
    let as_was = async || world.number("SELECT count(*) FROM directory_user WHERE profile LIKE ' %'").await;
    world.wait(Duration::from_secs(60));
    let again = world.read(1, &mail(1), true, &[world.staff]).await;
    let (ticket, read_at) = again.profile.as_ref().map(|read| (read.ticket, read.read_at)).unwrap();
    mirrored(&world, again).await;
    let person = world.person(1).await;
    assert_eq!((person.user.profile.ticket(), person.user.profile.read_at()), (Some(ticket), Some(read_at)));
    assert_eq!(person.user.membership.complete.map(|read| read.read_at), Some(read_at));
    assert_eq!(as_was().await, 1);
    mirrored(&world, world.read(1, &mail(2), true, &[world.staff]).await).await;
    assert_eq!(as_was().await, 0, "another address is written");
}

/// T8: at the end of a full sync only those are left whom no page showed, or nobody decided.
#[tokio::test]
async fn t8_whoever_was_on_no_page_or_was_not_decided_is_left() {
    let world = World::new().await;
    let rules = world.store.rule_set(world.connection.id).await.unwrap().version;
    let reads = [world.read(1, &mail(1), true, &[world.staff]).await, world.read(2, &mail(2), true, &[]).await];
    world.sync(&reads).await.unwrap();
    let since = world.store.draw_ticket().await.unwrap();
    world.sync(&[world.read(3, &mail(3), true, &[world.staff]).await]).await.unwrap();
    mirrored(&world, world.read(4, &mail(4), true, &[world.staff]).await).await;
    let left = async |after| world.store.people_not_listed(world.connection.id, after, since, rules).await.unwrap();
    let found = left(None).await.unwrap();
    assert_eq!((found.people, found.last), (vec![user(1), user(2), user(4)], user(4)));
    assert_eq!(left(Some(user(2))).await.unwrap().people, [user(4)]);
    assert_eq!(left(Some(user(4))).await, None);
    let other_rules = world.store.people_not_listed(world.connection.id, None, since, rules + 1).await.unwrap();
    assert_eq!(other_rules.unwrap().people.len(), 4);
}

#[tokio::test]
async fn an_older_read_of_a_group_does_not_bring_it_back() {
    let world = World::new().await;
    let group = |present, ticket| MirroredGroup {
        id: world.staff,
        name: "Staff".to_owned(),
        created_at: None,
        present,
        ticket: Ticket(ticket),
        read_at: world.now(),
        listed_at: None,
        hidden: false,
    };
    let mut tx = world.store.begin("group").await.unwrap();
    tx.mirror_group(&world.connection, &group(false, 9)).await.unwrap();
    tx.mirror_group(&world.connection, &group(true, 8)).await.unwrap();
    tx.set_group_parents(&world.connection, user(1), &[world.staff, world.staff]).await.unwrap();
    let known = tx.groups_in_scope(&world.connection).await.unwrap();
    assert_eq!((known.len(), known[0].present), (1, false));
}

#[tokio::test]
async fn people_are_loaded_page_by_page_without_writing() {
    let mut world = World::new().await;
    for n in 0..5 {
        mirrored(&world, world.read(n, &mail(n), true, &[world.staff]).await).await;
    }
    world.set_rules(vec![rule(world.staff, 10, "staff"), rule(ObjectId(Uuid::new_v4()), 20, "other")]).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = world.store.load_people(&world.connection, People::After(after, 2)).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.user.id);
        seen.extend(page.iter().map(|person| person.user.id));
    }
    assert_eq!(seen, (0..5).map(user).collect::<Vec<_>>());
}

/// What decides how people are read says the same as what is loaded to decide about them.
#[tokio::test]
async fn people_are_known_in_brief_as_they_are_in_full() {
    let world = World::new().await;
    let mut reads =
        vec![world.read(1, &mail(1), true, &[world.staff]).await, world.read(2, &mail(2), false, &[]).await];
    for (n, source) in [(3, Source::Listing), (4, Source::ById)] {
        let mut read = world.read(n, &mail(n), true, &[world.staff]).await;
        read.membership.as_mut().unwrap().source = source;
        read.profile.as_mut().unwrap().source = source;
        reads.push(read);
    }
    world.sync(&reads).await.unwrap();
    let mut gone = world.read(4, &mail(4), true, &[]).await;
    gone.profile.as_mut().unwrap().found = ProfileFound::Missing { in_deleted_items: true };
    gone.membership = None;
    mirrored(&world, gone).await;
    let ids = [1, 2, 3, 4, 5].map(user);
    let known = world.store.known_people(world.connection.id, &ids).await.unwrap();
    let full = world.store.load_people(&world.connection, People::Ids(&ids)).await.unwrap();
    assert_eq!(known.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4].map(user));
    for person in full {
        let brief = known[&person.user.id];
        assert_eq!(brief.status, person.record.as_ref().map(|record| record.status));
        assert_eq!(brief.needs_membership(), person.user.needs_membership());
        match (brief.profile, &person.user.profile) {
            (KnownProfile::Present(access), ProfileFacet::Present { profile, .. }) => {
                let KnownAccess { account_enabled, user_type, invitation } = access;
                assert_eq!(account_enabled, profile.account_enabled);
                assert_eq!((user_type, invitation), (profile.user_type, profile.invitation));
            }
            (KnownProfile::Missing, ProfileFacet::Missing { .. }) => assert_eq!(person.user.id, user(4)),
            (brief, full) => panic!("{brief:?} of {full:?}"),
        }
    }
}

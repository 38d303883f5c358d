//! How reads meet the mirror: G-08, G-09; "a row may serve as a profile snapshot that refreshes fields, never one that
//! gives back or takes access".

use lockstep_core::Ticket;
use lockstep_core::mirror::{
    Edge, MembershipRead, Merged, MirroredUser, PersonRead, ProfileFacet, ProfileFound, ProfileRead, Source,
};
use lockstep_core::profile::{Invitation, UserType};
use serde_json::{Value, json};

use crate::world::*;

fn profile_read(ticket: i64, source: Source, changes: Value) -> PersonRead {
    let found = ProfileFound::Present(profile(changes).into());
    let read = ProfileRead { ticket: Ticket(ticket), read_at: seconds(ticket), source, found };
    PersonRead { user: ada(), profile: Some(read), membership: None }
}

fn missing_read(ticket: i64, in_deleted_items: bool) -> PersonRead {
    let found = ProfileFound::Missing { in_deleted_items };
    let read = ProfileRead { ticket: Ticket(ticket), read_at: seconds(ticket), source: Source::ById, found };
    PersonRead { user: ada(), profile: Some(read), membership: None }
}

fn membership_read(ticket: i64, source: Source, in_groups: &[(u128, Option<bool>)]) -> PersonRead {
    let read = MembershipRead { ticket: Ticket(ticket), read_at: seconds(ticket), source, groups: groups(in_groups) };
    PersonRead { user: ada(), profile: None, membership: Some(read) }
}

fn user(reads: &[PersonRead]) -> (MirroredUser, Merged) {
    let mut user = MirroredUser::unknown(ada());
    let mut last = Merged::default();
    for read in reads {
        last = user.merge(read);
    }
    (user, last)
}

fn title(user: &MirroredUser) -> Option<&str> {
    user.profile.present().and_then(|profile| profile.text("jobTitle"))
}

#[test]
fn g08_a_read_that_began_earlier_loses_and_is_read_again_if_it_differs() {
    let new = profile_read(2, Source::ById, json!({"jobTitle": "New"}));
    let (mirrored, merged) = user(&[new.clone(), profile_read(1, Source::ById, json!({"jobTitle": "Old"}))]);
    assert_eq!(title(&mirrored), Some("New"));
    assert_eq!(merged, Merged { lost_and_differs: true, ..Merged::default() });

    let (_, merged) = user(&[new.clone(), profile_read(1, Source::ById, json!({"jobTitle": "New"}))]);
    assert!(!merged.lost_and_differs, "the same words are no news");
    let (_, merged) = user(&[new.clone(), new]);
    assert!(!merged.lost_and_differs, "G-14: the same read twice");
}

#[test]
fn a_listing_refreshes_fields_and_keeps_what_it_does_not_mention() {
    let mut sparse = user_json(json!({"jobTitle": "Lead"}));
    sparse.retain(|name, _| ["id", "jobTitle"].contains(&name.as_str()));
    let sparse = lockstep_core::profile::Profile::from_graph(None, sparse).expect("a user");
    let mut row = profile_read(2, Source::Listing, json!({}));
    row.profile.as_mut().expect("read").found = ProfileFound::Present(sparse.into());

    let (mirrored, merged) = user(&[profile_read(1, Source::ById, json!({})), row]);
    assert_eq!(title(&mirrored), Some("Lead"));
    assert!(merged.profile_applied && !merged.lost_and_differs);
    let profile = mirrored.profile.present().expect("present");
    assert_eq!((profile.account_enabled, profile.mail()), (Some(true), Some("Ada@fabrikam.example")));
    let ProfileFacet::Present { source, ticket, .. } = mirrored.profile else { panic!("present") };
    assert_eq!((source, ticket), (Source::ById, Ticket(2)));
}

fn access(user: &MirroredUser) -> Option<(Option<bool>, Option<UserType>, Option<Invitation>)> {
    let profile = user.profile.present()?;
    Some((profile.account_enabled, profile.user_type, profile.invitation))
}

#[test]
fn a_listing_never_speaks_about_access_over_a_read_by_id() {
    let by_id = [
        profile_read(1, Source::ById, json!({})),
        profile_read(1, Source::ById, json!({"accountEnabled": false})),
        profile_read(1, Source::ById, json!({"userType": "Guest", "externalUserState": "PendingAcceptance"})),
    ];
    let listed = [
        json!({"accountEnabled": false}),
        json!({"accountEnabled": null}),
        json!({"accountEnabled": true, "userType": "Guest"}),
        json!({"accountEnabled": true, "externalUserState": "Accepted"}),
    ];
    for first in &by_id {
        for changes in &listed {
            let listing = profile_read(2, Source::Listing, changes.clone());
            let (before, _) = user(std::slice::from_ref(first));
            let (listed, _) = user(std::slice::from_ref(&listing));
            let (after, merged) = user(&[first.clone(), listing]);
            assert_eq!(access(&after), access(&before));
            assert_eq!(merged.lost_and_differs, access(&listed) != access(&before), "{changes}");
        }
    }
}

#[test]
fn a_listing_never_brings_a_missing_user_back() {
    let (mirrored, merged) = user(&[missing_read(1, true), profile_read(2, Source::Listing, json!({}))]);
    assert!(matches!(mirrored.profile, ProfileFacet::Missing { .. }));
    assert!(merged.lost_and_differs);
    let (mirrored, merged) = user(&[missing_read(1, true), profile_read(2, Source::ById, json!({}))]);
    assert!(mirrored.profile.present().is_some());
    assert!(merged.returned, "the membership must be read too");
}

#[test]
fn a_row_of_404s_keeps_its_first_and_the_last_profile() {
    let (mirrored, _) =
        user(&[profile_read(1, Source::ById, json!({})), missing_read(5, false), missing_read(9, true)]);
    let ProfileFacet::Missing { read_at, first_at, in_deleted_items, last, .. } = mirrored.profile else {
        panic!("missing")
    };
    assert_eq!((first_at, read_at, in_deleted_items), (seconds(5), seconds(9), true));
    assert!(last.is_some());
}

#[test]
fn a_late_answer_that_showed_the_user_breaks_the_row() {
    let (mirrored, merged) =
        user(&[missing_read(1, false), missing_read(9, false), profile_read(5, Source::ById, json!({}))]);
    let ProfileFacet::Missing { first_at, .. } = mirrored.profile else { panic!("missing") };
    assert_eq!(first_at, seconds(9));
    assert!(merged.lost_and_differs);
}

#[test]
fn a_complete_read_takes_older_edges_and_leaves_newer_ones() {
    let (mirrored, _) = user(&[
        membership_read(1, Source::ById, &[(STAFF, Some(true)), (ADMINS, Some(true))]),
        membership_read(5, Source::Listing, &[(ADMINS, None)]),
        membership_read(3, Source::ById, &[]),
    ]);
    assert!(!mirrored.membership.is_present(object(STAFF)));
    assert!(mirrored.membership.is_present(object(ADMINS)));
    assert_eq!(mirrored.membership.complete.map(|floor| floor.ticket), Some(Ticket(3)));
}

#[test]
fn g09_a_listing_gives_and_never_takes() {
    let (mirrored, merged) = user(&[
        membership_read(1, Source::ById, &[(STAFF, Some(true))]),
        membership_read(2, Source::Listing, &[]),
        membership_read(3, Source::Listing, &[(ADMINS, None)]),
    ]);
    assert!(mirrored.membership.is_present(object(STAFF)) && mirrored.membership.is_present(object(ADMINS)));
    assert!(merged.membership_applied);
}

#[test]
fn a_listing_older_than_the_complete_read_loses_edge_by_edge() {
    let complete = membership_read(5, Source::ById, &[(STAFF, Some(true))]);
    let (mirrored, merged) = user(&[complete.clone(), membership_read(3, Source::Listing, &[(ADMINS, None)])]);
    assert!(!mirrored.membership.is_present(object(ADMINS)));
    assert!(merged.lost_and_differs);
    let (_, merged) = user(&[complete, membership_read(3, Source::Listing, &[(STAFF, None)])]);
    assert!(!merged.lost_and_differs);
}

#[test]
fn direct_membership_is_told_by_the_newest_complete_read() {
    let (mirrored, _) = user(&[
        membership_read(1, Source::ById, &[(STAFF, Some(true))]),
        membership_read(2, Source::Listing, &[(STAFF, None)]),
    ]);
    let edge = Edge { ticket: Ticket(2), direct: Some(true), present: true };
    assert_eq!(mirrored.membership.edges[&object(STAFF)], edge);
}

#[test]
fn whoever_is_not_known_or_known_as_deleted_needs_the_membership_too() {
    assert!(MirroredUser::unknown(ada()).needs_membership());
    let in_staff = membership_read(1, Source::Listing, &[(STAFF, None)]);
    let (mirrored, _) = user(&[in_staff.clone(), profile_read(2, Source::ById, json!({}))]);
    assert!(!mirrored.needs_membership());
    let (mirrored, _) = user(&[in_staff, missing_read(2, true)]);
    assert!(mirrored.needs_membership());
    let (mirrored, _) = user(&[membership_read(1, Source::ById, &[])]);
    assert!(!mirrored.needs_membership(), "an empty list is known");
}

#[test]
fn t8_a_listing_that_says_nothing_new_leaves_the_profile_as_it_is() {
    let (mut mirrored, _) = user(&[profile_read(1, Source::ById, json!({"jobTitle": "Lead"}))]);
    let shared = |user: &MirroredUser| match &user.profile {
        ProfileFacet::Present { profile, .. } => std::sync::Arc::clone(profile),
        other => panic!("{other:?}"),
    };
    let known = shared(&mirrored);
    mirrored.merge(&profile_read(2, Source::Listing, json!({"jobTitle": "Lead"})));
    assert!(std::sync::Arc::ptr_eq(&known, &shared(&mirrored)));
    assert_eq!(mirrored.profile.ticket(), Some(Ticket(2)), "it was looked at all the same");
    mirrored.merge(&profile_read(3, Source::Listing, json!({"jobTitle": "Head"})));
    assert_eq!((title(&mirrored), known.text("jobTitle")), (Some("Head"), Some("Lead")));
}

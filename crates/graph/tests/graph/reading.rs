//! Reads by id: people, their groups, kinds, addresses.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::ObjectId;
use lockstep_graph::{GroupRead, Memberships, MembershipsRead, ObjectKind, UserRead};
use lockstep_simulator::NewGroup;
use serde_json::json;
use uuid::Uuid;

use crate::server::{Server, error, json};
use crate::stand::{Stand, client_of};

#[tokio::test]
async fn a_read_shows_everything_access_hangs_on() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    let UserRead::Present(profile) = stand.graph.read_user(ada).await.unwrap() else { panic!("she is there") };
    assert_eq!(profile.id, ada);
    assert_eq!(profile.account_enabled, Some(true), "selected, so not absent (BI-34)");
    assert_eq!(profile.mail().map(str::to_lowercase), Some(format!("ada.lovelace@{}", stand.tenant.domain())));
}

#[tokio::test]
async fn g10_a_soft_deleted_user_is_not_found_and_stands_in_deleted_items() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    assert!(!stand.graph.is_deleted_user(ada).await.unwrap());

    stand.tenant.delete_user(ada.0, false).unwrap();
    assert_eq!(stand.graph.read_user(ada).await.unwrap(), UserRead::NotFound);
    assert!(stand.graph.is_deleted_user(ada).await.unwrap());
    assert_eq!(stand.graph.list_deleted_users(None).await.unwrap().ids, [ada]);

    stand.tenant.delete_user(ada.0, true).unwrap();
    assert_eq!(stand.graph.read_user(ada).await.unwrap(), UserRead::NotFound);
    assert!(!stand.graph.is_deleted_user(ada).await.unwrap(), "purged, or of another tenant: not the same thing");
}

#[tokio::test]
async fn a_person_is_found_by_sign_in_name_however_it_is_spelled() {
    let stand = Stand::start().await;
    let guest =
        ObjectId(stand.tenant.create_user(lockstep_simulator::NewUser::guest("Grace Hopper", "grace@home.example")));
    let UserRead::Present(profile) = stand.graph.read_user(guest).await.unwrap() else { panic!("she is there") };
    let name = profile.user_principal_name().unwrap();
    assert!(name.contains('#'), "a guest's name must be encoded in a path: {name}");
    for spelled in [name.to_owned(), format!(" {} ", name.to_uppercase()), guest.to_string()] {
        let found = stand.graph.read_user_by_name(&spelled).await.unwrap();
        assert!(matches!(found, UserRead::Present(found) if found.id == guest), "{spelled}");
    }
    for nobody in ["nobody@contoso.example", "delta", "", "..", "../groups/x@y", "x@y/../../me?$select=id#"] {
        assert_eq!(stand.graph.read_user_by_name(nobody).await.unwrap(), UserRead::NotFound, "{nobody}");
    }
}

#[tokio::test]
async fn memberships_tell_direct_from_nested() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    let group = |name: &str| stand.tenant.create_group(NewGroup::named(name));
    let (inner, outer, other) = (group("Inner"), group("Outer"), group("Other"));
    stand.tenant.add_member(outer, inner).unwrap();
    stand.tenant.add_member(inner, outer).unwrap();
    stand.tenant.add_member(inner, ada.0).unwrap();
    stand.tenant.add_member(other, ada.0).unwrap();

    let ids = |ids: &[Uuid]| ids.iter().copied().map(ObjectId).collect::<BTreeSet<_>>();
    let both = Memberships { transitive: ids(&[inner, outer, other]), direct: Some(ids(&[inner, other])) };
    assert_eq!(stand.graph.read_memberships(ada, true).await.unwrap(), MembershipsRead::Present(both.clone()));
    let transitive = Memberships { direct: None, ..both };
    assert_eq!(stand.graph.read_memberships(ada, false).await.unwrap(), MembershipsRead::Present(transitive));
}

#[tokio::test]
async fn g10_no_groups_is_evidence_and_no_user_is_not() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    let none = Memberships { transitive: BTreeSet::new(), direct: None };
    assert_eq!(stand.graph.read_memberships(ada, false).await.unwrap(), MembershipsRead::Present(none));
    let nobody = ObjectId(Uuid::from_u128(7));
    assert_eq!(stand.graph.read_memberships(nobody, true).await.unwrap(), MembershipsRead::NotFound);
}

#[tokio::test]
async fn a_groups_parents_are_groups_only() {
    let server = Server::start(|request| {
        match request.line.contains("/v1.0/groups/00000000-0000-0000-0000-000000000007/memberOf?") {
            true => json(
                r##"{"value":[
            {"@odata.type":"#microsoft.graph.directoryRole","id":"d5e6f7a8-1b2c-4d3e-8f90-a1b2c3d4e5f1"},
            {"@odata.type":"#microsoft.graph.group","id":"d5e6f7a8-1b2c-4d3e-8f90-a1b2c3d4e5f2"}]}"##,
            ),
            false => error(404, "Request_ResourceNotFound", "x"),
        }
    })
    .await;
    let graph = client_of(&server.base);
    let parents = graph.group_parents(ObjectId(Uuid::from_u128(7))).await.unwrap();
    assert_eq!(parents, Some(vec!["d5e6f7a8-1b2c-4d3e-8f90-a1b2c3d4e5f2".parse().unwrap()]));
    assert_eq!(graph.group_parents(ObjectId(Uuid::from_u128(8))).await.unwrap(), None);
}

#[tokio::test]
async fn a_membership_of_1200_groups_is_read_whole() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    for number in 0..1200 {
        let group = stand.tenant.create_group(NewGroup::named(&format!("Group {number}")));
        stand.tenant.add_member(group, ada.0).unwrap();
    }
    let MembershipsRead::Present(found) = stand.graph.read_memberships(ada, true).await.unwrap() else { panic!() };
    assert_eq!((found.transitive.len(), found.direct.map(|direct| direct.len())), (1200, Some(1200)));
    assert_eq!(stand.graph.requests_sent(), 4, "two pages each");
}

#[tokio::test]
async fn an_id_of_unknown_kind_is_resolved_and_never_read_as_gone() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    let staff = ObjectId(stand.tenant.create_group(NewGroup::named("Staff")));
    let nobody = ObjectId(Uuid::from_u128(7));
    let kinds = stand.graph.resolve_kinds(&[ada, staff, nobody]).await.unwrap();
    assert_eq!(kinds, BTreeMap::from([(ada, ObjectKind::User), (staff, ObjectKind::Group)]));
}

#[tokio::test]
async fn a_group_is_read_by_id_and_found_by_name() {
    let stand = Stand::start().await;
    let created = 1_700_000_000_000_000;
    let group = |name: &str| NewGroup { created: Some(created), ..NewGroup::named(name) };
    let staff = ObjectId(stand.tenant.create_group(group("R&D's 'staff' + co")));
    let twin = ObjectId(stand.tenant.create_group(group("R&D's 'staff' + co")));
    stand.tenant.create_group(group("Staff"));

    let GroupRead::Present(read) = stand.graph.read_group(staff).await.unwrap() else { panic!("it is there") };
    assert_eq!(read.display_name, "R&D's 'staff' + co");
    assert_eq!(read.created_at.map(|at| at.micros()), Some(created), "ties between rules need it (M2)");
    assert_eq!(read.security_enabled, Some(true));
    let found = stand.graph.lookup_groups_by_name("R&D's 'staff' + co").await.unwrap();
    let found: BTreeSet<ObjectId> = found.into_iter().map(|group| group.id).collect();
    assert_eq!(found, BTreeSet::from([staff, twin]));

    stand.tenant.delete_group(staff.0, false).unwrap();
    assert_eq!(stand.graph.read_group(staff).await.unwrap(), GroupRead::NotFound);
}

#[tokio::test]
async fn th09_graph_knows_every_owner_of_an_address() {
    let stand = Stand::start().await;
    let domain = stand.tenant.domain();
    let (ada, grace, miles) = (stand.person("Ada"), stand.person("Grace"), stand.person("Miles"));
    let shared = format!("office@{domain}");
    let quoted = format!("miles.o'brien+x&y@{domain}");
    stand.tenant.patch_user(ada.0, json!({ "mail": shared })).unwrap();
    stand.tenant.patch_user(grace.0, json!({ "proxyAddresses": [format!("smtp:{shared}")] })).unwrap();
    stand.tenant.patch_user(miles.0, json!({ "mail": quoted })).unwrap();
    let upn = format!("grace@{domain}");
    let nobody = format!("nobody' or mail ne '@{domain}");

    let asked = [shared.clone(), quoted.clone(), upn.clone(), nobody.clone()];
    let owners = stand.graph.address_owners(&asked).await.unwrap();
    assert_eq!(owners[&shared], BTreeSet::from([ada, grace]));
    assert_eq!(owners[&quoted], BTreeSet::from([miles]));
    assert_eq!(owners[&upn], BTreeSet::from([grace]));
    assert_eq!(owners[&nobody], BTreeSet::new(), "a quote opens no filter");
    assert_eq!(stand.graph.requests_sent(), 1);
}

#[tokio::test]
async fn th09_45_addresses_are_three_requests() {
    let stand = Stand::start().await;
    let people: Vec<ObjectId> = (0..45).map(|number| stand.person(&format!("Person {number}"))).collect();
    let addresses: Vec<String> = (0..45).map(|number| format!("person.{number}@{}", stand.tenant.domain())).collect();
    let owners = stand.graph.address_owners(&addresses).await.unwrap();
    for (person, address) in people.iter().zip(&addresses) {
        assert_eq!(owners[address], BTreeSet::from([*person]));
    }
    assert_eq!(stand.graph.requests_sent(), 3);
}

//! Listings: page by page, in full or not at all.

use std::collections::BTreeSet;

use lockstep_core::ObjectId;
use lockstep_graph::{GraphError, LinkFault, MembersRead, PageLink};
use lockstep_simulator::NewGroup;
use uuid::Uuid;

use crate::server::{Server, json};
use crate::stand::{Stand, client_of};

#[tokio::test]
async fn g09_2500_members_come_in_three_pages_that_survive_a_checkpoint() {
    let stand = Stand::start().await;
    let staff = stand.tenant.create_group(NewGroup::named("Staff"));
    let inner = stand.tenant.create_group(NewGroup::named("Inner"));
    stand.tenant.add_member(staff, inner).unwrap();
    let people: BTreeSet<ObjectId> = (0..2500).map(|number| stand.person(&format!("Person {number}"))).collect();
    for (place, person) in people.iter().enumerate() {
        let group = if place % 2 == 0 { staff } else { inner };
        stand.tenant.add_member(group, person.0).unwrap();
    }

    let (mut users, mut groups, mut pages, mut link) = (BTreeSet::new(), Vec::new(), 0, None::<PageLink>);
    loop {
        let read = stand.graph.list_transitive_members(ObjectId(staff), link.as_ref()).await.unwrap();
        let MembersRead::Page(page) = read else { panic!("the group is there") };
        assert_eq!(page.refused, 0);
        for (id, profile) in page.users {
            assert_eq!(profile.expect("the listing shows profiles").account_enabled, Some(true));
            assert!(users.insert(id), "once each");
        }
        groups.extend(page.groups);
        pages += 1;
        let Some(next) = page.next else { break };
        let checkpoint = serde_json::to_string(&next).unwrap();
        let text: String = serde_json::from_str(&checkpoint).unwrap();
        link = Some(PageLink::load(&text, stand.graph.endpoints()).unwrap());
    }
    assert_eq!(pages, 3);
    assert_eq!(users, people);
    assert_eq!(groups, [ObjectId(inner)]);
}

#[tokio::test]
async fn g09_a_group_that_is_not_there_says_nothing_about_people() {
    let stand = Stand::start().await;
    let read = stand.graph.list_transitive_members(ObjectId(Uuid::from_u128(7)), None).await.unwrap();
    assert!(matches!(read, MembersRead::NotFound));
}

#[tokio::test]
async fn bi33_a_bad_member_is_counted_and_spoils_no_other() {
    let server = Server::start(|_| {
        json(
            r##"{"value":[
            {"@odata.type":"#microsoft.graph.user","id":"3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c01","accountEnabled":true,"userPrincipalName":"a@b.example"},
            {"@odata.type":"#microsoft.graph.user","id":"3A9B6C1D-5E2F-4A7B-8C9D-0E1F2A3B4C02","displayName":"only a card"},
            {"@odata.type":"#microsoft.graph.user","id":"not-a-guid","accountEnabled":true,"userPrincipalName":"a@b.example"},
            {"@odata.type":"#microsoft.graph.user","accountEnabled":true},
            {"id":"3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c03"},
            "text", null,
            {"@odata.type":"#microsoft.graph.device","id":"anything"},
            {"@odata.type":"#Microsoft.Graph.Group","id":"d5e6f7a8-1b2c-4d3e-8f90-a1b2c3d4e5f2"}]}"##,
        )
    })
    .await;
    let read = client_of(&server.base).list_transitive_members(ObjectId(Uuid::from_u128(7)), None).await.unwrap();
    let MembersRead::Page(page) = read else { panic!("a page") };
    assert_eq!(page.refused, 5);
    assert_eq!(page.groups.len(), 1);
    let shown: Vec<bool> = page.users.iter().map(|(_, profile)| profile.is_some()).collect();
    assert_eq!(shown, [true, false], "a name card is not a profile (BI-34)");
}

#[tokio::test]
async fn bi30_a_link_to_another_host_is_refused_and_the_token_stays() {
    let thief = Server::start(|_| json(r#"{"value":[]}"#)).await;
    let link = format!("{}/v1.0/users", thief.base);
    let body = format!(r#"{{"value":[],"@odata.nextLink":"{link}"}}"#);
    let server = Server::start(move |_| json(&body)).await;
    let graph = client_of(&server.base);
    let someone = ObjectId(Uuid::from_u128(7));

    let refused = graph.list_transitive_members(someone, None).await.unwrap_err();
    let call = "GET /groups/{id}/transitiveMembers";
    assert_eq!(refused, GraphError::LinkRefused { call, fault: LinkFault::Port });
    assert!(matches!(graph.read_memberships(someone, false).await, Err(GraphError::LinkRefused { .. })));

    let planted: PageLink = serde_json::from_value(link.into()).unwrap();
    let refused = graph.list_transitive_members(someone, Some(&planted)).await.unwrap_err();
    assert_eq!(refused, GraphError::LinkRefused { call, fault: LinkFault::Port });
    assert!(thief.graph_requests().is_empty());
}

#[tokio::test]
async fn bi31_a_circle_of_links_is_left_and_an_empty_page_is_not_the_end() {
    let server = Server::start(|request| {
        let host = request.head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        let next = match () {
            () if request.line.contains("token=1") => "2",
            () => "1",
        };
        let link = format!("http://{host}/v1.0/users/x/transitiveMemberOf?$skiptoken=token={next}");
        json(&format!(r#"{{"value":[],"@odata.nextLink":"{link}"}}"#))
    })
    .await;
    let refused = client_of(&server.base).read_memberships(ObjectId(Uuid::from_u128(7)), false).await.unwrap_err();
    let call = "GET /users/{id}/transitiveMemberOf";
    assert_eq!(refused, GraphError::LinkRefused { call, fault: LinkFault::Repeats });
    assert_eq!(server.graph_requests().len(), 3, "first page, two links, then the first link again");
}

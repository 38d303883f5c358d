//! Many people at once: few requests (T5), and each answer for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_core::ObjectId;
use lockstep_graph::{BY_ID_PER_BATCH, EachUser, GraphError, IDS_PER_BATCH, MembershipsRead, UserRead, UserSight};
use lockstep_simulator::NewGroup;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Seen, Server, json as answer};
use crate::stand::{Stand, client_of};

/// People in the order of their ids, which is the order of the requests in a batch.
fn somebody(number: u128) -> ObjectId {
    ObjectId(Uuid::from_u128(0x3a9b_6c1d_5e2f_4a7b_8c9d_0000_0000_0000 + number))
}

fn people(count: u128) -> Vec<ObjectId> {
    (0..count).map(somebody).collect()
}

/// A batch's answer of these parts, each with the id of its place.
fn batch_of(parts: &[Value]) -> Vec<u8> {
    let responses: Vec<Value> = parts
        .iter()
        .enumerate()
        .map(|(place, part)| {
            let mut part = part.clone();
            part["id"] = json!(place.to_string());
            part
        })
        .rev()
        .collect();
    answer(&json!({ "responses": responses }).to_string())
}

fn listed(id: ObjectId) -> Value {
    json!({"id": id, "accountEnabled": true, "userPrincipalName": "a@b.example"})
}

fn throttled(seconds: &str) -> Value {
    json!({"status": 429, "headers": {"retry-after": seconds}, "body": {"error": {"code": "TooManyRequests"}}})
}

fn asked_in(request: &Seen) -> Vec<String> {
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let requests = body["requests"].as_array().unwrap();
    requests.iter().map(|request| request["url"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn t5_three_hundred_people_are_one_request_and_twenty_units() {
    let stand = Stand::start().await;
    let people: Vec<ObjectId> = (0..IDS_PER_BATCH).map(|number| stand.person(&format!("Person {number}"))).collect();
    stand.simulator.reset_counters();
    let twice = people.iter().chain(&people).copied().collect::<Vec<_>>();

    let sights = stand.graph.read_users(&twice, false).await.unwrap();
    assert_eq!(sights.len(), IDS_PER_BATCH);
    for (id, sight) in sights {
        let Ok(UserSight::Listed(profile)) = sight else { panic!("{id} is there: {sight:?}") };
        assert_eq!((profile.id, profile.account_enabled), (id, Some(true)));
    }
    assert_eq!(stand.graph.requests_sent(), 1);
    let units = stand.simulator.counters().total_units;
    assert!(units * 100 <= 7 * IDS_PER_BATCH as u64, "{units} units");
}

/// By id the manager is free, in a filtered read it is asked for or nothing is said of it (T5).
#[tokio::test]
async fn m4_a_manager_comes_with_reads_that_ask_for_one() {
    let stand = Stand::start().await;
    let (ada, grace) = (stand.person("Ada Lovelace"), stand.person("Grace Hopper"));
    stand.tenant.set_manager(ada.0, Some(grace.0)).unwrap();
    let manager_of = |sight: &UserSight| match sight {
        UserSight::Listed(profile) | UserSight::ById(UserRead::Present(profile)) => {
            profile.properties.get("manager.displayName").cloned()
        }
        other => panic!("{other:?}"),
    };
    for (with_managers, of_ada, of_grace) in
        [(true, Some(json!("Grace Hopper")), Some(Value::Null)), (false, None, None)]
    {
        let sights = stand.graph.read_users(&[ada, grace], with_managers).await.unwrap();
        let found = [ada, grace].map(|user| manager_of(sights[&user].as_ref().unwrap()));
        assert_eq!(found, [of_ada, of_grace], "with managers: {with_managers}");
    }
    stand.simulator.reset_counters();
    let many = stand.graph.read_users_by_id(&[ada, grace]).await.unwrap();
    let UserRead::Present(alone) = stand.graph.read_user(ada).await.unwrap() else { panic!("she is there") };
    for profile in [&UserRead::Present(alone), many[&ada].as_ref().unwrap()] {
        let UserRead::Present(profile) = profile else { panic!("she is there") };
        assert_eq!(profile.text("manager.id"), Some(grace.to_string().as_str()));
    }
    assert_eq!(stand.simulator.counters().total_units, 3, "one for each read");

    stand.tenant.delete_user(grace.0, false).unwrap();
    let UserRead::Present(alone) = stand.graph.read_user(ada).await.unwrap() else { panic!("she is there") };
    assert_eq!(alone.properties["manager.id"], Value::Null, "a deleted manager is none");
}

#[tokio::test]
async fn g09_who_is_missing_in_a_filtered_answer_is_unseen_and_never_gone() {
    let stand = Stand::start().await;
    let (ada, grace) = (stand.person("Ada Lovelace"), stand.person("Grace Hopper"));
    stand.tenant.delete_user(grace.0, false).unwrap();
    let sights = stand.graph.read_users(&[ada, grace], false).await.unwrap();
    assert!(matches!(sights[&ada], Ok(UserSight::Listed(_))));
    assert_eq!(sights[&grace], Ok(UserSight::Unseen));

    let alone = stand.graph.read_users(&[grace], false).await.unwrap();
    assert_eq!(alone[&grace], Ok(UserSight::ById(UserRead::NotFound)), "by id it is evidence");
    assert!(stand.graph.read_users(&[], false).await.unwrap().is_empty());
    assert_eq!(stand.graph.requests_sent(), 2);
}

#[tokio::test]
async fn bi33_objects_that_are_nobodys_profile_leave_their_people_unseen() {
    let server = Server::start(|_| {
        let card = json!({"id": somebody(0), "displayName": "only a card"});
        let value = [card, listed(somebody(77)), json!({"id": "x"}), listed(somebody(2))];
        batch_of(&[json!({"status": 200, "body": {"value": value}})])
    })
    .await;
    let sights = client_of(&server.base).read_users(&people(3), false).await.unwrap();
    assert_eq!(sights.keys().copied().collect::<Vec<_>>(), people(3));
    assert_eq!((&sights[&somebody(0)], &sights[&somebody(1)]), (&Ok(UserSight::Unseen), &Ok(UserSight::Unseen)));
    assert!(matches!(sights[&somebody(2)], Ok(UserSight::Listed(_))));
    assert!(asked_in(&server.graph_requests()[0])[0].contains("$filter=id%20in%20%28%27"));
}

#[tokio::test]
async fn fa11_an_inner_429_holds_back_its_own_people_for_the_longest_wait() {
    let server = Server::start(|_| {
        let good = json!({"status": 200, "body": {"value": [listed(somebody(0))]}});
        batch_of(&[good, throttled("3"), throttled("7")])
    })
    .await;
    let graph = client_of(&server.base);
    let sights = graph.read_users(&people(45), false).await.unwrap();
    assert!(matches!(sights[&somebody(0)], Ok(UserSight::Listed(_))), "the others are kept");
    for number in 15..45 {
        let retry_after = Duration::from_secs(7);
        let Err(GraphError::Throttled { retry_after: told, .. }) = &sights[&somebody(number)] else {
            panic!("{number}")
        };
        assert_eq!(*told, retry_after);
    }
    assert!(matches!(graph.organization().await, Err(GraphError::Throttled { .. })), "the connection waits it out");
    assert_eq!(graph.requests_sent(), 1);
}

#[tokio::test]
async fn fa12_what_fails_inside_a_batch_fails_for_its_own_people() {
    let server = Server::start(|_| {
        let parts = [
            json!({"status": 200, "body": {"value": []}}),
            json!({"status": 503, "headers": {"Retry-After": 3}, "body": "<html>"}),
            json!({"status": 200, "body": "PGh0bWw+"}),
            json!({"status": 404, "body": "<html>"}),
            json!({"status": 404, "body": {"error": {"code": "Request_ResourceNotFound"}}}),
            json!({"status": 403, "body": {"error": {"code": "Authorization_RequestDenied"}}}),
            json!({"status": 401, "body": {"error": {"code": "InvalidAuthenticationToken"}}}),
            json!({"status": "200"}),
            json!({"status": 200, "body": {"value": ["x"]}}),
        ];
        batch_of(&parts)
    })
    .await;
    let graph = client_of(&server.base);
    let reads = graph.read_memberships_many(&people(10), false).await.unwrap();
    let of = |number| &reads[&somebody(number)];
    assert!(matches!(of(0), Ok(MembershipsRead::Present(found)) if found.transitive.is_empty()));
    let wait = Some(Duration::from_secs(3));
    assert!(matches!(of(1), Err(GraphError::ServerError { status: 503, retry_after, .. }) if *retry_after == wait));
    assert!(matches!(of(2), Err(GraphError::BadAnswer { .. })));
    assert!(matches!(of(3), Err(GraphError::BadAnswer { .. })), "not Graph's own words (G-09)");
    assert_eq!(*of(4), Ok(MembershipsRead::NotFound));
    assert!(matches!(of(5), Err(GraphError::PermissionMissing { permission: "GroupMember.Read.All", .. })));
    assert!(matches!(of(6), Err(GraphError::AccessTokenRejected { .. })));
    for left_out in [7, 8, 9] {
        assert!(matches!(of(left_out), Err(GraphError::BadAnswer { .. })), "{left_out}");
    }
}

#[tokio::test]
async fn bi32_an_answer_given_twice_is_none() {
    let server = Server::start(|_| {
        let part = |id: &str, value: Value| json!({"id": id, "status": 200, "body": {"value": value}});
        let responses = [part("0", json!([])), part("1", json!([])), part("0", json!([])), part("9", json!([]))];
        answer(&json!({ "responses": responses }).to_string())
    })
    .await;
    let reads = client_of(&server.base).read_memberships_many(&people(2), false).await.unwrap();
    assert!(matches!(reads[&somebody(0)], Err(GraphError::BadAnswer { .. })));
    assert!(reads[&somebody(1)].is_ok());
}

#[tokio::test]
async fn bi32_a_batch_that_is_none_fails_as_a_whole() {
    for body in ["", "[]", "{}", r#"{"responses":{}}"#] {
        let server = Server::start(move |_| answer(body)).await;
        let failed = client_of(&server.base).read_users(&people(2), false).await;
        assert!(matches!(failed, Err(GraphError::BadAnswer { call: "POST /$batch", .. })), "{body}");
    }
}

#[tokio::test]
async fn g10_memberships_of_many_are_those_of_each() {
    let stand = Stand::start().await;
    let (ada, grace, gone) = (stand.person("Ada Lovelace"), stand.person("Grace Hopper"), stand.person("Gone"));
    let (outer, inner) =
        (stand.tenant.create_group(NewGroup::named("Outer")), stand.tenant.create_group(NewGroup::named("Inner")));
    stand.tenant.add_member(outer, inner).unwrap();
    stand.tenant.add_member(inner, ada.0).unwrap();
    stand.tenant.delete_user(gone.0, false).unwrap();

    let mut each: EachUser<MembershipsRead> = BTreeMap::new();
    for user in [ada, grace, gone] {
        each.insert(user, stand.graph.read_memberships(user, true).await);
    }
    let sent = stand.graph.requests_sent();
    assert_eq!(stand.graph.read_memberships_many(&[ada, grace, gone], true).await.unwrap(), each);
    assert_eq!(stand.graph.requests_sent() - sent, 2, "transitive, then direct");

    let Ok(MembershipsRead::Present(found)) = &each[&ada] else { panic!("she is there") };
    assert_eq!(found.transitive, BTreeSet::from([ObjectId(outer), ObjectId(inner)]));
    assert_eq!(found.direct, Some(BTreeSet::from([ObjectId(inner)])));
    assert_eq!(each[&gone], Ok(MembershipsRead::NotFound));
}

#[tokio::test]
async fn g09_somebody_in_1200_groups_is_read_whole_among_others() {
    let stand = Stand::start().await;
    let (ada, grace) = (stand.person("Ada Lovelace"), stand.person("Grace Hopper"));
    for number in 0..1200 {
        let group = stand.tenant.create_group(NewGroup::named(&format!("Group {number}")));
        stand.tenant.add_member(group, ada.0).unwrap();
    }
    let reads = stand.graph.read_memberships_many(&[ada, grace], false).await.unwrap();
    assert!(matches!(&reads[&ada], Ok(MembershipsRead::Present(found)) if found.transitive.len() == 1200));
    assert!(matches!(&reads[&grace], Ok(MembershipsRead::Present(found)) if found.transitive.is_empty()));
    assert_eq!(stand.graph.requests_sent(), 2, "the batch, and her second page");
}

#[tokio::test]
async fn g09_memberships_whose_second_half_fails_are_an_error_and_no_part() {
    let server = Server::start(|request| match asked_in(request)[0].contains("transitiveMemberOf") {
        true => batch_of(&[json!({"status": 200, "body": {"value": []}}), throttled("1")]),
        false => batch_of(&[json!({"status": 500, "body": {}})]),
    })
    .await;
    let reads = client_of(&server.base).read_memberships_many(&people(2), true).await.unwrap();
    assert!(reads.values().all(|read| matches!(read, Err(GraphError::Throttled { .. }))), "{reads:?}");
    assert_eq!(server.graph_requests().len(), 1, "the pause holds for the second request too");
}

/// G-10: each part of the batch is the `GET /users/{id}` that access hangs on.
#[tokio::test]
async fn g10_many_are_read_by_id_at_once_and_each_as_if_alone() {
    let stand = Stand::start().await;
    let people: Vec<ObjectId> = (0..BY_ID_PER_BATCH).map(|number| stand.person(&format!("Person {number}"))).collect();
    stand.tenant.patch_user(people[3].0, json!({ "accountEnabled": false })).unwrap();
    stand.tenant.delete_user(people[4].0, false).unwrap();
    let reads = stand.graph.read_users_by_id(&people).await.unwrap();
    assert_eq!((stand.graph.requests_sent(), reads.len()), (1, BY_ID_PER_BATCH));
    assert_eq!(stand.simulator.counters().inner["GET /users/{id}"], BY_ID_PER_BATCH as u64);
    for (place, person) in people.iter().enumerate() {
        assert_eq!(reads[person], stand.graph.read_user(*person).await, "{place}");
    }
    let Ok(UserRead::Present(disabled)) = &reads[&people[3]] else { panic!("is there") };
    assert_eq!(disabled.account_enabled, Some(false));
    assert_eq!(reads[&people[4]], Ok(UserRead::NotFound));
}

/// FA-11, FA-12, BI-32, BI-33: whatever is wrong with one part stays with it.
#[tokio::test]
async fn bi33_another_person_in_a_batch_by_id_is_refused() {
    let server = Server::start(|_| {
        let parts = [
            json!({"status": 200, "body": listed(somebody(0))}),
            json!({"status": 200, "body": listed(somebody(9))}),
            json!({"status": 404, "body": "<html>"}),
            json!({"status": 500, "body": "<html>"}),
            throttled("5"),
        ];
        batch_of(&parts)
    })
    .await;
    let reads = client_of(&server.base).read_users_by_id(&people(6)).await.unwrap();
    let of = |number| &reads[&somebody(number)];
    assert!(matches!(of(0), Ok(UserRead::Present(_))));
    assert!(matches!(of(1), Err(GraphError::ObjectRefused { .. })));
    assert!(matches!(of(2), Err(GraphError::BadAnswer { .. })), "a stray 404 is no evidence (G-09)");
    assert!(matches!(of(3), Err(GraphError::ServerError { status: 500, .. })));
    let five = Duration::from_secs(5);
    assert!(matches!(of(4), Err(GraphError::Throttled { retry_after, .. }) if *retry_after == five));
    assert!(matches!(of(5), Err(GraphError::BadAnswer { .. })), "left out");
}

#[tokio::test]
async fn g10_many_are_looked_up_in_deleted_items_at_once() {
    let stand = Stand::start().await;
    let people: Vec<ObjectId> = (0..20).map(|number| stand.person(&format!("Person {number}"))).collect();
    for person in &people[..10] {
        stand.tenant.delete_user(person.0, false).unwrap();
    }
    let deleted = stand.graph.is_deleted_users_many(&people).await.unwrap();
    for (place, person) in people.iter().enumerate() {
        assert_eq!(deleted[person], Ok(place < 10));
    }
    assert_eq!(stand.graph.requests_sent(), 1);

    let another = Server::start(|_| batch_of(&[json!({"status": 200, "body": {"id": somebody(9)}})])).await;
    let deleted = client_of(&another.base).is_deleted_users_many(&[somebody(0)]).await.unwrap();
    assert!(matches!(deleted[&somebody(0)], Err(GraphError::ObjectRefused { .. })), "another object was answered");
}

#[tokio::test]
#[should_panic(expected = "301 people in a request for 300")]
async fn g08_more_people_than_one_request_holds_are_never_two_requests_behind_one_ticket() {
    let _ = client_of("http://127.0.0.1:9").read_users(&people(301), false).await;
}

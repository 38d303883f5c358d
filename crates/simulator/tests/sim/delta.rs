//! Delta queries (graph-contract.md, section 5).

use std::time::Duration;

use lockstep_simulator::{NewGroup, NewUser, SimClock};
use serde_json::{Value, json};

use crate::stage::{Stage, ids};

/// All rows of a round, and the link to the next.
async fn round(stage: &Stage, path: &str) -> (Vec<Value>, String) {
    let (mut next, mut rows) = (path.to_owned(), Vec::new());
    loop {
        let (status, page) = stage.get(&next).await;
        assert_eq!(status, 200, "{page}");
        rows.extend(page["value"].as_array().unwrap().iter().cloned());
        match (page["@odata.nextLink"].as_str(), page["@odata.deltaLink"].as_str()) {
            (Some(link), None) => next = link.to_owned(),
            (None, Some(link)) => return (rows, link.to_owned()),
            other => panic!("exactly one link per page, not {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_round_tells_what_changed_since_the_last_and_how_people_left() {
    let stage = Stage::set().await;
    let tenant = &stage.tenant;
    let [ada, kai, ines] =
        ["Ada Lovelace", "Kai Brandt", "Ines Okafor"].map(|name| tenant.create_user(NewUser::named(name)));
    let (first, link) = round(&stage, "users/delta?$select=displayName,accountEnabled").await;
    assert_eq!(first.len(), 3);

    tenant.patch_user(ada, json!({"accountEnabled": false})).unwrap();
    tenant.patch_user(ada, json!({"department": "Sales"})).unwrap();
    tenant.delete_user(kai, false).unwrap();
    tenant.delete_user(ines, true).unwrap();
    let (second, link) = round(&stage, &link).await;
    assert_eq!(
        second,
        [
            json!({"id": ada, "displayName": "Ada Lovelace", "accountEnabled": false}),
            json!({"id": kai, "@removed": {"reason": "changed"}}),
            json!({"id": ines, "@removed": {"reason": "deleted"}}),
        ]
    );

    tenant.restore_user(kai).unwrap();
    tenant.patch_user(ada, json!({"department": "Legal"})).unwrap();
    let (third, link) = round(&stage, &link).await;
    assert_eq!(ids(&third), [kai.to_string()], "an unselected property is not tracked");
    assert_eq!(round(&stage, &link).await.0, [] as [Value; 0]);
}

/// Of a manager a round tells no more than type and id, and only where it was selected.
#[tokio::test]
async fn a_round_tells_who_has_another_manager() {
    let stage = Stage::set().await;
    let tenant = &stage.tenant;
    let [ada, kai, ines] =
        ["Ada Lovelace", "Kai Brandt", "Ines Okafor"].map(|name| tenant.create_user(NewUser::named(name)));
    let (_, link) = round(&stage, "users/delta?$select=city,manager").await;
    let (_, blind) = round(&stage, "users/delta?$select=city").await;
    let row = |id: uuid::Uuid, removed: bool| {
        let mut row = json!({"@odata.type": "#microsoft.graph.user", "id": id});
        if removed {
            row["@removed"] = json!({"reason": "deleted"});
        }
        json!([{"id": ada, "manager@delta": [row]}])
    };
    tenant.set_manager(ada, Some(kai)).unwrap();
    tenant.set_manager(ada, Some(ines)).unwrap();
    let (second, link) = round(&stage, &link).await;
    assert_eq!(json!(second), row(ines, false));
    let (status, shown) = stage.get(&format!("users/{ada}?$select=id&$expand=manager($select=displayName)")).await;
    assert_eq!((status, &shown["manager"]["displayName"]), (200, &json!("Ines Okafor")));

    tenant.set_manager(ada, None).unwrap();
    let (third, link) = round(&stage, &link).await;
    assert_eq!(json!(third), row(ines, true));
    assert_eq!(stage.get(&format!("users/{ada}?$select=id&$expand=manager")).await.1.get("manager"), None);
    assert_eq!(round(&stage, &link).await.0, [] as [Value; 0]);
    assert_eq!(round(&stage, &blind).await.0, [] as [Value; 0]);
    assert_eq!(stage.get(&format!("users/{ada}?$expand=directReports")).await.0, 400);
}

#[tokio::test]
async fn latest_means_from_now_on() {
    let stage = Stage::set().await;
    stage.tenant.seed(10, 0, &[]);
    let (rows, link) = round(&stage, "users/delta()?$deltatoken=latest&$select=mail").await;
    assert_eq!(rows.len(), 0);
    let late = stage.tenant.create_user(NewUser::named("Late Comer"));
    let (rows, _) = round(&stage, &link).await;
    assert_eq!(rows, [json!({"id": late, "mail": "late.comer@contoso.example"})]);
}

#[tokio::test]
async fn a_large_group_is_split_over_pages_and_no_member_is_lost() {
    let stage = Stage::set().await;
    stage.sim.set_delta_page(10);
    let (people, groups) = stage.tenant.seed(37, 35, &["Staff"]);
    let empty = stage.tenant.create_group(NewGroup::named("Empty"));
    let (rows, link) = round(&stage, "groups/delta?$select=displayName,members").await;

    let members: Vec<Value> =
        rows.iter().filter_map(|row| row["members@delta"].as_array().cloned()).flatten().collect();
    let mut expected: Vec<String> = people[..35].iter().map(|id| id.to_string()).collect();
    expected.sort();
    assert_eq!(ids(&members), expected);
    assert!(rows.iter().filter(|row| row["id"] == json!(groups[0])).count() >= 4);
    let empty = rows.iter().find(|row| row["id"] == json!(empty)).unwrap();
    assert_eq!(empty.get("members@delta"), None);

    stage.tenant.remove_member(groups[0], people[0]).unwrap();
    stage.tenant.add_member(groups[0], people[36]).unwrap();
    let (rows, _) = round(&stage, &link).await;
    assert_eq!(rows.len(), 1);
    let mut members = rows[0]["members@delta"].as_array().unwrap().clone();
    members.sort_by_key(|row| row.get("@removed").is_some());
    assert_eq!(members[0], json!({"@odata.type": "#microsoft.graph.user", "id": people[36]}));
    assert_eq!(
        members[1],
        json!({"@odata.type": "#microsoft.graph.user", "id": people[0], "@removed": {"reason": "deleted"}})
    );
}

#[tokio::test]
async fn adding_a_user_to_a_group_is_no_change_of_the_user() {
    let stage = Stage::set().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let staff = stage.tenant.create_group(NewGroup::named("Staff"));
    let (_, users) = round(&stage, "users/delta").await;
    let (_, plain) = round(&stage, "groups/delta?$select=displayName").await;
    let (_, with_members) = round(&stage, "groups/delta").await;
    stage.tenant.add_member(staff, ada).unwrap();
    assert_eq!(round(&stage, &users).await.0.len(), 0);
    assert_eq!(round(&stage, &plain).await.0.len(), 0, "members must be selected");
    assert_eq!(round(&stage, &with_members).await.0.len(), 1);
}

#[tokio::test]
async fn what_changes_between_two_pages_is_told_in_the_next_round() {
    let stage = Stage::set().await;
    stage.sim.set_delta_page(5);
    let (people, _) = stage.tenant.seed(12, 0, &[]);
    let (_, page) = stage.get("users/delta?$select=displayName").await;
    let newcomer = stage.tenant.create_user(NewUser::named("New Comer"));
    stage.tenant.delete_user(people[0], false).unwrap();
    let (rest, link) = round(&stage, page["@odata.nextLink"].as_str().unwrap()).await;
    assert!(rest.len() >= 6);
    let (next, _) = round(&stage, &link).await;
    assert_eq!(ids(&next), [newcomer.to_string(), people[0].to_string()]);
}

#[tokio::test]
async fn a_minimal_round_shows_only_what_changed_and_nulls_as_null() {
    let stage = Stage::set().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let (_, link) = round(&stage, "users/delta").await;
    stage.tenant.patch_user(ada, json!({"mail": null})).unwrap();
    let minimal = stage.http.get(&link).header("Prefer", "return=minimal");
    let (_, page) = stage.send(minimal).await;
    assert_eq!(page["value"], json!([{"id": ada, "mail": null}]));
}

#[tokio::test]
async fn a_token_is_forgotten_after_seven_days() {
    let clock = SimClock::real();
    let mut stage = Stage::at(clock.clone()).await;
    let (_, link) = round(&stage, "users/delta").await;
    clock.advance(Duration::from_secs(6 * 24 * 3600));
    stage.renew_token().await;
    let (_, link_of_day_six) = round(&stage, &link).await;
    clock.advance(Duration::from_secs(2 * 24 * 3600));
    stage.renew_token().await;
    let (status, expired) = stage.get(&link).await;
    assert_eq!((status, expired["error"]["code"].as_str()), (410, Some("syncStateNotFound")));
    assert_eq!(stage.get(&link_of_day_six).await.0, 200);
}

#[tokio::test]
async fn a_round_can_be_narrowed_to_ids() {
    let stage = Stage::set().await;
    let (people, _) = stage.tenant.seed(3, 0, &[]);
    let path = format!("users/delta?$select=displayName&$filter=id eq '{}' or id eq '{}'", people[0], people[2]);
    let (rows, link) = round(&stage, &path).await;
    assert_eq!(rows.len(), 2);
    stage.tenant.patch_user(people[1], json!({"displayName": "Other"})).unwrap();
    stage.tenant.patch_user(people[2], json!({"displayName": "Wanted"})).unwrap();
    assert_eq!(round(&stage, &link).await.0, [json!({"id": people[2], "displayName": "Wanted"})]);
}

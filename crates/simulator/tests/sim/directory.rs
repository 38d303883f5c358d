//! Users, groups and memberships (graph-contract.md, section 6).

use std::time::Duration;

use lockstep_simulator::{NewGroup, NewUser, SimClock};
use serde_json::{Value, json};

use crate::stage::{Receiver, Stage, ids, until};

#[tokio::test]
async fn an_unselected_property_is_absent_and_an_unset_one_is_null() {
    let stage = Stage::set().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));

    let (_, by_default) = stage.get(&format!("users/{ada}")).await;
    assert_eq!(by_default["mail"], "ada.lovelace@contoso.example");
    assert_eq!(by_default.get("accountEnabled"), None);
    assert_eq!(by_default.get("userType"), None);

    let (_, selected) = stage.get(&format!("users/{ada}?$select=id,accountEnabled,employeeId,otherMails")).await;
    assert_eq!(selected["accountEnabled"], true);
    assert_eq!(selected["employeeId"], Value::Null);
    assert_eq!(selected["otherMails"], json!([]));
    assert_eq!(selected.get("mail"), None);

    let (status, unknown) = stage.get(&format!("users/{ada}?$select=id,acountEnabled")).await;
    assert_eq!((status, unknown["error"]["code"].as_str()), (400, Some("Request_BadRequest")));
}

#[tokio::test]
async fn a_guest_is_found_by_a_principal_name_with_a_hash_in_it() {
    let stage = Stage::set().await;
    let kai = stage.tenant.create_user(NewUser::guest("Kai Brandt", "kai@elsewhere.example"));
    let (status, found) = stage.get("users/kai_elsewhere.example%23EXT%23@contoso.example?$select=id,userType").await;
    assert_eq!((status, &found["id"], &found["userType"]), (200, &json!(kai), &json!("Guest")));
}

#[tokio::test]
async fn a_soft_deleted_user_is_in_the_deleted_items_and_comes_back_with_memberships() {
    let stage = Stage::set().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let staff = stage.tenant.create_group(NewGroup::named("Staff"));
    stage.tenant.add_member(staff, ada).unwrap();

    stage.tenant.delete_user(ada, false).unwrap();
    let (status, gone) = stage.get(&format!("users/{ada}")).await;
    assert_eq!((status, gone["error"]["code"].as_str()), (404, Some("Request_ResourceNotFound")));
    let (_, deleted) = stage.get(&format!("directory/deletedItems/{ada}")).await;
    assert_eq!(deleted["@odata.type"], "#microsoft.graph.user");
    assert_eq!(deleted["userPrincipalName"], format!("{}ada.lovelace@contoso.example", ada.simple()));
    assert!(deleted["deletedDateTime"].is_string());
    let (listed, _) = stage.all("directory/deletedItems/microsoft.graph.user?$select=id").await;
    assert_eq!(ids(&listed), [ada.to_string()]);
    let (members, _) = stage.all(&format!("groups/{staff}/members")).await;
    assert_eq!(members.len(), 0);

    stage.tenant.restore_user(ada).unwrap();
    let (_, back) = stage.get(&format!("users/{ada}")).await;
    assert_eq!(back["userPrincipalName"], "ada.lovelace@contoso.example");
    let (groups, _) = stage.all(&format!("users/{ada}/transitiveMemberOf")).await;
    assert_eq!(ids(&groups), [staff.to_string()]);
}

#[tokio::test]
async fn a_purged_user_is_nowhere() {
    let stage = Stage::set().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    stage.tenant.delete_user(ada, false).unwrap();
    stage.tenant.delete_user(ada, true).unwrap();
    assert_eq!(stage.get(&format!("users/{ada}")).await.0, 404);
    assert_eq!(stage.get(&format!("directory/deletedItems/{ada}")).await.0, 404);
    assert!(stage.tenant.truth().is_empty());
    assert!(stage.tenant.restore_user(ada).is_err());
}

#[tokio::test]
async fn transitive_members_pass_through_groups_and_a_cycle_is_harmless() {
    let stage = Stage::set().await;
    let tenant = &stage.tenant;
    let [outer, middle, inner] = ["Outer", "Middle", "Inner"].map(|name| tenant.create_group(NewGroup::named(name)));
    let ada = tenant.create_user(NewUser::named("Ada Lovelace"));
    let laptop = tenant.create_device("LAPTOP-7");
    for (group, member) in [(outer, middle), (middle, inner), (inner, outer), (inner, ada), (inner, laptop)] {
        tenant.add_member(group, member).unwrap();
    }

    let (direct, _) = stage.all(&format!("groups/{outer}/members")).await;
    assert_eq!(ids(&direct), [middle.to_string()]);
    let (all, _) = stage.all(&format!("groups/{outer}/transitiveMembers")).await;
    let mut expected = [middle, inner, ada, laptop].map(|id| id.to_string());
    expected.sort();
    assert_eq!(ids(&all), expected);
    let device = all.iter().find(|row| row["id"] == json!(laptop)).unwrap();
    assert_eq!(device["@odata.type"], "#microsoft.graph.device");
    let (people, _) =
        stage.all(&format!("groups/{outer}/transitiveMembers/microsoft.graph.user?$select=id,mail")).await;
    assert_eq!(people, [json!({"id": ada, "mail": "ada.lovelace@contoso.example"})]);
    let (_, groups) = stage.post(&format!("users/{ada}/getMemberGroups"), json!({"securityEnabledOnly": true})).await;
    assert_eq!(groups["value"].as_array().map(Vec::len), Some(3));
    assert_eq!(stage.tenant.truth()[0].groups.len(), 3);
    assert_eq!(stage.tenant.truth()[0].direct_groups, [inner]);

    tenant.delete_group(middle, false).unwrap();
    let (cut, _) = stage.all(&format!("groups/{outer}/transitiveMembers")).await;
    assert_eq!(cut.len(), 0, "a deleted group leads nowhere");
    tenant.restore_group(middle).unwrap();
    let (again, _) = stage.all(&format!("groups/{outer}/transitiveMembers")).await;
    assert_eq!(again.len(), 4);
}

#[tokio::test]
async fn a_listing_is_paged_with_absolute_links_that_lead_through_all_of_it() {
    let stage = Stage::set().await;
    let (people, groups) = stage.tenant.seed(250, 205, &["Staff"]);
    let path = format!("groups/{}/transitiveMembers?$select=id,accountEnabled&$top=100", groups[0]);

    let (_, first) = stage.get(&path).await;
    let link = first["@odata.nextLink"].as_str().unwrap();
    assert!(link.starts_with(&stage.sim.url()) && link.contains("$select=id%2CaccountEnabled"), "{link}");

    let (rows, pages) = stage.all(&path).await;
    assert_eq!((rows.len(), pages), (205, 3));
    assert!(rows.iter().all(|row| row["accountEnabled"] == true));
    let mut expected: Vec<String> = people[..205].iter().map(|id| id.to_string()).collect();
    expected.sort();
    assert_eq!(ids(&rows), expected);
    assert_eq!(stage.all("users?$select=id&$top=999").await.0.len(), 250);
    assert_eq!(stage.get("users?$skiptoken=forged").await.1["error"]["code"], "Directory_ExpiredPageToken");
}

#[tokio::test]
async fn everyone_with_an_address_is_found_whatever_its_case() {
    let stage = Stage::set().await;
    let tenant = &stage.tenant;
    let ada = tenant
        .create_user(NewUser::named("Ada Lovelace").with("proxyAddresses", json!(["smtp:Countess@contoso.example"])));
    let impostor = tenant.create_user(NewUser {
        mail: Some("ada.lovelace@contoso.example".to_owned()),
        ..NewUser::named("Eve Mallory")
    });
    let address = "ADA.lovelace@contoso.example";
    let by_address = format!(
        "users?$select=id&$filter=mail eq '{address}' or userPrincipalName eq '{address}' or proxyAddresses/any(p:p eq 'smtp:{address}')"
    );
    let (found, _) = stage.all(&by_address).await;
    let mut expected = [ada, impostor].map(|id| id.to_string());
    expected.sort();
    assert_eq!(ids(&found), expected);

    let (alias, _) =
        stage.all("users?$filter=proxyAddresses/any(p:p eq 'smtp:countess@contoso.example')&$select=id").await;
    assert_eq!(ids(&alias), [ada.to_string()]);
    let (named, _) = stage.all(&format!("users?$filter=id in ('{ada}','{impostor}') &$select=id")).await;
    assert_eq!(named.len(), 2);
    let (status, refused) = stage.get("users?$filter=mail ne 'x'").await;
    assert_eq!((status, refused["error"]["code"].as_str()), (400, Some("Request_UnsupportedQuery")));
}

#[tokio::test]
async fn groups_are_found_by_name_and_know_when_they_were_created() {
    let stage = Stage::set().await;
    let born = 1_700_000_000_000_000;
    let staff = stage.tenant.create_group(NewGroup { created: Some(born), ..NewGroup::named("Staff") });
    stage.tenant.create_group(NewGroup::named("Other"));
    let (found, _) = stage.all("groups?$filter=displayName eq 'Staff'").await;
    assert_eq!(ids(&found), [staff.to_string()]);
    assert_eq!(found[0]["createdDateTime"], "2023-11-14T22:13:20Z");
}

#[tokio::test]
async fn ids_of_unknown_kind_are_resolved_and_ids_of_nothing_left_out() {
    let stage = Stage::set().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let staff = stage.tenant.create_group(NewGroup::named("Staff"));
    let nobody = uuid::Uuid::new_v4();
    let body = json!({"ids": [ada, nobody, staff], "types": ["user", "group", "device"]});
    let (_, answer) = stage.post("directoryObjects/getByIds", body).await;
    let types: Vec<_> = answer["value"].as_array().unwrap().iter().map(|row| row["@odata.type"].clone()).collect();
    assert_eq!(types, ["#microsoft.graph.user", "#microsoft.graph.group"]);
}

#[tokio::test]
async fn the_organization_names_its_verified_domains_and_the_app_its_secret_by_hint_only() {
    let stage = Stage::set().await;
    let (_, organization) = stage.get("organization").await;
    let organization = &organization["value"][0];
    assert_eq!(organization["id"], json!(stage.tenant.id()));
    assert_eq!(organization["verifiedDomains"][0]["name"], "contoso.example");
    assert_eq!(organization["verifiedDomains"][0]["isDefault"], true);

    let path = format!(
        "applications(appId='{}')?$select=id,appId,passwordCredentials,keyCredentials",
        stage.tenant.client_id()
    );
    let (status, app) = stage.get(&path).await;
    let secret = &app["passwordCredentials"][0];
    assert_eq!((status, secret["hint"].as_str()), (200, stage.tenant.client_secret().get(..3)));
    assert_eq!(secret["secretText"], Value::Null);
}

#[tokio::test]
async fn deleted_items_are_purged_after_thirty_days_and_the_purge_is_notified() {
    let clock = SimClock::real();
    let mut stage = Stage::at(clock.clone()).await;
    let receiver = Receiver::listen().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    stage.tenant.delete_user(ada, false).unwrap();
    clock.advance(Duration::from_secs(29 * 24 * 3600));
    stage.renew_token().await;
    let mut wanted = stage.subscription("users", &receiver);
    wanted["expirationDateTime"] = json!(stage.in_minutes(60 * 24 * 7));
    assert_eq!(stage.post("subscriptions", wanted).await.0, 201);
    assert_eq!(stage.get(&format!("directory/deletedItems/{ada}")).await.0, 200);

    clock.advance(Duration::from_secs(2 * 24 * 3600));
    until("purged", || stage.tenant.truth().is_empty()).await;
    until("told", || receiver.items().len() == 1).await;
    assert_eq!(receiver.items()[0]["changeType"], "deleted");
}

//! Answers that are wrong on purpose (BI-30 to BI-42), and deltas that are right but unkind (G-12).

use std::collections::BTreeSet;
use std::time::Duration;

use lockstep_simulator::{Expiry, Fault, NewUser, SimClock, Twist};
use serde_json::{Value, json};

use crate::stage::{Stage, ids};

fn twist(route: &str, twist: Twist) -> Fault {
    Fault { twist: Some(twist), ..Fault::on(route) }
}

/// All pages of a round, and the link to the next.
async fn round(stage: &Stage, path: &str) -> (Vec<Vec<Value>>, String) {
    let (mut next, mut pages) = (path.to_owned(), Vec::new());
    loop {
        let (status, page) = stage.get(&next).await;
        assert_eq!(status, 200, "{page}");
        pages.push(page["value"].as_array().unwrap().clone());
        assert!(pages.len() < 1_000, "a round ends");
        match page["@odata.deltaLink"].as_str() {
            Some(link) => return (pages, link.to_owned()),
            None => page["@odata.nextLink"].as_str().unwrap().clone_into(&mut next),
        }
    }
}

#[tokio::test]
async fn empty_pages_come_between_and_nothing_is_lost() {
    let stage = Stage::set().await;
    stage.sim.set_delta_page(5);
    let (people, groups) = stage.tenant.seed(12, 12, &["Staff"]);
    stage.sim.set_fault(twist("*", Twist::EmptyPage));
    let (pages, _) = round(&stage, "users/delta?$select=mail").await;
    assert_eq!(pages.iter().filter(|page| page.is_empty()).count(), 3);
    assert_eq!(ids(&pages.concat()).into_iter().collect::<BTreeSet<_>>().len(), people.len());

    let (members, pages) = stage.all(&format!("groups/{}/members?$top=6", groups[0])).await;
    assert_eq!((members.len(), pages), (12, 4));
}

#[tokio::test]
async fn a_split_group_is_whole_when_its_slices_are_merged() {
    let stage = Stage::set().await;
    let (people, groups) = stage.tenant.seed(20, 0, &["Staff"]);
    let (_, link) = round(&stage, "groups/delta?$select=members").await;
    for person in &people {
        stage.tenant.add_member(groups[0], *person).unwrap();
    }
    stage.sim.set_fault(twist("groups/delta", Twist::SplitGroups));
    // Half of the pages under the twist: a round keeps the size it began with.
    let (_, first) = stage.get(&link).await;
    stage.sim.clear_faults();
    let (pages, _) = round(&stage, first["@odata.nextLink"].as_str().unwrap()).await;
    assert_eq!(pages.len(), 6);
    let mut members = ids(first["value"][0]["members@delta"].as_array().unwrap());
    members.extend(pages.concat().iter().flat_map(|row| ids(row["members@delta"].as_array().unwrap())));
    let expected: BTreeSet<String> = people.iter().map(ToString::to_string).collect();
    assert_eq!(members.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn who_leaves_between_two_pages_does_not_hide_another() {
    let stage = Stage::set().await;
    let (mut people, groups) = stage.tenant.seed(9, 9, &["Staff"]);
    people.sort();
    let (_, link) = round(&stage, "groups/delta?$select=members").await;
    stage.tenant.delete_group(groups[0], false).unwrap();
    stage.tenant.restore_group(groups[0]).unwrap();
    stage.sim.set_delta_page(3);
    let (_, first) = stage.get(&link).await;
    stage.tenant.delete_user(people[0], true).unwrap();
    let (rest, _) = round(&stage, first["@odata.nextLink"].as_str().unwrap()).await;
    let mut told = ids(first["value"][0]["members@delta"].as_array().unwrap());
    told.extend(rest.concat().iter().flat_map(|row| ids(row["members@delta"].as_array().unwrap())));
    assert_eq!(told, people.iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_come_twice_and_old_rounds_again() {
    let stage = Stage::set().await;
    let (people, _) = stage.tenant.seed(2, 0, &[]);
    let (_, link) = round(&stage, "users/delta?$select=displayName").await;
    stage.tenant.patch_user(people[0], json!({"displayName": "Changed"})).unwrap();
    stage.sim.set_fault(twist("users/delta", Twist::RepeatedRows));
    let (pages, link) = round(&stage, &link).await;
    assert_eq!(ids(&pages.concat()), [people[0].to_string(), people[0].to_string()]);

    stage.sim.clear_faults();
    assert_eq!(round(&stage, &link).await.0.concat(), [] as [Value; 0]);
    stage.sim.set_fault(twist("users/delta", Twist::Replay));
    assert_eq!(round(&stage, &link).await.0.concat().len(), 2);
}

#[tokio::test]
async fn a_first_round_can_tell_who_is_gone() {
    let stage = Stage::set().await;
    let (people, groups) = stage.tenant.seed(3, 3, &["Staff"]);
    stage.tenant.delete_user(people[0], false).unwrap();
    stage.tenant.delete_user(people[1], true).unwrap();
    stage.tenant.remove_member(groups[0], people[2]).unwrap();
    stage.sim.set_fault(twist("*", Twist::RemovedFirst));
    let rows = round(&stage, "users/delta?$select=mail").await.0.concat();
    assert!(rows.contains(&json!({"id": people[0], "@removed": {"reason": "changed"}})));
    assert!(rows.contains(&json!({"id": people[1], "@removed": {"reason": "deleted"}})));
    let rows = round(&stage, "groups/delta?$select=members").await.0.concat();
    let left = json!({"@odata.type": "#microsoft.graph.user", "id": people[2], "@removed": {"reason": "deleted"}});
    assert!(rows.contains(&json!({"id": groups[0], "members@delta": [left]})), "{rows:?}");

    stage.sim.set_fault(twist("users/delta", Twist::OddReason));
    let rows = round(&stage, "users/delta?$select=mail").await.0.concat();
    assert!(rows.contains(&json!({"id": people[0], "@removed": {"reason": "archived"}})));
}

#[tokio::test]
async fn a_delta_token_is_refused_in_all_ways_seen_in_the_field() {
    let stage = Stage::set().await;
    let (_, link) = round(&stage, "users/delta?$select=mail").await;
    let anew = format!("{}/v1.0/users/delta?$deltatoken=", stage.sim.url());
    let cases = [
        (Twist::SyncStateNotFound, 410, "syncStateNotFound", None),
        (Twist::Gone, 410, "resyncRequired", None),
        (Twist::GoneWithLocation, 410, "resyncRequired", Some(anew.as_str())),
        (Twist::TooOld, 400, "Request_UnsupportedQuery", None),
    ];
    for (way, status, code, location) in cases {
        stage.sim.clear_faults();
        stage.sim.set_fault(twist("users/delta", way));
        let answer = stage.http.get(&link).bearer_auth(&stage.token).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers().get("Location").map(|value| value.to_str().unwrap()), location);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], code);
        assert_eq!(stage.get("users/delta?$select=mail").await.0, 200, "a first call carries no token");
    }
    stage.sim.clear_faults();
    assert_eq!(stage.get(&anew).await.0, 200);
}

#[tokio::test]
async fn old_tokens_are_refused_as_the_settings_say() {
    let clock = SimClock::real();
    let mut stage = Stage::at(clock.clone()).await;
    stage.sim.change_settings(|settings| settings.old_delta_token = Expiry::TooOld);
    let (_, link) = round(&stage, "users/delta").await;
    clock.advance(Duration::from_secs(8 * 24 * 3600));
    stage.renew_token().await;
    let (status, refused) = stage.get(&link).await;
    assert_eq!(status, 400);
    assert_eq!(refused["error"]["message"], "DeltaLink older than 30 days is not supported.");
}

/// BI-30, BI-31
#[tokio::test]
async fn links_lead_astray_in_every_way() {
    let stage = Stage::set().await;
    stage.tenant.seed(1, 0, &[]);
    let base = stage.sim.url();
    let host = base.strip_prefix("http://").unwrap();
    let cases = [
        (Twist::LinkOtherHost, "https://graph.attacker.example/v1.0/users".to_owned()),
        (Twist::LinkOtherScheme, format!("https://{host}/v1.0/users")),
        (Twist::LinkOtherPort, "http://127.0.0.1:9/v1.0/users".to_owned()),
        (Twist::LinkUserInfo, format!("http://{host}@graph.attacker.example/v1.0/users")),
        (Twist::LinkOtherPath, format!("{base}/beta/v1.0/users")),
        (Twist::LinkEncoded, format!("{base}/v1.0/%2e%2e/%2e%2e/v1.0/users")),
        (Twist::LinkTooLong, format!("{base}/v1.0/users")),
        (Twist::LinkRepeats, format!("{base}/v1.0/users")),
    ];
    for (way, start) in cases {
        stage.sim.clear_faults();
        stage.sim.set_fault(twist("*", way));
        let (_, listing) = stage.get("users?$select=id").await;
        let link = listing["@odata.nextLink"].as_str().unwrap();
        assert!(link.starts_with(&start), "{way:?}: {link}");
        assert_eq!(way == Twist::LinkTooLong, link.len() > 8192);
        let (_, delta) = stage.get("users/delta?$select=id").await;
        let name = if way == Twist::LinkRepeats { "@odata.nextLink" } else { "@odata.deltaLink" };
        assert!(delta[name].as_str().unwrap().starts_with(&start), "{way:?}: {delta}");
    }
    stage.sim.clear_faults();
    stage.sim.set_fault(Fault { link: Some("gopher://x".to_owned()), ..Fault::on("users") });
    assert_eq!(stage.get("users").await.1["@odata.nextLink"], "gopher://x");
}

/// BI-32
#[tokio::test]
async fn bodies_are_no_json_empty_huge_or_of_the_wrong_types() {
    let stage = Stage::set().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let path = format!("users/{ada}?$select=id,displayName,accountEnabled");
    let read = async |way: Twist| {
        stage.sim.clear_faults();
        stage.sim.set_fault(twist("*", way));
        let url = format!("{}/v1.0/{path}", stage.sim.url());
        stage.http.get(url).bearer_auth(&stage.token).send().await.unwrap().text().await.unwrap()
    };
    assert_eq!(read(Twist::NotJson).await, "The service is being moved.");
    assert_eq!(read(Twist::Empty).await, "");
    assert!(read(Twist::Huge).await.len() > 16 * 1024 * 1024);
    let wrong: Value = serde_json::from_str(&read(Twist::WrongTypes).await).unwrap();
    assert_eq!((&wrong["displayName"], &wrong["accountEnabled"]), (&json!(7), &json!("maybe")));
    read(Twist::ValueNoList).await;
    assert_eq!(stage.get("users").await.1["value"], "nobody");
}

/// BI-33, BI-34
#[tokio::test]
async fn objects_have_other_ids_or_no_word_on_being_enabled() {
    let stage = Stage::set().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let read = async |way: Twist| {
        stage.sim.clear_faults();
        stage.sim.set_fault(twist("*", way));
        let user = stage.get(&format!("users/{ada}?$select=id,accountEnabled")).await.1;
        let batch = json!({"requests": [{"id": "1", "method": "GET", "url": "/users?$select=id,accountEnabled"}]});
        let row = stage.post("$batch", batch).await.1["responses"][0]["body"]["value"][0].clone();
        [user, row]
    };
    for seen in read(Twist::OtherId).await {
        let id = uuid::Uuid::parse_str(seen["id"].as_str().unwrap());
        assert_ne!(id.unwrap(), ada);
    }
    assert!(read(Twist::NoId).await.iter().all(|seen| seen.get("id").is_none()));
    assert!(read(Twist::BadId).await.iter().all(|seen| seen["id"] == "not-a-guid"));
    assert!(read(Twist::EnabledMissing).await.iter().all(|seen| seen.get("accountEnabled").is_none()));
    assert!(read(Twist::EnabledNull).await.iter().all(|seen| seen["accountEnabled"].is_null()));
    assert!(read(Twist::EnabledText).await.iter().all(|seen| seen["accountEnabled"] == "yes"));
}

#[tokio::test]
async fn a_listing_can_end_too_early() {
    let stage = Stage::set().await;
    let (_, groups) = stage.tenant.seed(10, 10, &["Staff"]);
    stage.sim.set_fault(Fault { share: Some(0.4), ..Fault::on("groups/{id}/members") });
    assert_eq!(stage.all(&format!("groups/{}/members", groups[0])).await.0.len(), 4);
    assert_eq!(stage.all("users").await.0.len(), 10);
}

/// BI-39, BI-41
#[tokio::test]
async fn a_pause_makes_no_sense_and_an_answer_is_a_redirect() {
    let stage = Stage::set().await;
    let faulty = |status, text: &str| Fault {
        status: Some(status),
        retry_after_text: Some(text.to_owned()),
        remaining: Some(1),
        ..Fault::on("organization")
    };
    let url = format!("{}/v1.0/organization", stage.sim.url());
    for text in ["-1", "99999999999", "Sat, 21 Nov 2026 10:00:00 GMT", "soon"] {
        stage.sim.set_fault(faulty(429, text));
        let answer = stage.http.get(&url).bearer_auth(&stage.token).send().await.unwrap();
        assert_eq!(answer.headers()["Retry-After"], text);
    }
    stage.sim.set_fault(faulty(302, "0"));
    let still = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = still.get(&url).bearer_auth(&stage.token).send().await.unwrap();
    assert_eq!(answer.headers()["Location"], "https://graph.attacker.example/v1.0/");
}

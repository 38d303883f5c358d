//! Delta answers that Graph should not give, or gives when it has forgotten: the old link stays good, or the round is
//! known to be lost, and nobody is taken for gone.

use lockstep_core::{ErrorClass, ObjectId};
use lockstep_graph::{
    DELTA_ACCESS, DeltaLink, DeltaNext, DeltaPage, GraphError, GroupRow, LinkFault, PageLink, Removed, UserRow,
};

use crate::server::{Server, error, json, status};
use crate::stand::{client_of, endpoints};

const USERS: &str = "GET /users/delta";
const ADA: &str = "3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c01";

fn ada() -> ObjectId {
    ADA.parse().unwrap()
}

/// The page that a server makes of these bytes, HERE standing for its own address, on a call with a delta token.
async fn page_of(bytes: Vec<u8>) -> Result<DeltaPage<UserRow>, GraphError> {
    let server = Server::start(move |request| here(&bytes, &request.base())).await;
    let link = link_at(&server.base, "users/delta?$deltatoken=old");
    client_of(&server.base).user_delta_page(&link).await
}

fn here(bytes: &[u8], base: &str) -> Vec<u8> {
    let (head, body) = std::str::from_utf8(bytes).unwrap().split_once("\r\n\r\n").unwrap();
    let body = body.replace("HERE", &format!("{base}/v1.0"));
    let kept = head.lines().filter(|line| !line.starts_with("Content-Length"));
    let head: String = kept.map(|line| format!("{line}\r\n")).collect();
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn link_at(base: &str, rest: &str) -> PageLink {
    PageLink::load(&format!("{base}/v1.0/{rest}"), &endpoints(base)).unwrap()
}

/// A last page with these rows.
fn rows(rows: &str) -> Vec<u8> {
    json(&format!(r#"{{"value":[{rows}],"@odata.deltaLink":"HERE/users/delta?$deltatoken=new"}}"#))
}

#[tokio::test]
async fn bi31_an_empty_page_with_a_next_link_is_not_the_end() {
    let page = page_of(json(r#"{"value":[],"@odata.nextLink":"HERE/users/delta?$skiptoken=2"}"#)).await.unwrap();
    assert!(page.rows.is_empty() && matches!(page.next, DeltaNext::Next(_)));
}

#[tokio::test]
async fn bi31_a_link_that_repeats_ends_the_run_and_an_unchanged_delta_link_does_not() {
    let again = json(r#"{"value":[],"@odata.nextLink":"HERE/users/delta?$deltatoken=old"}"#);
    let refused = page_of(again).await.unwrap_err();
    assert_eq!(refused, GraphError::LinkRefused { call: USERS, fault: LinkFault::Repeats });
    let quiet = json(r#"{"value":[],"@odata.deltaLink":"HERE/users/delta?$deltatoken=old"}"#);
    assert!(matches!(page_of(quiet).await.unwrap().next, DeltaNext::Done(_)), "nothing happened: no circle");
}

#[tokio::test]
async fn bi30_a_delta_link_that_leads_elsewhere_ends_the_run() {
    for (link, fault) in [
        ("https://evil.example/v1.0/users/delta?$deltatoken=x", LinkFault::Scheme),
        ("http://evil.example/v1.0/users/delta?$deltatoken=x", LinkFault::Host),
        ("HERE/../beta/users/delta?$deltatoken=x", LinkFault::Path),
        ("HERE/users/%2e%2e/users/delta?$deltatoken=x", LinkFault::Encoding),
        ("HERE/groups/delta?$deltatoken=x", LinkFault::NotThisDelta),
        ("HERE/users?$skiptoken=x", LinkFault::NotThisDelta),
        ("HERE/users/delta", LinkFault::NotThisDelta),
        ("HERE/users/delta?$deltatoken=", LinkFault::NotThisDelta),
        ("HERE/users/delta?%24deltatoken=Latest", LinkFault::NotThisDelta),
    ] {
        for key in ["@odata.nextLink", "@odata.deltaLink"] {
            let refused = page_of(json(&format!(r#"{{"value":[],"{key}":"{link}"}}"#))).await.unwrap_err();
            assert_eq!(refused, GraphError::LinkRefused { call: USERS, fault }, "{key} {link}");
            assert_eq!(refused.class(), ErrorClass::Permanent);
        }
    }
    for link in ["HERE/users/delta()?$deltatoken=x", "HERE/users/microsoft.graph.delta()?$deltatoken=x"] {
        assert!(page_of(json(&format!(r#"{{"value":[],"@odata.deltaLink":"{link}"}}"#))).await.is_ok(), "{link}");
    }
}

#[tokio::test]
async fn th15_a_planted_link_is_refused_before_anything_is_sent() {
    let server = Server::start(|_| json("{}")).await;
    let graph = client_of(&server.base);
    let planted: DeltaLink = serde_json::from_str(r#""https://evil.example/v1.0/users/delta?$deltatoken=x""#).unwrap();
    assert_eq!(DeltaLink::load(planted.as_str(), graph.endpoints()), Err(LinkFault::Scheme));
    let refused = graph.user_delta_page(planted.as_page()).await.unwrap_err();
    assert_eq!(refused, GraphError::LinkRefused { call: USERS, fault: LinkFault::Scheme });
    let another = link_at(&server.base, "groups/delta?$deltatoken=x");
    assert!(matches!(graph.user_delta_page(&another).await, Err(GraphError::LinkRefused { .. })));
    assert!(server.graph_requests().is_empty());
    assert!(!format!("{planted:?}").contains("evil"));
}

#[tokio::test]
async fn bi32_a_page_without_exactly_one_link_ends_no_round() {
    for body in [
        r#"{"value":[]}"#,
        r#"{"value":[],"@odata.nextLink":"HERE/users/delta?$skiptoken=2","@odata.deltaLink":"HERE/users/delta?$deltatoken=3"}"#,
        r#"{"@odata.deltaLink":"HERE/users/delta?$deltatoken=3"}"#,
        r#"{"value":{},"@odata.deltaLink":"HERE/users/delta?$deltatoken=3"}"#,
        r#"{"value":[],"@odata.deltaLink":7}"#,
    ] {
        assert!(matches!(page_of(json(body)).await, Err(GraphError::BadAnswer { call: USERS, .. })), "{body}");
    }
}

#[tokio::test]
async fn fa13_every_way_of_saying_that_the_token_is_too_old_is_understood() {
    let elsewhere = Server::start(|_| json("{}")).await;
    let location = format!("Location: {}/v1.0/users/delta?$deltatoken=\r\n", elsewhere.base);
    let nested = r#"{"error":{"code":"BadRequest","message":"x","innererror":{"code":"y","innerError":{"code":"SYNCSTATENOTFOUND"}}}}"#;
    for answer in [
        status(410, &location, r#"{"error":{"code":"resyncRequired","message":"x"}}"#),
        status(410, &location, ""),
        status(410, "", "<html>gone</html>"),
        error(410, "syncStateNotFound", "x"),
        error(410, "", "x"),
        error(400, "Request_UnsupportedQuery", "DeltaLink older than 30 days is not supported."),
        error(400, "Directory_ExpiredPageToken", "x"),
        error(400, "resyncRequired", "x"),
        error(404, "syncStateNotFound", "x"),
        status(400, "", nested),
    ] {
        let told = String::from_utf8_lossy(&answer).into_owned();
        let expired = page_of(answer).await.unwrap_err();
        assert_eq!(expired, GraphError::DeltaExpired { call: USERS }, "{told}");
        assert_eq!(expired.class(), ErrorClass::Transient { retry_after: None }, "everything is read anew");
        assert!(!expired.is_connection_wide());
    }
    assert!(elsewhere.graph_requests().is_empty(), "a Location is not used (TH-15)");
}

#[tokio::test]
async fn fa13_other_refusals_are_not_taken_for_an_old_token() {
    let server = Server::start(|_| error(400, "Request_UnsupportedQuery", "x")).await;
    let refused = client_of(&server.base).user_delta_latest(DELTA_ACCESS).await.unwrap_err();
    assert!(matches!(refused, GraphError::Rejected { status: 400, .. }), "no token was sent: {refused:?}");
    assert!(matches!(page_of(error(400, "Request_BadRequest", "x")).await, Err(GraphError::Rejected { .. })));
    assert!(matches!(
        page_of(error(403, "Authorization_RequestDenied", "x")).await,
        Err(GraphError::PermissionMissing { permission: "User.Read.All", .. })
    ));
    assert!(matches!(page_of(status(404, "", "<html>")).await, Err(GraphError::BadAnswer { .. })));
}

#[tokio::test]
async fn bi38_a_removal_of_any_reason_is_a_claim_and_keeps_its_word() {
    for (removed, expected) in [
        (r#"{"reason":"changed"}"#, Removed::Changed),
        (r#"{"reason":"Deleted"}"#, Removed::Deleted),
        (r#""deleted""#, Removed::Deleted),
        (r#"{"reason":"archived"}"#, Removed::Unknown),
        (r#"{"reason":null}"#, Removed::Unknown),
        ("{}", Removed::Unknown),
        ("true", Removed::Unknown),
    ] {
        let page = page_of(rows(&format!(r#"{{"id":"{ADA}","@removed":{removed}}}"#))).await.unwrap();
        let [row] = &page.rows[..] else { panic!("one row") };
        assert_eq!((row.id, row.removed, row.account_enabled), (ada(), Some(expected), None), "{removed}");
    }
}

#[tokio::test]
async fn bi34_in_a_row_too_only_a_boolean_says_enabled_or_disabled() {
    for (field, expected) in [
        (r#","accountEnabled":false"#, Some(Some(false))),
        (r#","accountEnabled":null"#, Some(None)),
        (r#","accountEnabled":"no""#, Some(None)),
        ("", None),
    ] {
        let page = page_of(rows(&format!(r#"{{"id":"{ADA}"{field}}}"#))).await.unwrap();
        assert_eq!(page.rows[0].account_enabled, expected, "{field}");
    }
}

#[tokio::test]
async fn bi33_a_row_without_a_usable_id_is_counted_and_spoils_no_other() {
    let page = page_of(rows(&format!(r#"{{}},7,{{"id":"x"}},{{"id":"{ADA}"}},{{"id":"{ADA}"}}"#))).await.unwrap();
    assert_eq!(page.refused, 3);
    assert_eq!(page.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [ada(), ada()], "repeats are told as they come");
}

#[tokio::test]
async fn bi33_a_bad_member_is_counted_and_the_others_are_told() {
    let members = format!(r#"[{{"id":"{ADA}","@removed":"deleted"}},{{"id":"x"}},7,{{"id":"{ADA}"}}]"#);
    let body = format!(
        r#"{{"value":[{{"id":"{ADA}","members@delta":{members}}},{{"id":"{ADA}","members@delta":"none"}}],"@odata.deltaLink":"HERE/groups/delta?$deltatoken=n"}}"#
    );
    let server = Server::start(move |request| here(&json(&body), &request.base())).await;
    let link = link_at(&server.base, "groups/delta?$deltatoken=old");
    let page: DeltaPage<GroupRow> = client_of(&server.base).group_delta_page(&link).await.unwrap();
    let changes: Vec<bool> = page.rows[0].members.iter().map(|change| change.removed).collect();
    assert_eq!((changes, page.refused), (vec![true, false], 3));
    assert_eq!(page.rows[0].members[0].kind, None, "it does not say");
}

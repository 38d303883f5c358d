//! The rows BI-32 to BI-42 that have no story elsewhere: what arrives from Graph in odd shapes is taken as it is, or
//! refused, and never read as something else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockstep_core::ObjectId;
use lockstep_core::profile::Profile;
use lockstep_graph::{GraphError, UserRead};
use lockstep_simulator::NewUser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Server, is_token, json, status};
use crate::stand::{Stand, client_of};

const ADA: &str = "3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c01";
const READ: &str = "GET /users/{id}";

fn ada() -> ObjectId {
    ADA.parse().unwrap()
}

/// Ada as a by-id read shows her with these further fields.
async fn ada_with(fields: &str) -> Profile {
    let body = format!(r#"{{"id":"{ADA}"{fields}}}"#);
    let server = Server::start(move |_| json(&body)).await;
    let UserRead::Present(profile) = client_of(&server.base).read_user(ada()).await.unwrap() else { panic!("there") };
    *profile
}

/// A deflate stream of one letter, so often: 258 of them in 13 bits. Cut off at the end, where nobody gets to.
fn bomb(unpacked: usize) -> Vec<u8> {
    // The header; then bits: last block, fixed codes, the letter; then one match (length 258, distance 1) after another.
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut bits: Vec<bool> = [1, 1, 0].iter().chain(&[1, 0, 0, 1, 0, 0, 0, 1]).map(|bit| *bit == 1).collect();
    for _ in 0..unpacked / 258 {
        bits.extend([1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0].map(|bit| bit == 1));
    }
    bytes.extend(bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |value, bit| value << 1 | u8::from(*bit))));
    bytes
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 X\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[tokio::test]
async fn bi32_a_small_body_that_unpacks_to_more_than_16_mib_is_given_up() {
    let bytes = packed(&bomb(17 * 1024 * 1024));
    assert!(bytes.len() < 256 * 1024, "{} bytes on the wire", bytes.len());
    let server = Server::start(move |_| bytes.clone()).await;
    let refused = client_of(&server.base).read_user(ada()).await.unwrap_err();
    assert_eq!(refused, GraphError::BadAnswer { call: READ, what: "more than 16 MiB" });

    // The same made small is only cut off: so it was the size that was refused above.
    let server = Server::start(move |_| packed(&bomb(64 * 1024))).await;
    let refused = client_of(&server.base).read_user(ada()).await.unwrap_err();
    assert_eq!(refused, GraphError::BadAnswer { call: READ, what: "a body that was cut off" });
}

#[tokio::test]
async fn bi34_only_a_boolean_says_enabled_or_disabled() {
    for (fields, expected) in [
        (r#","accountEnabled":true"#, Some(true)),
        (r#","accountEnabled":false"#, Some(false)),
        (r#","accountEnabled":null"#, None),
        (r#","accountEnabled":"yes""#, None),
        (r#","accountEnabled":"false""#, None),
        (r#","accountEnabled":0"#, None),
        (r#","AccountEnabled":false"#, None),
        ("", None),
    ] {
        assert_eq!(ada_with(fields).await.account_enabled, expected, "{fields}");
    }
}

#[tokio::test]
async fn bi35_odd_text_stays_text_and_what_is_too_long_fails_alone() {
    let long = "x".repeat(2000);
    let fields = format!(
        r#","accountEnabled":true,"displayName":"<b>\u202Eevil\u0000","jobTitle":"=1+1","department":"{long}","city":{{"a":1}}"#
    );
    let profile = ada_with(&fields).await;
    assert_eq!(profile.properties["displayName"], "<b>\u{202e}evil\u{0}");
    assert_eq!(profile.properties["jobTitle"], "=1+1");
    assert_eq!(profile.dropped, BTreeSet::from(["city".to_owned(), "department".to_owned()]));
    assert_eq!(profile.account_enabled, Some(true), "the access decision is not held up");
}

#[tokio::test]
async fn bi36_two_people_with_one_address_are_both_named() {
    let stand = Stand::start().await;
    let address = format!("shared@{}", stand.tenant.domain());
    let people: BTreeSet<ObjectId> = ["Ada Lovelace", "Grace Hopper"]
        .map(|name| ObjectId(stand.tenant.create_user(NewUser::named(name).with("mail", address.as_str()))))
        .into();
    let owners = stand.graph.address_owners(std::slice::from_ref(&address)).await.unwrap();
    assert_eq!(owners[&address], people);
}

#[tokio::test]
async fn bi40_the_tenant_says_itself_which_one_it_is() {
    let other = r#"{"value":[{"id":"7c1f0a52-3b5e-4d0e-9a61-0f2f6f6a1dff","displayName":"Another"}]}"#;
    let server = Server::start(move |_| json(other)).await;
    let organization = client_of(&server.base).organization().await.unwrap();
    assert_eq!(organization.id.to_string(), "7c1f0a52-3b5e-4d0e-9a61-0f2f6f6a1dff", "as said, not as configured");
    for body in [
        r#"{"value":[]}"#,
        r#"{"value":[{"id":"x"}]}"#,
        r#"{"value":[{"id":"7c1f0a52-3b5e-4d0e-9a61-0f2f6f6a1d11"},{"id":"7c1f0a52-3b5e-4d0e-9a61-0f2f6f6a1dff"}]}"#,
    ] {
        let server = Server::start(move |_| json(body)).await;
        assert!(matches!(client_of(&server.base).organization().await, Err(GraphError::BadAnswer { .. })), "{body}");
    }
}

#[tokio::test]
async fn bi42_a_token_answer_without_a_usable_token_reaches_no_graph() {
    for token in [
        r#"{"token_type":"Bearer","expires_in":3599}"#,
        r#"{"token_type":"pop","expires_in":3599,"access_token":"x"}"#,
        r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a\r\nX-Evil: 1"}"#,
        "<html>",
    ] {
        let server = Server::start_all(move |_| json(token)).await;
        let failed = client_of(&server.base).organization().await.unwrap_err();
        assert!(matches!(failed, GraphError::TokenUnavailable { .. }), "{token}: {failed:?}");
        assert!(server.graph_requests().is_empty());
    }
}

#[tokio::test]
async fn bi42_a_token_that_lives_for_nothing_or_for_ever_still_serves() {
    for life in ["0", "-1", "9223372036854775807", "1e300"] {
        let token = format!(r#"{{"token_type":"Bearer","expires_in":{life},"access_token":"x"}}"#);
        let server = Server::start_all(move |request| match is_token(request) {
            true => json(&token),
            false => json(&format!(r#"{{"id":"{ADA}"}}"#)),
        })
        .await;
        let graph = client_of(&server.base);
        graph.read_user(ada()).await.unwrap();
        graph.read_user(ada()).await.unwrap();
        assert_eq!(server.token_requests(), 1, "{life}: not asked again with every call");
    }
}

/// Answers request after request on a connection that stays open, and counts connections.
async fn keeps_open(answer: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, answer) = (connections.clone(), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(converse(stream, answer.clone()));
        }
    });
    (base, connections)
}

async fn converse(mut stream: TcpStream, answer: Arc<impl Fn() -> Vec<u8>>) {
    let mut request = Vec::new();
    while stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            let kept = String::from_utf8(answer()).unwrap().replace("Connection: close\r\n", "");
            if stream.write_all(kept.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn fa12_after_a_503_the_next_request_takes_a_new_connection() {
    let login = Server::start(|_| Vec::new()).await;
    for (code, expected) in [(503, 3), (500, 1), (404, 1)] {
        let (base, connections) = keeps_open(move || status(code, "", "{}")).await;
        let graph = crate::stand::client_at(&base, &login.base);
        for _ in 0..3 {
            graph.read_user(ada()).await.unwrap_err();
        }
        assert_eq!(connections.load(Ordering::Relaxed), expected, "{code}");
    }
}

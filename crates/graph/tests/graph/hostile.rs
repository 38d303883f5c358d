//! Answers that are not what Graph says, and Graph in trouble: nothing of it becomes a fact about a person.

use std::time::Duration;

use lockstep_core::{ErrorClass, ObjectId};
use lockstep_graph::{GraphError, Unreached};
use lockstep_simulator::Fault;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::server::{Server, error, json, status};
use crate::stand::{Stand, client_of};

const READ: &str = "GET /users/{id}";

fn somebody() -> ObjectId {
    ObjectId(Uuid::from_u128(0x3a9b6c1d_5e2f_4a7b_8c9d_0e1f2a3b4c01))
}

/// What a by-id read makes of these bytes.
async fn read_of(bytes: Vec<u8>) -> GraphError {
    let server = Server::start(move |_| bytes.clone()).await;
    client_of(&server.base).read_user(somebody()).await.unwrap_err()
}

#[tokio::test]
async fn bi32_a_broken_answer_is_a_bad_answer_and_no_fact() {
    let cut = b"HTTP/1.1 200 X\r\nContent-Length: 500\r\n\r\n{\"id\":\"3a9b".to_vec();
    let mut huge = b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n".to_vec();
    huge.resize(huge.len() + 17 * 1024 * 1024, b' ');
    for (bytes, what) in [
        (cut, "a body that was cut off"),
        (huge, "more than 16 MiB"),
        (json("<html>fine</html>"), "JSON of another shape"),
        (json(""), "JSON of another shape"),
        (json("[]"), "JSON of another shape"),
        (json(&"[".repeat(200_000)), "JSON of another shape"),
        (status(404, "", "<html>no such page</html>"), "an error that is not Graph's"),
        (status(404, "", ""), "an error that is not Graph's"),
    ] {
        let refused = read_of(bytes).await;
        assert_eq!(refused, GraphError::BadAnswer { call: READ, what });
        assert_eq!(refused.class(), ErrorClass::Transient { retry_after: None });
    }
}

#[tokio::test]
async fn bi33_another_object_than_asked_for_is_refused() {
    for body in [
        r#"{"id":"3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c02","accountEnabled":false}"#,
        r#"{"id":"{3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c01}","accountEnabled":false}"#,
        r#"{"accountEnabled":false}"#,
        r#"{"value":[]}"#,
    ] {
        let refused = read_of(json(body)).await;
        assert!(matches!(refused, GraphError::ObjectRefused { id: Some(id), .. } if id == somebody()), "{body}");
        assert_eq!(refused.class(), ErrorClass::Permanent);
        assert!(!refused.is_connection_wide());
    }
    let server = Server::start(|_| json(r#"{"id":"3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c02"}"#)).await;
    let deleted = client_of(&server.base).is_deleted_user(somebody()).await;
    assert!(matches!(deleted, Err(GraphError::ObjectRefused { .. })));
}

#[tokio::test]
async fn bi41_a_redirect_is_not_followed() {
    let elsewhere = Server::start(|_| json("{}")).await;
    let location = format!("Location: {}/v1.0/users/x\r\n", elsewhere.base);
    for code in [301, 302, 307, 308] {
        let refused = read_of(status(code, &location, "")).await;
        assert_eq!(refused, GraphError::Redirected { call: READ, status: code });
    }
    assert!(elsewhere.graph_requests().is_empty());
}

#[tokio::test]
async fn fa11_after_a_429_nothing_is_sent_until_the_pause_is_over() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    let fault = Fault { status: Some(429), retry_after: Some(7), remaining: Some(1), ..Fault::on("users/{id}") };
    stand.simulator.set_fault(fault);

    let throttled = stand.graph.read_user(ada).await.unwrap_err();
    let asked = Duration::from_secs(7);
    assert_eq!(throttled, GraphError::Throttled { call: READ, retry_after: asked });
    assert_eq!(throttled.class(), ErrorClass::Transient { retry_after: Some(asked) });
    assert!(throttled.is_connection_wide());

    let kept = stand.graph.clone().organization().await.unwrap_err();
    assert!(matches!(kept, GraphError::Throttled { retry_after, .. } if retry_after <= asked), "{kept:?}");
    assert_eq!(stand.graph.requests_sent(), 1, "another call of the connection waits too");
}

#[tokio::test]
async fn bi39_a_retry_after_that_says_nothing_or_too_much_is_clamped() {
    for (header, seconds) in [
        ("Retry-After: 86400\r\n", 900),
        ("Retry-After: 0\r\n", 1),
        ("Retry-After: -5\r\n", 1),
        ("Retry-After: Wed, 21 Oct 2037 07:28:00 GMT\r\n", 1),
        ("Retry-After: later\r\n", 1),
        ("", 1),
    ] {
        let refused = read_of(status(429, header, "")).await;
        let retry_after = Duration::from_secs(seconds);
        assert_eq!(refused, GraphError::Throttled { call: READ, retry_after }, "{header}");
    }
}

#[tokio::test]
async fn fa11_a_429_inside_a_batch_that_says_200_counts() {
    let inner = r#"{"responses":[{"id":"0","status":429,"headers":{"Retry-After":"7"},"body":{"error":{"code":"TooManyRequests"}}}]}"#;
    let server = Server::start(move |_| json(inner)).await;
    let graph = client_of(&server.base);
    let throttled = graph.address_owners(&["a@b.example".to_owned()]).await.unwrap_err();
    let retry_after = Duration::from_secs(7);
    assert_eq!(throttled, GraphError::Throttled { call: "POST /$batch", retry_after });
    assert!(matches!(graph.organization().await, Err(GraphError::Throttled { .. })));
    assert_eq!(graph.requests_sent(), 1);
}

#[tokio::test]
async fn th09_an_answer_left_out_of_a_batch_is_not_an_address_nobody_has() {
    for body in [
        r#"{"responses":[]}"#,
        r#"{"responses":[{"id":"1","status":200,"body":{"value":[]}}]}"#,
        r#"{"responses":[{"id":"0","status":200}]}"#,
        r#"{"responses":[{"id":"0","status":404,"body":{"error":{"code":"Request_ResourceNotFound"}}}]}"#,
        r#"{"responses":[{"id":"0","status":200,"body":{"value":[{"id":"x"}]}}]}"#,
    ] {
        let server = Server::start(move |_| json(body)).await;
        let refused = client_of(&server.base).address_owners(&["a@b.example".to_owned()]).await;
        assert!(matches!(refused, Err(GraphError::BadAnswer { .. } | GraphError::ObjectRefused { .. })), "{body}");
    }
}

#[tokio::test]
async fn fa12_an_outage_is_probed_and_not_hammered() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    stand.simulator.set_fault(Fault { status: Some(503), retry_after: Some(3), ..Fault::on("users/{id}") });
    let asked = Some(Duration::from_secs(3));
    for _ in 0..5 {
        let failed = stand.graph.read_user(ada).await.unwrap_err();
        assert_eq!(failed, GraphError::ServerError { call: READ, status: 503, retry_after: asked });
    }
    assert!(matches!(stand.graph.read_user(ada).await, Err(GraphError::Resting { .. })));
    assert_eq!(stand.graph.requests_sent(), 5);
}

#[tokio::test]
async fn fa12_a_host_that_is_not_there_is_unreachable_and_nobody_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let failed = client_of(&dead).read_user_by_name("canary@contoso.example").await.unwrap_err();
    assert!(matches!(failed, GraphError::TokenUnavailable { .. }), "{failed:?}");

    let silent = Server::start(|_| Vec::new()).await;
    let failed = client_of(&silent.base).read_user_by_name("canary@contoso.example").await.unwrap_err();
    assert_eq!(failed, GraphError::Unreachable { call: READ, reason: Unreached::Broken });
    let told = format!("{failed} {failed:?} {}", failed.operator_sentence());
    assert!(!told.contains("canary") && !told.contains("127.0.0.1"), "{told}");
}

#[tokio::test]
async fn a_refusal_we_did_not_expect_is_our_bug_and_shows_only_its_code() {
    let refused = read_of(error(400, "Request_BadRequest", "canary in the message")).await;
    let expected = GraphError::Rejected { call: READ, status: 400, code: "Request_BadRequest".to_owned() };
    assert_eq!(refused, expected);
    assert_eq!(refused.class(), ErrorClass::Bug);
    assert!(!format!("{refused} {refused:?}").contains("canary"));

    let expired = read_of(error(400, "Directory_ExpiredPageToken", "x")).await;
    assert_eq!(expired.class(), ErrorClass::Transient { retry_after: None }, "the listing begins anew");
}

#[tokio::test]
async fn g26_every_request_carries_its_marks() {
    let server = Server::start(|_| json("{}")).await;
    let _ = client_of(&server.base).read_user(somebody()).await;
    let [request] = &server.graph_requests()[..] else { panic!("one request") };
    for mark in [
        "authorization: bearer token-1",
        "client-request-id: ",
        "accept: application/json",
        "user-agent: lockstep/",
        "x-ms-throttle-priority: normal",
        "accept-encoding: gzip",
    ] {
        assert!(request.head.contains(mark), "{mark}");
    }
    assert!(request.line.contains("$select=id,accountEnabled,userType"), "{}", request.line);
    assert!(request.body.is_empty());
}

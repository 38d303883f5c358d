//! Bytes on a socket, for what no client library would send.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use crate::world::{AGES, World};

/// Sends the bytes and reads until the receiver closes the connection.
pub async fn until_closed(world: &World, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    // It may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(AGES, stream.read_to_end(&mut answer)).await.expect("the receiver closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request head to the tenant's address with these header lines.
pub fn head(world: &World, headers: &str) -> String {
    format!(
        "POST /graph/{}/notifications HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n",
        world.tenant.path_token
    )
}

pub fn body(world: &World) -> String {
    json!({ "value": [world.tenant.user_changed(Uuid::new_v4())] }).to_string()
}

pub fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test]
async fn bi_08_a_body_over_one_mebibyte_is_413_and_closed_whether_declared_or_chunked() {
    let world = World::start().await;
    let declared = until_closed(&world, head(&world, "Content-Length: 1048577\r\n").as_bytes()).await;
    assert!(declared.starts_with("HTTP/1.1 413"), "{declared}");

    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000)).repeat(17);
    let streamed = format!("{}{chunk}", head(&world, "Transfer-Encoding: chunked\r\n"));
    let answer = until_closed(&world, streamed.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(world.counters.rejected("body_too_large"), 2);
}

#[tokio::test]
async fn bi_08_a_body_of_exactly_one_mebibyte_is_taken() {
    let world = World::start().await;
    let body = body(&world);
    let padded = format!("{body}{}", " ".repeat(1_048_576 - body.len()));
    assert_eq!(world.post_body(padded).await.status(), 202);
}

#[tokio::test]
async fn bi_09_too_many_or_too_long_headers_are_431() {
    let world = World::start().await;
    let many: String = (0..70).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(17 * 1024));
    let endless = format!("X-Long: {}", "a".repeat(200 * 1024));
    for headers in [many, long, endless] {
        let answer = until_closed(&world, head(&world, &headers).as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    assert_eq!(world.counters.rejected("broken_http"), 3);
}

#[tokio::test]
async fn bi_11_an_ambiguous_or_broken_length_is_400_and_closed() {
    let world = World::start().await;
    let body = body(&world);
    let length = body.len();
    for (headers, body) in [
        (format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), chunked(&body)),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"), chunked(&body)),
        (format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"), chunked(&body)),
        ("Content-Length: 5\r\nContent-Length: 6\r\n".to_owned(), body.clone()),
        ("Content-Length: -1\r\n".to_owned(), body.clone()),
        ("Content-Length: +5\r\n".to_owned(), body.clone()),
        ("Content-Length: many\r\n".to_owned(), body.clone()),
        ("Transfer-Encoding: gzip\r\n".to_owned(), body.clone()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("zz\r\n{body}\r\n0\r\n\r\n")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("ffffffffffffffffff\r\n{body}\r\n0\r\n\r\n")),
    ] {
        let answer = until_closed(&world, format!("{}{body}", head(&world, &headers)).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{headers}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "nothing behind it is read as a request");
    }
    assert_eq!(world.queue.depth().await.unwrap().messages, 0);
}

#[tokio::test]
async fn a_chunked_body_is_taken() {
    let world = World::start().await;
    let headers = "Transfer-Encoding: chunked\r\nConnection: close\r\n";
    let request = format!("{}{}", head(&world, headers), chunked(&body(&world)));
    let answer = until_closed(&world, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

#[tokio::test]
async fn th_05_connections_over_the_cap_are_closed_and_counted() {
    let limits = lockstep_receiver::Limits { connections: 2, ..Default::default() };
    let world = World::with(limits).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(world.addr()).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        kept.push(stream);
    }
    assert_eq!(until_closed(&world, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await, "");
    assert_eq!(world.counters.rejected("too_many_connections"), 1);
    drop(kept);
    crate::world::eventually("there is room again", async || {
        let answer = timeout(Duration::from_secs(5), world.http.get(format!("http://{}/healthz", world.addr())).send());
        answer.await.is_ok_and(|answer| answer.is_ok())
    })
    .await;
}

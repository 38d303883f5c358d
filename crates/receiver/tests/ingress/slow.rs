//! Peers that take their time (BI-10, TH-05), with shorter limits than in production.

use std::time::{Duration, Instant};

use lockstep_receiver::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::raw::{body, head, until_closed};
use crate::world::{AGES, World};

const SHORT: Duration = Duration::from_millis(500);

/// Sent at once, all of it would be a request.
async fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(SHORT / 4).await;
    }
}

async fn closed_after(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = timeout(AGES, stream.read_to_end(&mut rest)).await.expect("the receiver closes the connection");
    began.elapsed()
}

#[tokio::test]
async fn bi_10_slow_headers_close_the_connection() {
    let world = World::with(Limits { header_timeout: SHORT, ..Limits::default() }).await;
    for beginning in ["", "P", "PRI * HT", "POST / HTTP/1.1\r\nHost: x\r\nX: "] {
        let counted = world.counters.rejected("slow_headers");
        let mut stream = TcpStream::connect(world.addr()).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        tokio::join!(closed_after(&mut stream));
        assert_eq!(world.counters.rejected("slow_headers"), counted + 1, "after {beginning:?}");
    }
}

#[tokio::test]
async fn bi_10_dripping_headers_win_no_time() {
    let world = World::with(Limits { header_timeout: SHORT, ..Limits::default() }).await;
    let request = head(&world, "X-Slow: 1\r\n");
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    drip(&mut stream, &request.as_bytes()[..request.len() - 2]).await;
    closed_after(&mut stream).await;
    assert_eq!(world.counters.rejected("slow_headers"), 1);
}

#[tokio::test]
async fn bi_10_the_second_request_of_a_connection_has_the_same_bound_and_silence_between_them_a_longer_one() {
    let limits = Limits { header_timeout: SHORT, idle_timeout: Duration::from_secs(60), ..Limits::default() };
    let world = World::with(limits).await;
    let mut stream = TcpStream::connect(world.addr()).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        tokio::time::sleep(SHORT * 2).await;
    }
    stream.write_all(b"GET /healthz HT").await.unwrap();
    closed_after(&mut stream).await;
    assert_eq!(world.counters.rejected("slow_headers"), 1);
}

#[tokio::test]
async fn th_05_an_idle_connection_is_closed() {
    let limits = Limits { header_timeout: SHORT, idle_timeout: SHORT, ..Limits::default() };
    let world = World::with(limits).await;
    let answer = until_closed(&world, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(world.counters.rejected("slow_headers"), 0);
}

#[tokio::test]
async fn bi_10_a_slow_body_is_408_and_closed() {
    let world = World::with(Limits { body_timeout: SHORT, ..Limits::default() }).await;
    let body = body(&world);
    let request = format!("{}{}", head(&world, &format!("Content-Length: {}\r\n", body.len())), &body[..20]);
    let answer = until_closed(&world, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(world.counters.rejected("slow_body"), 1);
}

#[tokio::test]
async fn th_04_more_posts_in_work_than_allowed_are_503() {
    let world = World::with(Limits { posts_in_work: 1, ..Limits::default() }).await;
    let mut holding = TcpStream::connect(world.addr()).await.unwrap();
    let request = head(&world, "Content-Length: 100\r\nExpect: 100-continue\r\n");
    holding.write_all(request.as_bytes()).await.unwrap();
    assert!(holding.read(&mut [0; 64]).await.unwrap() > 0, "it reads the body now");

    let answer = world.post_body(body(&world)).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "10");
    assert_eq!(world.counters.rejected("too_busy"), 1);
}

/// T2: a storm of new connections; the kernel completes them while the receiver is busy, here with nothing at all.
#[tokio::test]
async fn t2_three_hundred_new_connections_wait_until_they_are_accepted() {
    let world = World::with(Limits::default()).await;
    let storm: Vec<_> =
        (0..300).map(|_| std::net::TcpStream::connect_timeout(&world.addr(), SHORT)).collect::<Result<_, _>>().unwrap();
    for waiting in storm {
        waiting.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(waiting).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(timeout(AGES, stream.read(&mut [0; 1024])).await.unwrap().unwrap() > 0);
    }
}

//! HTTP/2: Graph may use it through a proxy; its floods end with a closed connection (BI-28).

use reqwest::Client;
use serde_json::json;
use uuid::Uuid;

use crate::raw::until_closed;
use crate::world::World;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `POST http://x/` in HPACK, from the static table.
fn post() -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x84];
    block.extend([0x01, 0x01, b'x']);
    block
}

fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

#[tokio::test]
async fn a_notification_by_http2_is_taken() {
    let world = World::start().await;
    let http2 = Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let body = json!({ "value": [world.tenant.user_changed(Uuid::new_v4())] });
    for _ in 0..3 {
        let answer = http2.post(world.url()).json(&body).send().await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 202));
    }
    let refused = http2.post(world.url()).json(&json!({})).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let many = (0..70).fold(http2.post(world.url()), |request, n| request.header(format!("x-{n}"), "1"));
    assert_eq!(many.json(&body).send().await.unwrap().status(), 431, "BI-09");
}

#[tokio::test]
async fn bi_28_a_flood_of_resets_closes_the_connection() {
    let world = World::start().await;
    let mut flood = opening();
    for stream in (0..20_000_u32).map(|n| n * 2 + 1) {
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &post()));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    until_closed(&world, &flood).await;
    assert_eq!(world.counters.rejected("broken_http"), 1);
}

#[tokio::test]
async fn bi_28_a_flood_of_continuations_closes_the_connection() {
    let world = World::start().await;
    let mut flood = opening();
    flood.extend(frame(HEADERS, END_STREAM, 1, &post()));
    for _ in 0..20_000 {
        // A literal header `x: y` each time.
        flood.extend(frame(CONTINUATION, 0, 1, &[0x00, 0x01, b'x', 0x01, b'y']));
    }
    until_closed(&world, &flood).await;
    assert_eq!(world.counters.rejected("broken_http"), 1);
}

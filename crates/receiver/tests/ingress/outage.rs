//! What the receiver answers while something else is down, and while it stops itself.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::world::{AGES, World, eventually, user_id, with};

#[tokio::test]
async fn bi_27_g_02_what_cannot_be_made_durable_is_503_in_time_and_nothing_is_half_kept() {
    let world = World::start().await;
    let options = SqliteConnectOptions::new().filename(world.queue_file());
    let mut somebody = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut somebody).await.unwrap();

    let began = Instant::now();
    let answer = world.post(&[world.tenant.user_changed(Uuid::new_v4())]).await;
    assert!(began.elapsed() < Duration::from_millis(2_500), "ack_deadline: {:?}", began.elapsed());
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "10");
    assert_eq!(world.counters.rejected("not_durable"), 1);
    assert_eq!(world.counters.accepted_items(), 0);

    sqlx::raw_sql("ROLLBACK").execute(&mut somebody).await.unwrap();
    let user = Uuid::new_v4();
    assert_eq!(
        world.hints_of(&[world.tenant.user_changed(user)]).await.iter().map(user_id).collect::<Vec<_>>(),
        [user]
    );
}

#[tokio::test]
async fn g_02_a_closed_queue_is_503() {
    let world = World::start().await;
    world.queue.close().await;
    let answer = world.post(&[world.tenant.user_changed(Uuid::new_v4())]).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn fa_07_without_the_store_known_subscriptions_go_on_and_a_miss_is_503_never_a_dropped_item() {
    let world = World::start().await;
    world.store.close().await;
    let user = Uuid::new_v4();
    let genuine = world.tenant.user_changed(user);
    assert_eq!(world.hints_of(std::slice::from_ref(&genuine)).await.iter().map(user_id).collect::<Vec<_>>(), [user]);

    let perhaps_new = with(genuine.clone(), json!({ "subscriptionId": Uuid::new_v4() }));
    let answer = world.post(&[genuine, perhaps_new]).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "10");

    let perhaps_added = format!("http://{}/graph/{}/notifications", world.addr(), "A".repeat(43));
    assert_eq!(world.http.post(perhaps_added).send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    let perhaps_pending = format!("{}?validationToken=abc", world.url());
    assert_eq!(world.http.post(perhaps_pending).send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.counters.rejected("store_away"), 3);
}

#[tokio::test]
async fn fa_33_a_stop_answers_the_open_request_and_takes_no_new_connection() {
    let world = World::start().await;
    let body = json!({ "value": [world.tenant.user_changed(Uuid::new_v4())] }).to_string();
    let (start, rest) = body.split_at(20);
    let mut open = TcpStream::connect(world.addr()).await.unwrap();
    let head = format!(
        "POST /graph/{}/notifications HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        world.tenant.path_token,
        body.len()
    );
    open.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    open.read_exact(&mut go_on).await.unwrap();
    open.write_all(start.as_bytes()).await.unwrap();

    let mut idle = TcpStream::connect(world.addr()).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);

    let (addr, queue) = (world.addr(), world.queue.clone());
    let stopping = tokio::spawn(world.receiver.stop());
    eventually("the listener is closed", async || TcpStream::connect(addr).await.is_err()).await;
    assert!(!stopping.is_finished(), "waits for the open request");
    let began = Instant::now();
    open.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    stopping.await.unwrap();
    assert!(began.elapsed() < AGES / 3, "stops once the last answer is out, long before its grace of 20 s ends");
    assert_eq!(queue.depth().await.unwrap().messages, 1);
}

//! What is authentic becomes durable, and nothing else of it is kept.

use lockstep_core::hint::{LifecycleEvent, Subject};
use lockstep_queue::{Queue, QueueUrl};
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::world::{World, user_id, with};

#[tokio::test]
async fn bi_01_g_03_a_valid_batch_is_one_durable_message_and_the_answer_is_202_and_empty() {
    let world = World::start().await;
    let users: Vec<_> = (0..10).map(|_| Uuid::new_v4()).collect();
    let items: Vec<_> = users.iter().map(|user| world.tenant.user_changed(*user)).collect();

    let answer = world.post(&items).await;

    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.bytes().await.unwrap(), "");
    let messages = world.messages().await;
    assert_eq!(messages.len(), 1, "one message per POST");
    assert_eq!(messages[0].connection, world.tenant.connection);
    assert!(messages[0].items.iter().all(|hint| hint.subscription == world.tenant.subscription.id));
    assert_eq!(messages[0].items.iter().map(user_id).collect::<Vec<_>>(), users, "in the order of the POST");
    assert_eq!(world.counters.accepted_items(), 10);
}

#[tokio::test]
async fn g_01_what_was_answered_202_survives_a_kill_of_everything_at_that_instant() {
    let world = World::start().await;
    let user = Uuid::new_v4();
    let answer = world.post(&[world.tenant.user_changed(user)]).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);

    let after = TempDir::new().unwrap();
    for suffix in ["", "-wal"] {
        let file = format!("{}{suffix}", world.queue_file().display());
        std::fs::copy(file, after.path().join(format!("queue.db{suffix}"))).unwrap();
    }
    let queue = Queue::open(&QueueUrl::Embedded(after.path().join("queue.db"))).await.unwrap();
    let taken = queue.take(10).await.unwrap();
    assert_eq!(taken.iter().map(|one| user_id(&one.body.as_ref().ok().unwrap().items[0])).collect::<Vec<_>>(), [user]);
}

#[tokio::test]
async fn bi_22_g_07_attributes_and_encrypted_content_never_reach_the_queue() {
    const CANARY: &str = "canary-7f3a";
    let world = World::start().await;
    let user = Uuid::new_v4();
    let mut item = with(
        world.tenant.user_changed(user),
        json!({
            "encryptedContent": { "data": CANARY, "dataKey": CANARY },
            "displayName": CANARY,
            "id": CANARY,
            "subscriptionExpirationDateTime": CANARY,
        }),
    );
    item["resourceData"]["mail"] = json!(format!("{CANARY}@example.org"));
    item["resourceData"]["accountEnabled"] = json!(CANARY);

    let answer = world.post_body(json!({ "value": [item], "validationTokens": [CANARY] }).to_string()).await;

    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    for suffix in ["", "-wal"] {
        let bytes = std::fs::read(format!("{}{suffix}", world.queue_file().display())).unwrap();
        for secret in [CANARY, &world.tenant.subscription.client_state, &world.tenant.path_token] {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{secret} in queue.db{suffix}"
            );
        }
    }
    assert_eq!(world.messages().await[0].items.iter().map(user_id).collect::<Vec<_>>(), [user], "taken all the same");
}

#[tokio::test]
async fn bi_24_g_03_the_same_item_and_the_same_batch_may_come_any_number_of_times() {
    let world = World::start().await;
    let batch = vec![world.tenant.user_changed(Uuid::new_v4()); 1_000];
    for _ in 0..5 {
        assert_eq!(world.post(&batch).await.status(), StatusCode::ACCEPTED);
    }
    let messages = world.messages().await;
    assert_eq!(messages.iter().map(|message| message.items.len()).collect::<Vec<_>>(), [1_000; 5]);
}

#[tokio::test]
async fn bi_25_absurd_dates_are_ignored() {
    let world = World::start().await;
    for date in
        [json!("0000-01-01T00:00:00Z"), json!("9999-12-31T23:59:59.9999999Z"), json!("soon"), json!(7), json!(null)]
    {
        let mut item =
            with(world.tenant.user_changed(Uuid::new_v4()), json!({ "subscriptionExpirationDateTime": date }));
        item["resourceData"]["eventTime"] = date;
        assert_eq!(world.hints_of(&[item]).await.len(), 1);
    }
}

#[tokio::test]
async fn fa_19_what_a_pending_intent_caused_is_authentic_before_its_id_is_known() {
    let world = World::start().await;
    // Written after the receiver last read its table.
    let (intent, client_state) = world.intend().await;
    let first_words = with(
        world.tenant.user_changed(Uuid::new_v4()),
        json!({ "subscriptionId": Uuid::new_v4(), "clientState": client_state }),
    );
    let hints = world.hints_of(&[first_words]).await;
    assert_eq!(hints.iter().map(|hint| hint.subscription).collect::<Vec<_>>(), [intent]);
}

#[tokio::test]
async fn a_connection_added_while_the_receiver_runs_is_known_at_once() {
    let world = World::start().await;
    let second = world.connect_tenant("second").await;
    let body = json!({ "value": [second.user_changed(Uuid::new_v4())] });
    let answer = world.http.post(world.url_of(&second)).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(world.messages().await[0].connection, second.connection);
}

#[tokio::test]
async fn a_lifecycle_item_is_one_by_its_content_whichever_path_it_came_by() {
    let world = World::start().await;
    let missed = world.tenant.item(json!({ "lifecycleEvent": "missed" }));
    let user = Uuid::new_v4();
    let body = json!({ "value": [missed, world.tenant.user_changed(user)] });
    for path in ["notifications", "lifecycle"] {
        let url = world.url().replace("notifications", path);
        assert_eq!(world.http.post(url).json(&body).send().await.unwrap().status(), StatusCode::ACCEPTED);
        let items = world.messages().await.remove(0).items;
        assert_eq!(items[0].subject, Subject::Lifecycle { event: LifecycleEvent::Missed });
        assert_eq!(user_id(&items[1]), user);
    }
}

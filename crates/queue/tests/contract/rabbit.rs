//! What only RabbitMQ can do to us: it goes away, hangs, loses its queue, refuses.

use std::time::{Duration, Instant};

use lockstep_core::ErrorClass;
use lockstep_queue::{Condition, Queue, QueueError};

use crate::broker::Broker;
use crate::proxy::{Proxy, Wire};
use crate::world::{AGES, ids, message, publish, tags, take};

/// The bound of "at once" while the broker is known to be away.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Consuming and publishing again after the broker is back (FA-01), with room for a busy machine.
const BACK: Duration = Duration::from_secs(12);

async fn behind_a_proxy(broker: &Broker) -> (Proxy, Queue) {
    let proxy = Proxy::before(broker.socket()).await;
    let queue = Queue::open(&broker.through(&proxy)).await.unwrap();
    (proxy, queue)
}

/// Publishes until one is kept; how long that took.
async fn until_kept(queue: &Queue) -> Duration {
    let began = Instant::now();
    while queue.publish(&message()).await.is_err() {
        assert!(began.elapsed() < AGES, "never back: {:?}", queue.conditions());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

async fn until_refused(queue: &Queue) -> QueueError {
    let began = Instant::now();
    loop {
        if let Err(refusal) = queue.publish(&message()).await {
            return refusal;
        }
        assert!(began.elapsed() < AGES, "publishes without a broker");
    }
}

fn publishing(queue: &Queue) -> Condition {
    queue.conditions().into_iter().find(|(part, _)| *part == "publishing").unwrap().1
}

#[tokio::test]
async fn fa_01_a_broker_that_is_away_is_refused_at_once_and_found_again_by_itself() {
    let Some(broker) = Broker::given() else { return };
    let (proxy, queue) = behind_a_proxy(&broker).await;
    let sent = publish(&queue, 1).await;
    assert_eq!(ids(&take(&queue, 1).await), sent);

    proxy.now(Wire::Cut);
    until_refused(&queue).await;
    let began = Instant::now();
    let refused = queue.publish(&message()).await.unwrap_err();
    assert!(began.elapsed() < AT_ONCE, "took {:?}", began.elapsed());
    assert_eq!(refused.class(), ErrorClass::Transient { retry_after: None });
    assert!(matches!(publishing(&queue), Condition::Down(_)));
    queue.hinted(Duration::from_secs(3)).await;
    assert!(queue.take(10).await.unwrap().is_empty(), "nothing to take, and no error: the supervisor is at it");

    proxy.now(Wire::Carries);
    let took = until_kept(&queue).await;
    assert!(took < BACK, "back after {took:?}");
    let began = Instant::now();
    assert!(ids(&take(&queue, 2).await).contains(&sent[0]), "what was not acknowledged comes again");
    assert!(began.elapsed() < BACK, "consuming after {:?}", began.elapsed());
}

#[tokio::test]
async fn fa_02_a_broker_that_hangs_is_noticed_refused_at_once_and_found_again() {
    let Some(broker) = Broker::given() else { return };
    let (proxy, queue) = behind_a_proxy(&broker).await;
    publish(&queue, 1).await;

    proxy.now(Wire::Swallows);
    let began = Instant::now();
    queue.publish(&message()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
    until_refused(&queue).await;
    let began = Instant::now();
    queue.publish(&message()).await.unwrap_err();
    assert!(began.elapsed() < AT_ONCE, "took {:?}", began.elapsed());
    assert!(matches!(publishing(&queue), Condition::Unresponsive), "{:?}", publishing(&queue));

    let began = Instant::now();
    while !matches!(publishing(&queue), Condition::Down(_)) {
        assert!(began.elapsed() < Duration::from_secs(20), "a dead link is kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.now(Wire::Carries);
    let took = until_kept(&queue).await;
    assert!(took < BACK, "back after {took:?}");
}

#[tokio::test]
async fn fa_02_a_broker_that_was_only_slow_is_used_again_on_the_same_link() {
    let Some(broker) = Broker::given() else { return };
    let (proxy, queue) = behind_a_proxy(&broker).await;
    publish(&queue, 1).await;
    proxy.now(Wire::Swallows);
    until_refused(&queue).await;
    until_refused(&queue).await;

    proxy.now(Wire::Carries);
    let took = until_kept(&queue).await;
    assert!(took < Duration::from_secs(2), "back after {took:?}");
}

#[tokio::test]
async fn fa_02_a_broker_that_hangs_during_the_login_is_found_again() {
    let Some(broker) = Broker::given() else { return };
    let proxy = Proxy::before(broker.socket()).await;
    proxy.now(Wire::Swallows);
    let began = Instant::now();
    let queue = Queue::open(&broker.through(&proxy)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(6), "starts all the same, after {:?}", began.elapsed());
    queue.publish(&message()).await.unwrap_err();

    proxy.now(Wire::Carries);
    let took = until_kept(&queue).await;
    assert!(took < BACK, "back after {took:?}");
}

#[tokio::test]
async fn fa_03_a_hint_whose_confirm_was_lost_is_refused_although_it_may_be_there() {
    let Some(broker) = Broker::given() else { return };
    let (proxy, queue) = behind_a_proxy(&broker).await;
    publish(&queue, 1).await;

    proxy.now(Wire::SwallowsAnswers);
    let sent = message();
    let (refused, ()) = tokio::join!(queue.publish(&sent), async {
        while broker.ready().await < 2 {}
        proxy.now(Wire::Cut);
    });
    assert!(refused.is_err(), "nobody confirmed it");

    proxy.now(Wire::Carries);
    let began = Instant::now();
    while queue.publish(&sent).await.is_err() {
        assert!(began.elapsed() < AGES);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let copies = ids(&take(&queue, 3).await).into_iter().filter(|id| *id == sent.id).count();
    assert_eq!(copies, 2, "the copy is coalesced by the store");
}

#[tokio::test]
async fn fa_05_fa_06_a_queue_that_vanishes_is_made_anew_and_the_loss_is_told() {
    let Some(broker) = Broker::given() else { return };
    let queue = Queue::open(&broker.url()).await.unwrap();
    let generation = queue.recognise(None).await.unwrap();
    queue.mark(generation).await.unwrap();
    publish(&queue, 1).await;
    let old = take(&queue, 1).await;

    broker.delete().await;
    let began = Instant::now();
    let told = loop {
        match queue.take(10).await {
            Err(told) => break told,
            Ok(_) => queue.hinted(Duration::from_millis(100)).await,
        }
        assert!(began.elapsed() < Duration::from_secs(5), "not subscribed again (FA-06)");
    };
    assert!(matches!(told, QueueError::Replaced), "{told}");
    queue.ack(&tags(&old)).await.unwrap();

    let another = queue.recognise(Some(generation)).await.unwrap();
    assert_ne!(another, generation);
    queue.mark(another).await.unwrap();
    until_kept(&queue).await;
    assert_eq!(take(&queue, 1).await.len(), 1);
    assert_eq!(queue.recognise(Some(another)).await.unwrap(), another);
}

#[tokio::test]
async fn fa_05_a_message_without_a_queue_is_never_taken_for_kept() {
    let Some(broker) = Broker::given() else { return };
    let queue = Queue::open(&broker.url()).await.unwrap();
    publish(&queue, 1).await;
    broker.delete().await;

    let (mut kept, mut refused) = (Vec::new(), 0);
    let began = Instant::now();
    while kept.len() < 20 {
        let sent = message();
        match queue.publish(&sent).await {
            Ok(()) => kept.push(sent.id),
            Err(_) => refused += 1,
        }
        assert!(began.elapsed() < AGES, "never made anew: {:?}", queue.conditions());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(refused > 0, "a message without a queue was taken for kept");
    let there = ids(&take(&queue, kept.len()).await);
    assert!(kept.iter().all(|id| there.contains(id)), "confirmed and not there");
}

#[tokio::test]
async fn fa_05_a_classic_queue_of_our_name_is_refused_at_the_start() {
    let Some(broker) = Broker::given() else { return };
    broker.declare_classic().await;
    let Err(refused) = Queue::open(&broker.url()).await else { panic!("opened") };
    assert!(matches!(refused, QueueError::WrongQueue { .. }), "{refused}");
    assert_eq!(refused.class(), ErrorClass::Permanent);
    assert!(refused.to_string().contains("delete it"), "{refused}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_the_start_and_not_repeated() {
    let Some(broker) = Broker::given() else { return };
    let Err(refused) = Queue::open(&broker.with_password("hunter2")).await else { panic!("opened") };
    assert!(matches!(refused, QueueError::LoginRefused { .. }), "{refused} {refused:?}");
    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
}

#[tokio::test]
async fn t_1_posts_that_wait_together_share_a_message() {
    let Some(broker) = Broker::given() else { return };
    let queue = Queue::open(&broker.url()).await.unwrap();
    publish(&queue, 1).await;
    let publishers: Vec<_> = (0..1_000)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.publish(&message()).await })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap().unwrap();
    }
    let messages = broker.ready().await;
    assert!(messages < 200, "{messages} messages for 1,001 POSTs");
}

#[tokio::test]
async fn what_a_lost_worker_held_goes_to_the_next() {
    let Some(broker) = Broker::given() else { return };
    let lost = Queue::open(&broker.url()).await.unwrap();
    let sent = publish(&lost, 20).await;
    let taken = take(&lost, 20).await;
    lost.ack(&tags(&taken[..5])).await.unwrap();
    tokio::time::timeout(AGES, async {
        while lost.depth().await.unwrap().messages != 15 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    lost.close().await;

    let next = Queue::open(&broker.url()).await.unwrap();
    let mut again = ids(&take(&next, 15).await);
    again.sort();
    assert_eq!(again, sent[5..]);
}

/// Needs the broker's own command line: `LOCKSTEP_TEST_AMQP_CTL`, a program that passes its words to `rabbitmqctl`.
#[tokio::test]
async fn fa_04_a_broker_without_memory_is_refused_at_once_and_still_takes_acknowledgements() {
    let (Some(broker), Some(ctl)) = (Broker::given(), std::env::var_os("LOCKSTEP_TEST_AMQP_CTL")) else { return };
    let limit = |share: &'static str| {
        let done = std::process::Command::new(&ctl).args(["set_vm_memory_high_watermark", share]).output().unwrap();
        assert!(done.status.success());
    };
    let queue = Queue::open(&broker.url()).await.unwrap();
    publish(&queue, 2).await;
    let taken = take(&queue, 2).await;

    limit("0");
    let refused = until_refused(&queue).await;
    assert!(matches!(refused, QueueError::BrokerBlocked { .. }), "{refused}");
    let began = Instant::now();
    queue.publish(&message()).await.unwrap_err();
    assert!(began.elapsed() < AT_ONCE, "took {:?}", began.elapsed());
    assert!(matches!(publishing(&queue), Condition::Blocked(_)));
    queue.ack(&tags(&taken)).await.unwrap();
    tokio::time::timeout(AGES, async {
        while queue.depth().await.unwrap().messages > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();

    limit("0.4");
    let took = until_kept(&queue).await;
    assert!(took < Duration::from_secs(5), "back after {took:?}");
}

//! What every queue owes us, on each variant: the file always, RabbitMQ where `LOCKSTEP_TEST_AMQP_URL` names a
//! throw-away broker. A new variant gets a `World` and all of these tests.

#![allow(clippy::unwrap_used, missing_docs)]

mod broker;
mod contract;
mod embedded;
mod file;
mod proxy;
mod rabbit;
mod world;

macro_rules! on_every_queue {
    ($($test:ident)*) => {
        mod on_embedded {
            $(#[tokio::test]
            async fn $test() {
                crate::contract::$test(crate::world::World::Embedded(crate::file::File::new())).await;
            })*
        }
        mod on_rabbit {
            $(#[tokio::test]
            async fn $test() {
                let Some(broker) = crate::broker::Broker::given() else { return };
                crate::contract::$test(crate::world::World::Rabbit(broker)).await;
            })*
        }
    };
}

on_every_queue! {
    g_01_a_published_hint_survives_the_loss_of_every_process
    an_unacknowledged_hint_comes_again_after_its_process_is_lost_and_an_acknowledged_one_does_not
    a_taken_hint_is_nobody_elses_until_it_is_given_back
    bi_45_an_undecodable_message_is_parked_alone
    a_thousand_publishers_lose_nothing
    a_tag_never_comes_twice_so_a_late_acknowledgement_harms_nobody
    a_publish_between_an_empty_take_and_the_wait_is_not_missed
    a_waiting_worker_is_woken_by_a_publish_of_this_process_and_of_another
    waiting_for_nothing_ends
    depth_counts_what_is_not_acknowledged
    fa_05_a_marked_queue_is_recognised_by_every_process
    a_closed_queue_says_so_and_what_was_handed_in_before_is_kept
    processes_that_start_at_once_open_one_queue
}

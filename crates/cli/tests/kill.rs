//! G-01, G-14, G-20, FA-17, FA-18: `lockstep serve` is killed at every named point, and at random, under a stream of
//! changes; afterwards every record is what the simulator says, and nothing that was answered 202 is lost.
//!
//! The same with a process per role on PostgreSQL and RabbitMQ, which are killed, frozen and blocked too, and what else FA-01 to FA-27
//! want on them.
//!
//! `LOCKSTEP_PROVE_KILLS=200` kills more often at random; `LOCKSTEP_PROVE_SEED=N` at other moments;
//! `LOCKSTEP_PROVE_BACKLOG=1000000` lets more hints pile up (FA-25).
#![allow(clippy::unwrap_used)]

#[path = "kill/encrypted.rs"]
mod encrypted;
#[path = "kill/faults.rs"]
mod faults;
#[path = "kill/full_disk.rs"]
mod full_disk;
#[path = "kill/plant.rs"]
mod plant;
#[path = "kill/points.rs"]
mod points;
#[path = "kill/services.rs"]
mod services;
#[path = "kill/stand.rs"]
mod stand;
#[path = "cli/workbench.rs"]
#[allow(dead_code)]
mod workbench;

use std::collections::BTreeSet;
use std::time::Duration;

use points::{Moment, POINTS};
use stand::Stand;
use workbench::blocking;

const RANDOM_KILLS: u64 = 5;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A point that no test kills at is a hole in the proof.
#[test]
fn every_point_in_the_source_is_killed_at() {
    let named: BTreeSet<String> = POINTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(points::in_source(), named);
}

async fn killed_at_points_of(moment: Moment) {
    let mut stand = Stand::build().await;
    blocking(move || {
        stand.settle();
        for (name, _) in POINTS.iter().filter(|(_, of)| *of == moment) {
            stand.die_at(name, moment);
        }
        stand.conclude();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g_01_killed_at_every_point_of_a_change_nothing_is_lost() {
    killed_at_points_of(Moment::Change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g_14_killed_at_every_point_of_longer_work_nothing_is_done_twice() {
    killed_at_points_of(Moment::Group).await;
    killed_at_points_of(Moment::Sync).await;
    killed_at_points_of(Moment::Rules).await;
    killed_at_points_of(Moment::Delta).await;
}

/// M7: between the archived record and the one that takes its place, and around the commit of both.
#[tokio::test(flavor = "multi_thread")]
async fn g_20_killed_within_a_change_of_kind_nobody_ever_has_two_logins() {
    let mut stand = Stand::build().await;
    blocking(move || {
        stand.settle();
        for point in ["store.archived", "store.archived:3", "due.before_commit", "store.before_commit", "due.committed"]
        {
            stand.die_at(point, Moment::Kind);
        }
        stand.conclude();
        stand.kinds_changed();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fa_19_killed_at_every_point_of_a_renewal_notifications_go_on() {
    killed_at_points_of(Moment::Renewal).await;
}

/// Each on an installation of its own: an intent just left behind keeps the next create waiting.
#[tokio::test(flavor = "multi_thread")]
async fn fa_19_killed_at_every_point_of_subscribing_nothing_is_lost() {
    for (name, _) in POINTS.iter().filter(|(_, of)| *of == Moment::Subscribing) {
        let mut stand = Stand::build().await;
        blocking(move || {
            stand.die_at(name, Moment::Subscribing);
            stand.conclude();
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g_01_killed_at_random_nothing_is_lost_and_nothing_is_done_twice() {
    let (kills, seed) = (number("LOCKSTEP_PROVE_KILLS", RANDOM_KILLS), number("LOCKSTEP_PROVE_SEED", 1));
    let mut stand = Stand::build().await;
    blocking(move || {
        stand.settle();
        let mut chance = stand::Chance::seeded(seed);
        for kill in 0..kills {
            stand.die_after(Duration::from_millis(100 + chance.below(1_900)), &mut chance);
            if kill % 50 == 49 {
                stand.conclude();
            }
        }
        stand.conclude();
    })
    .await;
}

//! Generated histories (guarantees.md §6): a small tenant lives through changes, faults and crashes on a simulated clock.
//! At every step, and at the end, Lockstep is held against a reference model that was written independently.
//!
//! A seed that fails is printed; `LOCKSTEP_HISTORY_SEED=N` plays it again, with everything that happened.
//! `LOCKSTEP_HISTORIES=20000 LOCKSTEP_HISTORY_FROM=N` plays many.

mod admin;
pub mod brake;
pub mod check;
mod faults;
pub mod operation;
pub mod rulebook;
pub mod stage;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lockstep_store::ConnectionState;
use operation::{Operation, Play, draw, pause};
use stage::Stage;
use tokio::time::Instant;

/// Histories played at a time; they mostly wait for each other's timers.
const AT_ONCE: usize = 12;
/// Things that happen in one history.
const OPERATIONS: u64 = 20;
/// The client's breaker rests up to 30 s of real time, and a lost probe is awaited for 20 s more; a machine with much
/// else to do takes longer.
const RECOVERED_WITHIN: Duration = Duration::from_secs(300);

/// One history; what went wrong, with everything that had happened.
async fn play(seed: u64) -> Result<(), String> {
    let mut stage = Stage::set(seed, Play::Everything).await;
    let ended = live(&mut stage, OPERATIONS, Play::Everything).await;
    let ended = match ended {
        Ok(()) => come_to_rest(&mut stage).await,
        wrong => wrong,
    };
    conclude(stage, ended).await
}

/// Lets things happen, and checks whenever all is quiet.
pub async fn live(stage: &mut Stage, operations: u64, play: Play) -> Result<(), String> {
    check::step(stage).await?;
    for _ in 0..operations {
        let Some(operation) = stage.draw(|chance, cast| draw(chance, cast, play)) else { continue };
        stage.play(&operation).await;
        let Some(span) = pause(&mut stage.chance) else {
            stage.world.clock.advance(Duration::from_millis(7));
            continue;
        };
        stage.world.quiet().await;
        check::step(stage).await?;
        stage.pass(span).await;
        check::step(stage).await?;
    }
    Ok(())
}

/// The faults end, `t_missed` and the longest agreement pass: now everything must agree. A connection that fell back
/// into trouble meanwhile (its client's breaker rests in real time, the clock here does not) is given the same again once.
pub async fn come_to_rest(stage: &mut Stage) -> Result<(), String> {
    stage.play(&Operation::ClearFaults).await;
    stage.play(&Operation::Resume).await;
    for _ in 0..2 {
        recover(stage).await?;
        for seconds in [1, 10, 20, 30].into_iter().chain([120; 7]) {
            stage.pass(Duration::from_secs(seconds)).await;
            check::step(stage).await?;
        }
        if stage.world.connection_now().await.state == ConnectionState::Active {
            break;
        }
    }
    check::end(stage).await
}

/// `t_back`: a client that was told to wait waits in real time, so the simulated clock gives it some.
async fn recover(stage: &mut Stage) -> Result<(), String> {
    let deadline = Instant::now() + RECOVERED_WITHIN;
    while stage.world.connection_now().await.state != ConnectionState::Active {
        if Instant::now() > deadline {
            return Err("the connection did not recover".to_owned());
        }
        stage.pass(Duration::from_secs(30)).await;
        check::step(stage).await?;
    }
    Ok(())
}

/// Takes the stage down; of a history that went wrong everything that had happened is told.
pub async fn conclude(stage: Stage, ended: Result<(), String>) -> Result<(), String> {
    let told = match ended {
        Ok(()) => Ok(()),
        Err(wrong) => {
            let dossier = check::dossier(&stage, &wrong).await;
            Err(format!("{wrong}\n{}\n{dossier}", stage.trail.join("\n")))
        }
    };
    stage.world.stop().await;
    told
}

/// Plays these seeds and fails with those that went wrong.
async fn play_all(seeds: impl IntoIterator<Item = u64>) {
    let failures = Arc::new(std::sync::Mutex::new(Vec::new()));
    let one = |seed: u64| {
        let failures = Arc::clone(&failures);
        async move {
            let wrong = match tokio::spawn(play(seed)).await {
                Ok(Ok(())) => return,
                Ok(Err(wrong)) => wrong,
                Err(panic) => panic.to_string(),
            };
            println!("LOCKSTEP_HISTORY_SEED={seed}: {wrong}\n");
            failures.lock().expect("nobody panics here").push(seed);
        }
    };
    futures::stream::iter(seeds).for_each_concurrent(AT_ONCE, one).await;
    let failures = std::mem::take(&mut *failures.lock().expect("nobody panics here"));
    assert!(failures.is_empty(), "histories that went wrong: {failures:?}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// The seeds asked for by the environment, or these.
fn seeds(block: u64) -> Vec<u64> {
    match (number("LOCKSTEP_HISTORY_SEED"), number("LOCKSTEP_HISTORIES")) {
        (Some(seed), _) if block == 0 => vec![seed],
        (None, Some(many)) if block == 0 => {
            let from = number("LOCKSTEP_HISTORY_FROM").unwrap_or(0);
            (from..from + many).collect()
        }
        (None, None) => (block * 50..block * 50 + 50).collect(),
        _ => Vec::new(),
    }
}

macro_rules! histories {
    ($($name:ident: $block:literal),*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            play_all(seeds($block)).await;
        }
    )*};
}

histories!(
    histories_0_to_49: 0,
    histories_50_to_99: 1,
    histories_100_to_149: 2,
    histories_150_to_199: 3,
    histories_200_to_249: 4,
    histories_250_to_299: 5
);

//! `lockstep`: one binary for everything. Commands open the store and write rows in short transactions; the processes
//! that do the lasting work are started by `lockstep serve`.
//!
//! Start at [`args`] (what can be typed), then `commands/`, one file a command; what several commands share stands
//! beside them: [`connecting`] and [`rules`] are also what the demo uses, so that it shows nothing the commands cannot do.
//!
//! Invariant: no SQL, no Graph call of its own and no decision about people; a command never talks to a running process.

mod app;
mod args;
mod commands;
mod connecting;
mod demo;
mod failure;
mod health;
#[cfg(debug_assertions)]
mod kill_point;
mod logging;
mod operator;
mod output;
mod rules;
mod settings;
mod stop;
mod syncing;
mod tracing_export;
mod word;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match commands::run(args::Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&format!("error: {failure}"));
            failure.exit_code()
        }
    }
}

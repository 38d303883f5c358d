//! The commands, one file each.

pub mod audit;
pub mod bench;
pub mod connection;
pub mod demo;
pub mod event;
pub mod hold;
pub mod migrate;
pub mod record;
pub mod review;
pub mod rule;
pub mod serve;
pub mod simulate;
pub mod subscription;

use clap::Args;

use crate::app::App;
use crate::args::{Cli, Command};
use crate::failure::{Failure, Outcome};
use crate::logging;
use crate::output::Output;

/// How much a listing shows.
#[derive(Args, Clone, Copy)]
pub struct Page {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
}

/// Runs what was typed. The demo, the simulator and the measurements need no settings, so that they run
/// anywhere.
pub async fn run(cli: Cli) -> Outcome {
    if cli.output == Output::Csv && !matches!(cli.command, Command::Rule(rule::Rule::Plan(_))) {
        return Err(Failure::Usage(
            "only `lockstep rule plan` prints CSV; other commands print tables or JSON".to_owned(),
        ));
    }
    match cli.command {
        Command::Demo(demo) => return demo.run(cli.output.format()).await,
        Command::Simulate(simulate) => return simulate.run(cli.output.format()).await,
        Command::Bench(bench) => return bench.run(&cli.settings, cli.output.format()).await,
        _ => {}
    }
    let app = App::load(&cli.settings, cli.output.format())?;
    if let Command::Serve(serve) = cli.command {
        return serve.run(&app).await;
    }
    logging::start_quiet();
    match cli.command {
        Command::Migrate => migrate::run(&app).await,
        Command::Connection(connection) => connection.run(&app).await,
        Command::Rule(rule) => rule.run(&app, cli.output).await,
        Command::Record(record) => record.run(&app).await,
        Command::Event(event) => event.run(&app).await,
        Command::Hold(hold) => hold.run(&app).await,
        Command::Review(review) => review.run(&app).await,
        Command::Subscription(subscription) => subscription.run(&app).await,
        Command::Audit(audit) => audit.run(&app).await,
        Command::Demo(_) | Command::Simulate(_) | Command::Bench(_) | Command::Serve(_) => Ok(()),
    }
}

//! What can be typed after `lockstep`.

use clap::{Parser, Subcommand};

use crate::commands::{
    audit, bench, connection, demo, event, hold, record, review, rule, serve, simulate, subscription,
};
use crate::output::Output;
use crate::settings::SettingFlags;

/// Keeps an application's people in step with Microsoft Entra ID.
#[derive(Parser)]
#[command(name = "lockstep", version, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Tables for people, JSON for programs; `rule plan` also prints CSV
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub settings: SettingFlags,
}

const AFTER_HELP: &str = "\
Settings come from lockstep.toml, then LOCKSTEP_* variables, then flags; the later wins.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused (needs --yes, or a check failed).";

/// The commands there are.
#[derive(Subcommand)]
pub enum Command {
    /// Show it all with a simulated tenant: nothing to install, nothing kept
    Demo(demo::Demo),
    /// Take notifications and keep records in step
    Serve(serve::Serve),
    /// Run a simulated Microsoft tenant to try Lockstep against
    Simulate(simulate::Simulate),
    /// Bring the store's schema up to date
    Migrate,
    /// Entra tenants that Lockstep is connected to
    #[command(subcommand)]
    Connection(connection::Connection),
    /// Which groups give which access
    #[command(subcommand)]
    Rule(rule::Rule),
    /// People as the application sees them
    #[command(subcommand)]
    Record(record::Record),
    /// Notifications and what became of them
    #[command(subcommand)]
    Event(event::Event),
    /// Changes kept back by the safety brake
    #[command(subcommand)]
    Hold(hold::Hold),
    /// Questions only a person can answer
    #[command(subcommand)]
    Review(review::Review),
    /// What Microsoft was asked to notify about
    #[command(subcommand)]
    Subscription(subscription::Subscription),
    /// Who changed what, and whether that is still what was written
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Measure how fast it is on this machine; needs nothing, keeps nothing
    Bench(bench::Bench),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}

//! PostgreSQL and RabbitMQ that one test owns, so that it may kill, stop, block and start them again (FA-01 to FA-10).
//!
//! Each runs as a plain process on loopback with data of its own and is gone with the test. A machine without the
//! programs skips such a test and says so; `scripts/test.sh` sets `LOCKSTEP_TEST_SERVICES`, and then they must be there.

mod postgres;
mod program;
mod rabbit;
mod small_disk;

use std::fmt::Display;

pub use postgres::OwnPostgres;
pub use rabbit::OwnRabbit;

/// Set when tests that need services must run.
const REQUIRED: &str = "LOCKSTEP_TEST_SERVICES";

/// Says why a test is skipped, or fails it where services are required.
fn skip(missing: &impl Display) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, but {missing}");
    eprintln!("SKIPPED: {missing}; install it to run this test");
}

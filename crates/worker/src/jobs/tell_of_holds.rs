//! Tells the log of holds that wait for a person, and of people who stay by a no although Microsoft shows them as out
//! (FA-29, G-16): at once, and again each day for as long as it is so.

use tracing::warn;

use crate::context::Context;
use crate::error::WorkerError;

pub(crate) async fn run(ctx: &Context) -> Result<(), WorkerError> {
    for alarm in ctx.store.take_hold_alarms().await? {
        metrics::counter!("lockstep_hold_alarms_total").increment(1);
        let (id, connection, held, kept) = (alarm.id, alarm.connection, alarm.held, alarm.kept);
        if held > 0 {
            warn!(hold.id = %id, connection.id = %connection, people = held,
                "Hold {id} keeps {held} people in until somebody answers ({}): `lockstep hold show {id}`", alarm.limit);
        }
        if kept > 0 {
            warn!(hold.id = %id, connection.id = %connection, people = kept,
                "{kept} people stay although Microsoft shows them as out: hold {id} was rejected");
        }
    }
    Ok(())
}

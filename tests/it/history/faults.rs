//! What goes wrong between Microsoft and Lockstep.

use lockstep_simulator::{Fault, Simulator};
use lockstep_tests::Chance;

use crate::history::operation::{MOST_LAG_MS, Operation};

/// Every kind of read has a replica of its own.
const LAGGING: [&str; 10] = [
    "GET /users",
    "GET /users/{id}",
    "GET /users/delta",
    "GET /users/{id}/transitiveMemberOf",
    "GET /users/{id}/memberOf",
    "GET /groups/{id}",
    "GET /groups/delta",
    "GET /groups/{id}/transitiveMembers",
    "GET /groups/{id}/transitiveMemberOf",
    "GET /directory/deletedItems/{id}",
];

/// Makes the network and Microsoft behave like this from now on.
pub fn set(simulator: &Simulator, chance: &mut Chance, operation: &Operation) {
    let share = |percent: u64| percent as f64 / 100.0;
    let sent = || Fault::on("notifications");
    match *operation {
        Operation::NotificationFaults { lost, doubled, held, shuffled } => {
            simulator.set_fault(Fault { probability: share(lost), drop: true, ..sent() });
            simulator.set_fault(Fault { probability: share(doubled), duplicate: true, ..sent() });
            let hold = Fault { hold_seconds: Some(90), hold_random: true, ..sent() };
            simulator.set_fault(Fault { probability: share(held), ..hold });
            let reorder = if shuffled { 0.5 } else { 0.0 };
            simulator.set_fault(Fault { probability: reorder, reorder: true, ..sent() });
        }
        Operation::Lag => {
            for route in LAGGING {
                let (lag, random) = (chance.below(MOST_LAG_MS + 1), chance.percent(50));
                simulator.set_fault(Fault { lag_ms: Some(lag), lag_random: random, ..Fault::on(route) });
            }
        }
        Operation::GraphFaults { status, percent } => {
            let retry_after = (status == 429).then_some(1);
            simulator.set_fault(Fault {
                probability: share(percent),
                status: Some(status),
                retry_after,
                ..Fault::default()
            });
        }
        _ => simulator.clear_faults(),
    }
}

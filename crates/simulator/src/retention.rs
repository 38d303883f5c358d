//! Deleted items are kept 30 days, then purged (`graph-contract.md`, section 6).

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::directory::object::Life;
use crate::directory::schema::Kind;
use crate::sync::read;
use crate::tenant::Tenant;
use crate::world::World;

/// How long deleted items are kept; microseconds.
const KEPT: i64 = 30 * 24 * 3600 * 1_000_000;
/// How often it is looked at, in simulated time.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Purges what was deleted long ago, again and again, until the simulator stops.
pub(crate) async fn keep(world: Arc<World>) {
    let rounds = async {
        loop {
            world.clock.sleep(INTERVAL).await;
            for state in world.tenants() {
                purge(&Tenant::of(world.clone(), state), world.clock.now_micros());
            }
        }
    };
    tokio::select! {
        () = rounds => {}
        () = world.sender.stopped() => {}
    }
}

fn purge(tenant: &Tenant, now: i64) {
    for user in outdated(tenant, Kind::User, now) {
        // Somebody may have restored or purged it in between, which is as good.
        let _ = tenant.delete_user(user, true);
    }
    for group in outdated(tenant, Kind::Group, now) {
        let _ = tenant.delete_group(group, true);
    }
}

fn outdated(tenant: &Tenant, kind: Kind, now: i64) -> Vec<Uuid> {
    let directory = read(&tenant.state().directory);
    let all = directory.now().all(kind, None);
    all.filter(|seen| matches!(seen.life, Life::Deleted { at } if at + KEPT < now)).map(|seen| seen.id).collect()
}

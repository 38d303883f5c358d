//! How far each connection is from its brake: shown before it happens. Reads only, and takes no lock.

use std::collections::BTreeMap;

use lockstep_core::brake::{BrakeLimits, CauseClass, Counted, Forecast, LONG, WindowCounts, forecast};
use lockstep_core::settings::Settings;
use lockstep_core::{ConnectionId, Timestamp};

use super::{class_from, counted, windows_from};
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::sql;

const OPERATION: &str = "forecasting the brake";
const CONNECTIONS: &str = "SELECT c.id, c.settings, coalesce(p.active, 0) AS active
    FROM connection c LEFT JOIN people_count p ON p.connection_id = c.id";
const COUNTED: &str = "SELECT connection_id, class, at FROM removal WHERE at > $1 AND NOT exempt";
const CAUSES: [CauseClass; 2] = [CauseClass::LostScope, CauseClass::Revoked];

/// What is counted now, of one connection or of all.
#[derive(Default)]
struct Counts {
    windows: WindowCounts,
    people: Vec<Counted>,
}

/// Everything at one moment.
struct Brakes {
    now: Timestamp,
    limits: BTreeMap<ConnectionId, BrakeLimits>,
    here: BTreeMap<ConnectionId, Counts>,
    everywhere: Counts,
}

impl Store {
    /// What would trip the brake of each connection: for lost scope, then for verified revocations.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn brake_forecasts(&self) -> Result<BTreeMap<ConnectionId, [Forecast; 2]>, StoreError> {
        let mut brakes = self.brakes().await?;
        for row in self.all(OPERATION, sql(COUNTED).bind(brakes.now - LONG).everywhere()).await? {
            let counted = Counted { at: row.at("at")?, class: row.word("removal", "class", class_from)? };
            brakes.here.entry(ConnectionId(row.get("connection_id")?)).or_default().people.push(counted);
            brakes.everywhere.people.push(counted);
        }
        Ok(brakes.forecasts())
    }

    /// How many people may lose access before the next one is held, by cause as [`Store::brake_forecasts`] has them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) async fn brake_room(&self) -> Result<BTreeMap<ConnectionId, [u32; 2]>, StoreError> {
        let forecasts = self.brakes().await?.forecasts();
        let room = |forecast: Forecast| forecast.more.saturating_sub(1);
        Ok(forecasts.into_iter().map(|(connection, both)| (connection, both.map(room))).collect())
    }

    async fn brakes(&self) -> Result<Brakes, StoreError> {
        let now = self.now();
        let (mut limits, mut active) = (BTreeMap::new(), BTreeMap::new());
        for row in self.all(OPERATION, sql(CONNECTIONS).everywhere()).await? {
            let id = ConnectionId(row.get("id")?);
            let settings: Settings = row.json("connection", "settings")?;
            limits.insert(id, settings.brake);
            active.insert(id, row.get::<i64>("active")?);
        }
        let query = counted(sql("SELECT connection_id, "), now).push(" GROUP BY connection_id");
        let mut everywhere = Counts::default();
        let mut here = BTreeMap::new();
        for row in self.all(OPERATION, query.everywhere()).await? {
            let id = ConnectionId(row.get("connection_id")?);
            // Those of a connection that was removed count for the installation.
            let windows = windows_from(&row, active.remove(&id).unwrap_or(0))?;
            add(&mut everywhere.windows, &windows);
            here.insert(id, Counts { windows, people: Vec::new() });
        }
        for (id, active) in active {
            let active = super::small(active);
            let windows =
                WindowCounts { active_at_start_short: active, active_at_start_long: active, ..Default::default() };
            add(&mut everywhere.windows, &windows);
            here.insert(id, Counts { windows, people: Vec::new() });
        }
        Ok(Brakes { now, limits, here, everywhere })
    }
}

impl Brakes {
    fn forecasts(&self) -> BTreeMap<ConnectionId, [Forecast; 2]> {
        let quiet = Counts::default();
        let of = |(id, limits): (&ConnectionId, &BrakeLimits)| {
            let here = self.here.get(id).unwrap_or(&quiet);
            let whole = &self.everywhere;
            let forecast =
                |class| forecast(limits, &here.windows, &whole.windows, &here.people, &whole.people, class, self.now);
            (*id, CAUSES.map(forecast))
        };
        self.limits.iter().map(of).collect()
    }
}

fn add(sum: &mut WindowCounts, more: &WindowCounts) {
    sum.short_lost_scope = sum.short_lost_scope.saturating_add(more.short_lost_scope);
    sum.short_revoked = sum.short_revoked.saturating_add(more.short_revoked);
    sum.long_lost_scope = sum.long_lost_scope.saturating_add(more.long_lost_scope);
    sum.long_revoked = sum.long_revoked.saturating_add(more.long_revoked);
    sum.active_at_start_short = sum.active_at_start_short.saturating_add(more.active_at_start_short);
    sum.active_at_start_long = sum.active_at_start_long.saturating_add(more.active_at_start_long);
}

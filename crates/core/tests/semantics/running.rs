//! A connection in trouble (C5); preview (M12).

use std::time::Duration;

use lockstep_core::ErrorClass;
use lockstep_core::brake::BrakeLimits;
use lockstep_core::retry::connection_retry;
use lockstep_core::rules_file::RulesFile;
use lockstep_core::trial::{Tried, try_on};
use serde_json::json;

use crate::world::*;

sentences! {
    retry_after: "Throttling, 5xx and network: transient, `Retry-After` honoured, never switches anything off." => {
        let asked = ErrorClass::Transient { retry_after: Some(Duration::from_secs(77)) };
        assert_eq!(connection_retry(9, asked), Duration::from_secs(77));
        let mut world = World::with_staff_ada();
        world.pass(24 * 3600);
        assert!(world.settles().steps.is_empty() && world.is_active(), "time alone switches nobody off");
    }

    doubling: "Next try after 120 s, doubling to an hour, for ever: never switched off silently." => {
        let waits: Vec<u64> = (1..=7).map(|failures| connection_retry(failures, ErrorClass::Permanent).as_secs()).collect();
        assert_eq!(waits, [120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(connection_retry(u32::MAX, ErrorClass::Permanent).as_secs(), 3600);
    }

    probed: "Throttling, 5xx and network are probed at least every 30 s." => {
        let network = ErrorClass::Transient { retry_after: None };
        assert!([0, 1, 7, 1000, u32::MAX].into_iter().all(|failures| connection_retry(failures, network).as_secs() <= 30));
    }

    /// `rule try`, one person's share of it.
    same_engine: "The same engine over the same data with the writing side absent (not an `if` around the writes)." => {
        let file = RulesFile::parse("[fields]\nteam = 'upper(user.jobTitle)'\n").expect("a file");
        let mut world = World::empty();
        world.fields = file.fields.clone();
        world.reads(json!({}), &[STAFF, ADMINS]);
        world.settles();
        let trial = try_on(
            &Tried {
                profile: &profile(json!({})),
                groups: &groups(&[(STAFF, Some(true)), (ADMINS, Some(true))]),
                rules: &world.rules,
                fields: &file.fields,
                defaults: &file.defaults,
                settings: &file.settings,
                guests: false,
            },
            world.now,
        );
        assert_eq!((trial.access, trial.role), (world.is_active(), world.record().role.clone()));
        for (name, value) in &world.record().fields {
            let tried = trial.fields.iter().find(|field| field.name == *name);
            assert_eq!(tried.map(|field| &field.value), Some(value), "{name}");
        }
    }

    /// Guarantees §1.
    limits: "against the limits of `guarantees.md`" => {
        let limits = BrakeLimits::default();
        assert_eq!((limits.lost_scope_people, limits.lost_scope_percent), (20, 10));
        assert_eq!((limits.revoked_people, limits.revoked_percent, limits.both_percent), (50, 30, 50));
        assert_eq!((limits.daily_lost_scope_people, limits.daily_lost_scope_percent), (60, 30));
        assert_eq!((limits.daily_revoked_people, limits.daily_revoked_percent, limits.daily_both_percent), (150, 60, 75));
        assert_eq!((limits.small_below, limits.small_people), (6, 1));
        assert_eq!((limits.installation_people, limits.installation_percent), (200, 5));
    }
}

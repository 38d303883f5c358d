//! Leaving and coming back (D1 to D5).

use lockstep_core::mirror::{ProfileFound, Source};
use lockstep_core::plan::{Step, WaitReason};
use lockstep_core::record::{Reason, Status};
use serde_json::json;

use crate::world::*;

sentences! {
    /// G-17.
    soft_deleted: "Soft-deleted in Entra arrives as `updated`: 404 by id and present in deleted items = deactivated, restorable." => {
        let mut world = World::with_staff_ada();
        let id = world.record().id;
        world.reads_404(true);
        world.settles();
        assert_eq!((world.is_active(), world.reasons(), world.record().id), (false, vec![Reason::UpstreamDeleted], id));
        assert_eq!(world.record().status, Status::Inactive, "nothing is deleted");
    }

    /// G-10 (b).
    permanently: "Final when permanently deleted." => {
        let mut world = World::with_staff_ada();
        world.reads_404(false);
        let plan = world.settles();
        assert!(world.is_active(), "one 404 alone proves nothing");
        assert_eq!(plan.wait.map(|wait| wait.reason), Some(WaitReason::MissingAgree));
        world.pass(119);
        world.reads_404(false);
        world.settles();
        assert!(world.is_active());
        world.pass(1);
        world.reads_404(false);
        world.settles();
        assert_eq!(world.reasons(), [Reason::UpstreamDeleted]);
    }

    /// D4, G-17.
    restored: "Restored, re-enabled or created again with the same object id: the same record comes back, its profile refreshed, its rule computed from *current* groups." => {
        let mut world = World::with_staff_ada();
        let id = world.record().id;
        world.reads_404(true);
        world.settles();
        world.pass(3600);
        world.reads(json!({"jobTitle": "Lead"}), &[ADMINS]);
        world.settles();
        assert!(world.is_active());
        let record = world.record();
        assert_eq!((record.id, record.role.as_deref()), (id, Some("role-11")));
        assert_eq!(record.fields["job_title"], "Lead");

        world.reads_404(true);
        world.settles();
        world.pass(3600);
        world.reads(json!({}), &[]);
        world.settles();
        assert!(!world.is_active(), "restored into no mapped group: no access");
    }

    set_of_reasons: "An inactive record has a *set* of reasons: `upstream_disabled`, `upstream_deleted`, `out_of_scope`, `guest`, `by_hand`, `kind_changed` (archived). It is active exactly when the set is empty." => {
        let words = [
            (Reason::UpstreamDisabled, "upstream_disabled"), (Reason::UpstreamDeleted, "upstream_deleted"),
            (Reason::OutOfScope, "out_of_scope"), (Reason::Guest, "guest"), (Reason::ByHand, "by_hand"),
            (Reason::KindChanged, "kind_changed"),
        ];
        assert!(words.iter().all(|(reason, word)| json!(reason) == json!(word)));
        let mut world = World::with_staff_ada();
        world.reads(json!({"accountEnabled": false, "userType": "Guest"}), &[STAFF]);
        world.settles();
        assert_eq!(world.reasons(), [Reason::UpstreamDisabled, Reason::Guest]);
        world.pass(3600);
        world.reads(json!({"userType": "Guest"}), &[STAFF]);
        world.settles();
        assert_eq!((world.is_active(), world.reasons()), (false, vec![Reason::Guest]), "one of two is gone");
        world.reads(json!({}), &[STAFF]);
        world.settles();
        assert!(world.is_active() && world.reasons().is_empty());
    }

    by_hand: "The sync adds and removes only its own reasons: someone an admin switched off by hand stays off through any number of disables and restores." => {
        let mut world = World::with_staff_ada();
        world.inactive_for(&[Reason::ByHand]);
        for _ in 0..3 {
            world.reads(json!({"accountEnabled": false}), &[STAFF]);
            world.settles();
            assert_eq!(world.reasons(), [Reason::UpstreamDisabled, Reason::ByHand]);
            world.pass(3600);
            world.reads(json!({}), &[STAFF]);
            world.settles();
            assert_eq!((world.is_active(), world.reasons()), (false, vec![Reason::ByHand]));
            world.pass(3600);
        }
    }

    held: "(Held people are still active; a hold is not a reason.)" => {
        let mut world = World::with_staff_ada();
        world.reads(json!({"accountEnabled": false}), &[STAFF]);
        let first = world.plan();
        assert!(matches!(&first.steps[..], [Step::Deactivate { .. }]) && world.is_active());
        world.pass(3600);
        assert_eq!(world.plan().steps, first.steps, "what was not taken is still wanted");
    }

    lost_scope: "Lost scope is confirmed by a second read 10 s later; disabled and deleted are not delayed." => {
        let mut world = World::with_staff_ada();
        world.reads(json!({}), &[]);
        let first = world.settles();
        assert!(world.is_active());
        assert_eq!(first.wait.map(|wait| (wait.at, wait.reason)), Some((world.now + std::time::Duration::from_secs(10), WaitReason::ScopeAgree)));
        world.pass(9);
        world.reads(json!({}), &[]);
        world.settles();
        assert!(world.is_active());
        world.pass(1);
        world.reads(json!({}), &[]);
        world.settles();
        assert_eq!(world.reasons(), [Reason::OutOfScope]);

        for deleted in [false, true] {
            let mut world = World::with_staff_ada();
            if deleted { world.reads_404(true) } else { world.reads(json!({"accountEnabled": false}), &[STAFF]) }
            world.settles();
            assert!(!world.is_active(), "at once");
        }
    }

    identity_stays: "The sign-in identity (tenant id, object id) stays on a deactivated record." => {
        let mut world = World::with_staff_ada();
        world.reads_404(true);
        world.settles();
        assert_eq!((world.is_active(), world.record().entra_id), (false, Some(ada())));
    }

    /// G-09.
    failed_read: "a failed or partial read removes nobody; an empty listing removes nobody" => {
        let mut world = World::with_staff_ada();
        world.lists(json!({}), &[]);
        assert!(world.settles().steps.is_empty(), "an empty listing");
        world.lists(json!({"accountEnabled": false}), &[STAFF]);
        assert!(!world.settles().steps.iter().any(|step| matches!(step, Step::Deactivate { .. })), "a listing alone");
        world.merge(None, None);
        assert!(!world.settles().steps.iter().any(|step| matches!(step, Step::Deactivate { .. })), "nothing was read");
        assert!(world.is_active());
    }

    removal_creates_nothing: "A handler of a removal can never create anything." => {
        let mut world = World::empty();
        world.reads_404(true);
        assert!(world.settles().steps.is_empty());
        let mut world = World::empty();
        world.reads(json!({"accountEnabled": false}), &[STAFF]);
        assert!(world.settles().steps.is_empty());
        let mut world = World::empty();
        world.reads(json!({}), &[]);
        assert!(world.settles().steps.is_empty() && world.record.is_none());
    }

    /// G-06.
    read_now_and_converge: "An event is a hint, so replaying means *read now and converge*" => {
        let mut world = World::with_staff_ada();
        for groups in [&[STAFF][..], &[ADMINS], &[STAFF]] {
            world.pass(3600);
            world.reads(json!({"jobTitle": "Lead"}), groups);
            world.settles();
            for _ in 0..3 {
                world.pass(60);
                world.merge(Some((Source::ById, ProfileFound::Present(profile(json!({"jobTitle": "Lead"})).into()))), Some((Source::ById, groups)));
                assert!(world.settles().steps.is_empty(), "the same once more changes nothing");
            }
        }
    }
}

//! Kind change (M7, M8). Core's share; what the store makes of it is tested there.

use lockstep_core::plan::kind_change::{KindDecision, Next, RecordProtected, may_rename_or_delete};
use lockstep_core::record::{Kind, Reason, Status};
use serde_json::json;

use crate::household::Household;
use crate::world::*;

sentences! {
    two_reads: "Two membership reads at least 30 s apart must agree first." => {
        for (seconds, agreed) in [(1, false), (29, false), (30, true), (3600, true)] {
            let mut home = Household::of_staff_ada();
            home.world.reads(json!({}), &[CLIENTS]);
            assert!(matches!(home.decides(), KindDecision::Wait { .. }));
            home.world.pass(seconds);
            home.world.reads(json!({}), &[CLIENTS]);
            assert_eq!(matches!(home.decides(), KindDecision::Change(_)), agreed, "{seconds}");
        }
    }

    archived: "the old record is archived (`_Archived` appended to username and e-mail address, access off, sessions ended), a record of the new kind is created and linked" => {
        let mut home = Household::of_staff_ada();
        let change = home.changes_to(json!({}), &[CLIENTS]);
        let old = &home.world.former[0];
        assert_eq!((old.username.as_deref(), old.email.as_deref()), (Some("Ada_Archived"), Some("Ada@fabrikam.example_Archived")));
        assert_eq!(old.status, Status::Archived);
        assert!(old.reasons.contains(&Reason::KindChanged));
        assert!(matches!(&change.next, Next::Create { record, .. } if record.kind == Kind::Contact));
        assert_eq!(home.world.record().entra_id, Some(ada()));
    }

    reversible: "Previewed and reversible." => {
        let mut home = Household::of_staff_ada();
        let before = home.world.record().clone();
        home.changes_to(json!({}), &[CLIENTS]);
        home.changes_to(json!({}), &[STAFF]);
        let after = home.world.record();
        assert_eq!((after.id, &after.username, &after.email, after.status), (before.id, &before.username, &before.email, before.status));
    }

    in_use: "Relations stay on the archived record; an *archived* record that is in use can be neither renamed nor deleted by anybody (its archived name is written once, with the archiving)." => {
        let mut home = Household::of_staff_ada();
        home.world.record_mut().in_use = true;
        assert_eq!(may_rename_or_delete(home.world.record()), Ok(()), "it is not archived");
        let id = home.world.record().id;
        home.changes_to(json!({}), &[CLIENTS]);
        assert_eq!((home.world.former[0].id, home.world.former[0].username.as_deref()), (id, Some("Ada_Archived")));
        assert_eq!(may_rename_or_delete(&home.world.former[0]), Err(RecordProtected::InUse { record: id }));
    }

    way_back: "Returning to a former kind brings that person's archived record back (unless it is in use: then a new one); a second archive of the same name gets a number." => {
        for in_use in [false, true] {
            let mut home = Household::of_staff_ada();
            let id = home.world.record().id;
            home.changes_to(json!({}), &[CLIENTS]);
            home.world.former[0].in_use = in_use;
            home.changes_to(json!({}), &[STAFF]);
            assert_eq!(home.world.record().id == id, !in_use);
            let change = home.changes_to(json!({}), &[CLIENTS]);
            let expected = if in_use { "Ada_Archived2" } else { "Ada_Archived" };
            assert_eq!(change.archive.username.as_deref(), Some(expected));
        }
    }

    carried: "A kind change carries `by_hand` over to the new record." => {
        let mut home = Household::of_staff_ada();
        home.world.inactive_for(&[Reason::ByHand]);
        home.changes_to(json!({}), &[CLIENTS]);
        assert_eq!((home.world.record().status, home.world.reasons()), (Status::Inactive, vec![Reason::ByHand]));
    }

    old_rule_wins_again: "for a kind change: the old kind's rule wins again" => {
        let mut home = Household::of_staff_ada();
        home.world.reads(json!({}), &[CLIENTS]);
        home.decides();
        home.world.pass(60);
        home.world.reads(json!({}), &[STAFF, CLIENTS]);
        assert_eq!(home.decides(), KindDecision::Keep, "there is nothing left to hold");
    }
}

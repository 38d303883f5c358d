//! Guests (Y7).

use lockstep_core::matching::{Candidate, candidate_keys};
use lockstep_core::plan::Step;
use lockstep_core::record::Reason;
use lockstep_core::review::ReviewKind;
use serde_json::{Value, json};

use crate::world::*;

fn entering(guests: bool, changes: Value, others: Vec<Candidate>) -> World {
    let mut world = World::empty();
    (world.guests, world.others) = (guests, others);
    world.graph_knows_only_ada();
    world.reads(changes, &[STAFF]);
    world
}

sentences! {
    out_unless: "Out unless the connection says `guests = true`; recognised by `userType` or by an accepted invitation (members converted from guests exist)." => {
        for changes in [
            json!({"userType": "Guest", "externalUserState": "Accepted"}),
            json!({"userType": "Guest"}),
            json!({"userType": "Member", "externalUserState": "Accepted"}),
        ] {
            assert!(entering(false, changes.clone(), vec![]).plan().steps.is_empty(), "{changes}");
            assert!(matches!(&entering(true, changes.clone(), vec![]).plan().steps[..], [Step::Create(_)]), "{changes}");
            let mut world = World::with_staff_ada();
            world.reads(changes, &[STAFF]);
            world.settles();
            assert_eq!(world.reasons(), [Reason::Guest]);
        }
    }

    matched_on_mail: "Matched on `mail`, never on the `#EXT#` UPN." => {
        let upn = "ada_home.example#EXT#@fabrikam.example";
        let guest = json!({"userType": "Guest", "userPrincipalName": upn, "mail": null, "proxyAddresses": []});
        let holder = Candidate { email_key: Some(upn.to_lowercase()), username_key: None, ..imported_ada() };
        let world = entering(true, guest.clone(), vec![holder]);
        let plan = world.plan();
        assert!(plan.reviews.is_empty() && matches!(&plan.steps[..], [Step::Create(_)]), "{plan:?}");
        assert!(candidate_keys(&profile(guest), &world.settings).emails.is_empty());
    }

    no_takeover: "A guest never takes over an existing record by e-mail by itself." => {
        for changes in [json!({"userType": "Guest"}), json!({"externalUserState": "Accepted"})] {
            let plan = entering(true, changes, vec![imported_ada()]).plan();
            assert!(plan.steps.is_empty(), "{plan:?}");
            assert_eq!(plan.reviews.iter().map(|review| review.kind).collect::<Vec<_>>(), [ReviewKind::Link]);
        }
    }

    pending: "Invitations still pending are not in." => {
        for guests in [false, true] {
            let pending = json!({"userType": "Guest", "externalUserState": "PendingAcceptance"});
            assert!(entering(guests, pending, vec![]).plan().steps.is_empty());
        }
    }
}

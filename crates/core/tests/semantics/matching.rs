//! Matching (M3, TH-09).

use std::collections::BTreeSet;

use lockstep_core::matching::{AddressOwners, Candidate};
use lockstep_core::plan::{Plan, Step};
use lockstep_core::profile::address_key;
use lockstep_core::record::Status;
use lockstep_core::review::ReviewKind;
use serde_json::{Value, json};

use crate::world::*;

/// A new person, and these records already here; Graph knows only Ada by her address.
fn entering(changes: Value, others: Vec<Candidate>) -> (World, Plan) {
    let mut world = World::empty();
    world.others = others;
    world.graph_knows_only_ada();
    world.reads(changes, &[STAFF]);
    let plan = world.plan();
    (world, plan)
}

fn is_review(plan: &Plan) -> bool {
    let link = |review: &lockstep_core::review::NewReview| review.kind == ReviewKind::Link;
    plan.steps.is_empty() && plan.reviews.iter().all(link) && plan.reviews.len() == 1
}

sentences! {
    /// G-23.
    linked_already: "tenant id + object id already linked." => {
        let mut world = World::with_staff_ada();
        world.others = vec![imported_ada()];
        world.graph_knows_only_ada();
        world.reads(json!({"jobTitle": "Lead"}), &[STAFF]);
        let plan = world.plan();
        assert!(plan.reviews.is_empty() && matches!(&plan.steps[..], [Step::Update(_)]), "{plan:?}");
    }

    normalised: "normalised primary e-mail (trim, lower-case, stored as its own key column with a unique index, compared only there)." => {
        assert_eq!(address_key(" \tÄda@Fabrikam.EXAMPLE \n"), "äda@fabrikam.example");
        for mail in ["ADA@FABRIKAM.EXAMPLE", " ada@fabrikam.example "] {
            let (_, plan) = entering(json!({"mail": mail}), vec![imported_ada()]);
            assert_eq!(plan.steps, [Step::Link { record: record_id(500) }], "{mail}");
        }
    }

    aliases: "aliases (`proxyAddresses`) and UPN only as candidates for a review." => {
        let by = |key: &str| Candidate { email_key: Some(key.to_owned()), ..imported_ada() };
        for key in ["a.example@fabrikam.example", "upn@fabrikam.example"] {
            let (mut world, _) = entering(json!({"userPrincipalName": "upn@fabrikam.example"}), vec![by(key)]);
            world.owners = Some(AddressOwners { address: key.to_owned(), users: BTreeSet::from([ada()]) });
            let plan = world.plan();
            assert!(is_review(&plan), "{key}: {plan:?}");
        }
    }

    linked: "Exactly one candidate and all of TH-09's conditions hold (Graph itself is asked who else has that address): link; the local id and all that refers to it stay." => {
        let (mut world, plan) = entering(json!({}), vec![imported_ada()]);
        assert_eq!(plan.steps, [Step::Link { record: record_id(500) }]);
        world.owners = None;
        assert_eq!(world.plan().ask_address.as_deref(), Some("ada@fabrikam.example"), "Graph is asked first");
        assert!(world.plan().steps.is_empty());
        world.graph_knows_only_ada();
        world.settles();
        assert_eq!(world.record().id, record_id(500));
        assert!(!world.settles().steps.iter().any(|step| matches!(step, Step::Create(_) | Step::Link { .. })));
    }

    otherwise_review: "Otherwise a *link review*; nothing is written for this person's identity and everybody else goes on." => {
        let conditions: Vec<(&str, Candidate)> = vec![
            ("root", Candidate { root: true, ..imported_ada() }),
            ("another realm", Candidate { realm: "south".to_owned(), ..imported_ada() }),
            ("privileged", Candidate { privileged: true, ..imported_ada() }),
            ("archived", Candidate { status: Status::Archived, ..imported_ada() }),
            ("linked", Candidate { entra_id: Some(object(9)), ..imported_ada() }),
        ];
        for (what, candidate) in conditions {
            let (_, plan) = entering(json!({}), vec![candidate]);
            assert!(is_review(&plan), "{what}: {plan:?}");
        }
        let twin = Candidate { id: record_id(501), ..imported_ada() };
        assert!(is_review(&entering(json!({}), vec![imported_ada(), twin]).1), "two records");
        let (mut world, _) = entering(json!({}), vec![imported_ada()]);
        world.domains.clear();
        assert!(is_review(&world.plan()), "a domain that is not this connection's");
        let (mut world, _) = entering(json!({}), vec![imported_ada()]);
        let users = BTreeSet::from([ada(), object(9)]);
        world.owners = Some(AddressOwners { address: "ada@fabrikam.example".to_owned(), users });
        assert!(is_review(&world.plan()), "Graph knows two");
    }

    clash: "One clash never fails a run." => {
        let (_, clash) = entering(json!({}), vec![Candidate { root: true, ..imported_ada() }]);
        let (_, free) = entering(json!({}), vec![]);
        assert!(is_review(&clash) && matches!(&free.steps[..], [Step::Create(_)]), "each plan is one person's");
    }

    address_change: "*Address change in Entra*: the object id is the key, so update in place." => {
        let mut world = World::with_staff_ada();
        let id = world.record().id;
        world.reads(json!({"mail": "ada.new@fabrikam.example"}), &[STAFF]);
        world.settles();
        assert_eq!((world.record().id, world.record().email.as_deref()), (id, Some("ada.new@fabrikam.example")));
    }

    somebody_else_owns: "If somebody else really owns the new address: keep the old one, open a review, apply all the rest." => {
        let mut world = World::with_staff_ada();
        let email_key = Some("new@fabrikam.example".to_owned());
        world.others = vec![Candidate { email_key, entra_id: Some(object(9)), username_key: None, ..imported_ada() }];
        world.reads(json!({"mail": "New@fabrikam.example", "jobTitle": "Lead"}), &[STAFF]);
        let plan = world.settles();
        assert_eq!(plan.reviews.iter().map(|review| review.kind).collect::<Vec<_>>(), [ReviewKind::AddressTaken]);
        assert_eq!(world.record().email.as_deref(), Some("Ada@fabrikam.example"));
        assert_eq!(world.record().fields["job_title"], "Lead");
    }

    two_users_one_address: "*Two directory users, one address*: the first linked stays linked, the second goes to review. Never two onto one record." => {
        let (_, second) = entering(json!({}), vec![Candidate { entra_id: Some(object(9)), ..imported_ada() }]);
        assert!(is_review(&second), "{second:?}");
    }

    rehire: "*New object id with a known address*: a possible rehire, always to review (addresses are reused for other people)" => {
        let left = Candidate { entra_id: Some(object(9)), status: Status::Inactive, ..imported_ada() };
        let (_, plan) = entering(json!({}), vec![left]);
        assert!(is_review(&plan) && plan.reviews.iter().all(|review| review.why.contains("rehire")), "{plan:?}");
    }

    username_taken: "Username taken after the `local-part` rule: a numbered one where the connection allows it, else a review; access is decided all the same." => {
        let taken = || Candidate { email_key: None, username_key: Some("ada".to_owned()), ..imported_ada() };
        let (mut world, _) = entering(json!({}), vec![taken()]);
        let plan = world.settles();
        assert_eq!(plan.reviews.iter().map(|review| review.kind).collect::<Vec<_>>(), [ReviewKind::UsernameTaken]);
        assert!(world.is_active() && world.record().username.is_none());
        let (mut world, _) = entering(json!({}), vec![taken()]);
        world.settings.number_usernames = true;
        world.settles();
        assert_eq!(world.record().username.as_deref(), Some("Ada2"));
    }

    blank_source: "A blank source value does not erase a field unless that field's mapping says `clear_when_blank`." => {
        let mut world = World::with_staff_ada();
        world.reads(json!({"jobTitle": null, "displayName": " ", "mail": "", "businessPhones": []}), &[STAFF]);
        assert!(world.settles().steps.is_empty());
        let file = "[fields]\njob_title = { from = 'user.jobTitle', clear_when_blank = true }\n";
        world.fields = lockstep_core::rules_file::RulesFile::parse(file).expect("a file").fields;
        world.settles();
        assert!(!world.record().fields.contains_key("job_title"));
        assert_eq!(world.record().display_name.as_deref(), Some("Ada Example"));
    }
}

//! Precedence and ties (M1, M2, M6); nested groups (M10).

use lockstep_core::desired::{DecisionSettings, Desired, Outcome, desired};
use lockstep_core::explain::{GroupShown, explain};
use lockstep_core::field::MappedFields;
use lockstep_core::mirror::{MembershipRead, PersonRead, Source};
use lockstep_core::plan::Step;
use lockstep_core::record::{Kind, Reason};
use lockstep_core::rule::{Rule, RuleError, RuleSet};
use lockstep_core::rules_file::RulesFile;
use serde_json::{Value, json};

use crate::world::*;

fn member_of(groups: &[u128], rules: Vec<Rule>) -> Desired {
    let mut world = World::empty();
    world.rules = RuleSet::build(1, rules).expect("rules");
    world.reads(json!({}), groups);
    desired(&world.user, &world.rules, &DecisionSettings::default())
}

fn winner(found: &Desired) -> Option<u128> {
    found.grant.as_ref().map(|grant| grant.group.0.as_u128())
}

sentences! {
    order_ascending: "Order ascending, lowest wins." => {
        for (staff, admins, expected) in [(20, 10, ADMINS), (10, 20, STAFF), (-5, 0, STAFF), (i64::MAX, i64::MIN, ADMINS)] {
            let found = member_of(&[STAFF, ADMINS], vec![rule(STAFF, staff), rule(ADMINS, admins)]);
            assert_eq!(winner(&found), Some(expected), "{staff} {admins}");
        }
    }

    equal_order: "Equal order: the group with the earlier `createdDateTime` in Entra, then the smaller object id." => {
        let made = |group, at| Rule { group_created_at: at, ..rule(group, 10) };
        let (old, young) = (Some(seconds(1)), Some(seconds(2)));
        for (staff, admins, expected) in
            [(young, old, ADMINS), (old, young, STAFF), (old, old, STAFF), (None, young, ADMINS), (None, None, STAFF)]
        {
            let found = member_of(&[STAFF, ADMINS], vec![made(STAFF, staff), made(ADMINS, admins)]);
            assert_eq!(winner(&found), Some(expected), "{staff:?} {admins:?}");
        }
    }

    total_order: "The order is total: never storage order, never name order." => {
        let named = |group, name: &str| Rule { group_name: name.to_owned(), ..rule(group, 10) };
        for (a, b) in [("A", "Z"), ("Z", "A"), ("", "")] {
            let (staff, admins) = (named(STAFF, a), named(ADMINS, b));
            let one = RuleSet::build(1, vec![staff.clone(), admins.clone()]).expect("rules");
            let other = RuleSet::build(1, vec![admins, staff]).expect("rules");
            assert_eq!(one, other);
            assert_eq!(one.groups().collect::<Vec<_>>(), [object(STAFF), object(ADMINS)], "{a} {b}");
        }
    }

    one_rule_a_group: "One group has at most one rule in a connection." => {
        let twice = RuleSet::build(1, vec![rule(STAFF, 1), rule(ADMINS, 2), rule(STAFF, 3)]);
        assert_eq!(twice, Err(RuleError::TwoRulesForOneGroup { group: object(STAFF) }));
        let line = format!("[[rule]]\ngroup = \"{}\"\nexclude = true\n", object(STAFF));
        assert!(RulesFile::parse(&format!("{line}{line}")).is_err());
    }

    exclude: "A rule may be an *exclude* rule: it beats every include." => {
        for order in [i64::MIN, 0, i64::MAX] {
            let banned = Rule { exclude: true, ..rule(BANNED, order) };
            let found = member_of(&[STAFF, BANNED], vec![rule(STAFF, 0), banned]);
            assert_eq!((winner(&found), found.reasons.into_iter().collect::<Vec<_>>()), (None, vec![Reason::OutOfScope]));
        }
    }

    explanation: "The answer carries its explanation: the winning rule, the losers, what broke the tie, and by which chain of nested groups the person is in." => {
        let young = Rule { group_created_at: Some(seconds(2000)), ..rule(CLIENTS, 10) };
        let rules = vec![rule(STAFF, 10), young, rule(ADMINS, 20), Rule { exclude: true, ..rule(BANNED, 0) }];
        let found = member_of(&[STAFF, CLIENTS, ADMINS], rules);
        let outcome = |group| found.rulings.iter().find(|ruling| ruling.group == object(group)).expect("a ruling");
        assert_eq!(outcome(STAFF).outcome, Outcome::Won);
        assert_eq!(outcome(BANNED).outcome, Outcome::NotMember);
        assert_eq!((outcome(CLIENTS).outcome, outcome(ADMINS).outcome), (Outcome::Lost, Outcome::Lost));
        assert!(outcome(CLIENTS).why.contains("older"), "{:?}", outcome(CLIENTS));
        assert!(outcome(ADMINS).why.contains("order 10 comes before 20"), "{:?}", outcome(ADMINS));
        let world = World::with_staff_ada();
        let chain = GroupShown { id: object(STAFF), name: "Staff".to_owned(), chain: vec!["Field staff".to_owned()] };
        let (shown, fields) = (Value::Null, MappedFields::default());
        let explained = explain(shown, world.record(), &world.user, &found, &fields, vec![chain.clone()]);
        assert_eq!((explained.groups, explained.rules.len()), (vec![chain], 4));
    }

    one_rule_wins: "Overlap never means \"the highest privilege of all\": one rule wins." => {
        let rules = vec![
            Rule { role: Some("helper".to_owned()), permissions: vec!["time".to_owned()], ..rule(STAFF, 1) },
            Rule { role: Some("administrator".to_owned()), permissions: vec!["everything".to_owned()], ..rule(ADMINS, 2) },
        ];
        let grant = member_of(&[STAFF, ADMINS], rules).grant.expect("a winner");
        assert_eq!((grant.role.as_deref(), grant.permissions), (Some("helper"), vec!["time".to_owned()]));
    }

    no_rule: "No rule = no access." => {
        let found = member_of(&[0x99], vec![rule(STAFF, 1)]);
        assert_eq!((found.grant, found.reasons.into_iter().collect::<Vec<_>>()), (None, vec![Reason::OutOfScope]));
        let mut world = World::empty();
        world.reads(json!({}), &[]);
        assert!(world.settles().steps.is_empty() && world.record.is_none());
    }

    /// G-24.
    root: "The root user is exempt, and is the break-glass when the last administrator leaves." => {
        for changes in [json!({"accountEnabled": false}), json!({"userType": "Guest"}), json!({"displayName": "X"})] {
            let mut world = World::with_staff_ada();
            world.record_mut().root = true;
            world.reads(changes, &[]);
            world.pass(60);
            world.reads_groups(&[]);
            assert_eq!(world.settles().steps, []);
            world.reads_404(true);
            assert_eq!(world.settles().steps, []);
            assert!(world.is_active());
        }
    }

    transitive: "Membership is transitive where the rule says `nested` (the default)." => {
        let file = format!("[[rule]]\ngroup = \"{}\"\norder = 1\nkind = \"employee\"\n", object(STAFF));
        assert!(RulesFile::parse(&file).expect("a file").rules.iter().all(|rule| rule.nested), "the default");
        for (nested, direct, expected) in [
            (true, Some(false), Some(STAFF)),
            (true, None, Some(STAFF)),
            (false, Some(true), Some(STAFF)),
            (false, Some(false), None),
        ] {
            let mut world = World::empty();
            world.rules = RuleSet::build(1, vec![Rule { nested, ..rule(STAFF, 1) }]).expect("rules");
            world.reads_profile(json!({}));
            let (ticket, read_at) = (world.next_ticket(), world.now);
            let groups = groups(&[(STAFF, direct)]);
            let membership = Some(MembershipRead { ticket, read_at, source: Source::ById, groups });
            world.user.merge(&PersonRead { user: ada(), profile: None, membership });
            let found = desired(&world.user, &world.rules, &DecisionSettings::default());
            assert_eq!(winner(&found), expected, "{nested} {direct:?}");
        }
    }

    /// M6.
    overridden: "Existing access is overridden by the winning rule" => {
        let mut world = World::with_staff_ada();
        world.record_mut().role = Some("administrator".to_owned());
        let plan = world.settles();
        assert!(matches!(&plan.steps[..], [Step::SetAccess { role: Some(role), .. }] if role == "role-10"), "{plan:?}");
        assert_eq!(world.record().kind, Kind::Employee);
    }
}

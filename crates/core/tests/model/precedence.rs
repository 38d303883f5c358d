//! Precedence and ties (M1, M2, M6, M10), guests (Y7), what is not known (G-08, BI-34).

use lockstep_core::desired::{DecisionSettings, Desired, Outcome, Unknown, desired};
use lockstep_core::mirror::{MembershipRead, MirroredUser, PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::record::Reason;
use lockstep_core::rule::{Rule, RuleError, RuleSet};
use lockstep_core::{ObjectId, Ticket};
use serde_json::{Value, json};

use crate::world::*;

fn person(changes: Value, in_groups: &[(u128, Option<bool>)]) -> MirroredUser {
    let mut user = MirroredUser::unknown(ada());
    let (ticket, read_at, source) = (Ticket(1), seconds(0), Source::ById);
    let found = ProfileFound::Present(profile(changes).into());
    user.merge(&PersonRead {
        user: ada(),
        profile: Some(ProfileRead { ticket, read_at, source, found }),
        membership: Some(MembershipRead { ticket, read_at, source, groups: groups(in_groups) }),
    });
    user
}

fn decide(rules: Vec<Rule>, in_groups: &[(u128, Option<bool>)]) -> Desired {
    let rules = RuleSet::build(1, rules).expect("one rule a group");
    desired(&person(json!({}), in_groups), &rules, &DecisionSettings::default())
}

fn winner(desired: &Desired) -> Option<ObjectId> {
    desired.grant.as_ref().map(|grant| grant.group)
}

const DIRECT: Option<bool> = Some(true);

#[test]
fn lowest_order_wins_and_the_others_are_told_why_they_lost() {
    let desired = decide(vec![rule(STAFF, 20), rule(ADMINS, 10)], &[(STAFF, DIRECT), (ADMINS, DIRECT)]);
    assert_eq!(winner(&desired), Some(object(ADMINS)));
    let outcomes: Vec<_> = desired.rulings.iter().map(|ruling| (ruling.group, ruling.outcome)).collect();
    assert_eq!(outcomes, [(object(ADMINS), Outcome::Won), (object(STAFF), Outcome::Lost)]);
    assert_eq!(desired.rulings[1].why, "order 10 comes before 20");
}

#[test]
fn equal_order_goes_to_the_older_group_then_to_the_smaller_id() {
    let younger = Rule { group_created_at: Some(seconds(2000)), ..rule(1, 10) };
    let older = Rule { group_created_at: Some(seconds(1000)), ..rule(9, 10) };
    let of_unknown_age = Rule { group_created_at: None, ..rule(0, 10) };
    let everyone = [(0, DIRECT), (1, DIRECT), (9, DIRECT), (8, DIRECT)];

    let desired = decide(vec![of_unknown_age, younger.clone(), older.clone()], &everyone);
    assert_eq!(winner(&desired), Some(object(9)));
    assert!(desired.rulings[1].why.contains("older"), "{}", desired.rulings[1].why);

    let smaller = Rule { group: object(8), ..older.clone() };
    let desired = decide(vec![older, smaller, younger], &everyone);
    assert_eq!(winner(&desired), Some(object(8)));
    assert!(desired.rulings[1].why.contains("smaller id"), "{}", desired.rulings[1].why);
}

#[test]
fn an_exclude_rule_beats_every_include_whatever_its_order() {
    let exclude = Rule { exclude: true, ..rule(BANNED, 99) };
    let desired = decide(vec![rule(ADMINS, 1), exclude], &[(ADMINS, DIRECT), (BANNED, DIRECT)]);
    assert_eq!(desired.grant, None);
    assert_eq!(desired.reasons.into_iter().collect::<Vec<_>>(), [Reason::OutOfScope]);
    assert!(desired.rulings.iter().all(|ruling| ruling.outcome == Outcome::Excluded));
}

#[test]
fn no_rule_is_no_access() {
    let desired = decide(vec![rule(STAFF, 1)], &[]);
    assert_eq!(desired.grant, None);
    assert!(desired.reasons.contains(&Reason::OutOfScope));
    assert_eq!(desired.rulings[0].outcome, Outcome::NotMember);
}

#[test]
fn a_rule_that_is_not_nested_wants_direct_members() {
    let direct_only = || vec![Rule { nested: false, ..rule(STAFF, 1) }];
    assert_eq!(winner(&decide(direct_only(), &[(STAFF, DIRECT)])), Some(object(STAFF)));
    let inside = decide(direct_only(), &[(STAFF, Some(false))]);
    assert_eq!((winner(&inside), inside.unknown), (None, None));
    assert!(inside.rulings[0].why.contains("group inside"));
    assert_eq!(winner(&decide(vec![rule(STAFF, 1)], &[(STAFF, Some(false))])), Some(object(STAFF)));
}

#[test]
fn direct_or_nested_not_told_is_unknown_only_where_it_decides() {
    let direct_only = Rule { nested: false, ..rule(STAFF, 10) };
    let decides = decide(vec![direct_only.clone()], &[(STAFF, None)]);
    assert_eq!((decides.unknown, decides.grant), (Some(Unknown::Membership), None));
    assert!(decides.reasons.is_empty(), "not known is not lost");

    let after_the_winner = decide(vec![rule(ADMINS, 1), direct_only.clone()], &[(ADMINS, DIRECT), (STAFF, None)]);
    assert_eq!((after_the_winner.unknown, winner(&after_the_winner)), (None, Some(object(ADMINS))));

    let before_the_winner = decide(vec![rule(ADMINS, 20), direct_only], &[(ADMINS, DIRECT), (STAFF, None)]);
    assert_eq!(before_the_winner.unknown, Some(Unknown::Membership));

    let exclude = Rule { nested: false, exclude: true, ..rule(BANNED, 99) };
    let maybe_excluded = decide(vec![rule(ADMINS, 1), exclude], &[(ADMINS, DIRECT), (BANNED, None)]);
    assert_eq!((maybe_excluded.unknown, maybe_excluded.grant), (Some(Unknown::Membership), None));
}

#[test]
fn two_rules_for_one_group_are_refused() {
    let refused = RuleSet::build(1, vec![rule(STAFF, 1), rule(STAFF, 2)]);
    assert_eq!(refused, Err(RuleError::TwoRulesForOneGroup { group: object(STAFF) }));
}

#[test]
fn guests_are_out_unless_the_connection_lets_them_in_and_pending_ones_always() {
    let cases = [
        (json!({"userType": "Guest"}), true, false),
        (json!({"userType": "Guest", "externalUserState": "Accepted"}), true, false),
        // A member converted from a guest is still recognised.
        (json!({"userType": "Member", "externalUserState": "Accepted"}), true, false),
        (json!({"userType": "Guest", "externalUserState": "PendingAcceptance"}), true, true),
        (json!({"userType": "Member"}), false, false),
        (json!({"userType": null}), false, false),
    ];
    let rules = house_rules();
    for (changes, out_when_closed, out_when_open) in cases {
        let user = person(changes.clone(), &[(STAFF, DIRECT)]);
        let is_out = |guests| desired(&user, &rules, &DecisionSettings { guests }).reasons.contains(&Reason::Guest);
        assert_eq!((is_out(false), is_out(true)), (out_when_closed, out_when_open), "{changes}");
    }
}

#[test]
fn what_was_never_read_is_unknown_and_never_a_reason() {
    let rules = house_rules();
    let unknown = |user: &MirroredUser| {
        let desired = desired(user, &rules, &DecisionSettings::default());
        (desired.unknown, desired.reasons.is_empty())
    };
    let mut user = MirroredUser::unknown(ada());
    assert_eq!(unknown(&user), (Some(Unknown::Profile), true));

    let profile_read = |changes| ProfileRead {
        ticket: Ticket(1),
        read_at: seconds(0),
        source: Source::ById,
        found: ProfileFound::Present(profile(changes).into()),
    };
    user.merge(&PersonRead { user: ada(), profile: Some(profile_read(json!({}))), membership: None });
    assert_eq!(unknown(&user), (Some(Unknown::Membership), true));

    for not_a_boolean in [json!(null), json!("false"), json!(0)] {
        let user = person(json!({ "accountEnabled": not_a_boolean }), &[(STAFF, DIRECT)]);
        assert_eq!(unknown(&user), (Some(Unknown::AccountEnabled), true), "BI-34");
    }
}

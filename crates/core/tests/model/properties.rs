//! What must hold for every input, checked against the reference model.

use std::collections::BTreeSet;

use lockstep_core::desired::{DecisionSettings, desired};
use lockstep_core::mirror::{
    Fresh, MembershipRead, MirroredUser, PersonRead, ProfileFacet, ProfileFound, ProfileRead, Source,
};
use lockstep_core::plan::kind_change::Next;
use lockstep_core::plan::{Changes, Plan, Step, WaitReason};
use lockstep_core::record::{Kind, Reason, Status};
use lockstep_core::rule::{Rule, RuleSet};
use lockstep_core::{Ticket, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::reference::{Evidence, may_be_in, winner};
use crate::world::*;

const GROUPS: [u128; 4] = [STAFF, ADMINS, BANNED, CLIENTS];

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let row = (0_i64..3, prop::option::of(0_i64..3), prop::bool::weighted(0.15));
    prop::collection::vec(row, 0..7).prop_map(|rows| {
        let build = |(n, (order, created, exclude)): (usize, (i64, Option<i64>, bool))| Rule {
            exclude,
            group_created_at: created.map(seconds),
            ..rule(n as u128, order)
        };
        rows.into_iter().enumerate().map(build).collect()
    })
}

fn shuffled(length: usize) -> impl Strategy<Value = Vec<usize>> {
    Just((0..length).collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    /// M2: the order is total, never storage order.
    #[test]
    fn the_winner_is_the_same_in_whatever_order_rules_are_stored(
        (rules, order) in rules().prop_flat_map(|rules| { let n = rules.len(); (Just(rules), shuffled(n)) }),
        member_of in prop::collection::btree_set(0_u128..7, 0..7),
    ) {
        let member_of: BTreeSet<_> = member_of.into_iter().map(object).collect();
        let stored: Vec<Rule> = order.iter().map(|place| rules[*place].clone()).collect();
        let set = RuleSet::build(1, stored).expect("one rule a group");
        prop_assert_eq!(&set, &RuleSet::build(1, rules.clone()).expect("one rule a group"));

        let mut user = MirroredUser::unknown(ada());
        let found = ProfileFound::Present(profile(json!({})).into());
        let (ticket, read_at, source) = (Ticket(1), seconds(0), Source::ById);
        let groups = member_of.iter().map(|group| (*group, None)).collect();
        user.merge(&PersonRead {
            user: ada(),
            profile: Some(ProfileRead { ticket, read_at, source, found }),
            membership: Some(MembershipRead { ticket, read_at, source, groups }),
        });
        let desired = desired(&user, &set, &DecisionSettings::default());
        let expected = winner(&rules, &member_of);
        prop_assert_eq!(desired.grant.map(|grant| grant.group), expected);
        prop_assert_eq!(desired.reasons.contains(&Reason::OutOfScope), expected.is_none());
    }
}

/// What Graph says of Ada in one read.
#[derive(Clone, Debug)]
struct Seen {
    enabled: Option<bool>,
    guest: bool,
    title: u8,
    deleted: Option<bool>,
    groups: BTreeSet<u128>,
    profile: bool,
    membership: bool,
    listing: bool,
}

fn seen() -> impl Strategy<Value = Seen> {
    let enabled = prop_oneof![6 => Just(Some(true)), 3 => Just(Some(false)), 1 => Just(None)];
    let groups = prop::collection::btree_set(prop::sample::select(GROUPS.to_vec()), 0..3);
    let deleted = prop_oneof![5 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let facets = prop_oneof![Just((true, true)), Just((true, false)), Just((false, true))];
    (enabled, prop::bool::weighted(0.15), 0_u8..3, deleted, groups, facets, prop::bool::weighted(0.3)).prop_map(
        |(enabled, guest, title, deleted, groups, (profile, membership), listing)| {
            let deleted = deleted.filter(|_| !listing);
            Seen { enabled, guest, title, deleted, groups, profile, membership, listing }
        },
    )
}

impl Seen {
    fn found(&self, garbage: Option<&str>) -> ProfileFound {
        if let Some(in_deleted_items) = self.deleted {
            return ProfileFound::Missing { in_deleted_items };
        }
        let user_type = if self.guest { "Guest" } else { "Member" };
        let mut object = json!({
            "accountEnabled": self.enabled, "userType": user_type, "jobTitle": format!("title {}", self.title),
        });
        for name in
            garbage.map(|_| ["displayName", "jobTitle", "mail", "userPrincipalName", "city"]).into_iter().flatten()
        {
            object[name] = json!(garbage);
        }
        ProfileFound::Present(profile(object).into())
    }

    fn read(&self, ticket: i64, read_at: Timestamp, garbage: Option<&str>) -> PersonRead {
        let (ticket, source) = (Ticket(ticket), if self.listing { Source::Listing } else { Source::ById });
        let found = self.found(garbage);
        let direct = (!self.listing).then_some(true);
        let groups = self.groups.iter().map(|group| (object(*group), direct)).collect();
        // A deleted user's memberships cannot be read.
        let membership = self.membership && self.deleted.is_none();
        PersonRead {
            user: ada(),
            profile: self.profile.then_some(ProfileRead { ticket, read_at, source, found }),
            membership: membership.then_some(MembershipRead { ticket, read_at, source, groups }),
        }
    }
}

fn arrived(reads: impl Iterator<Item = PersonRead>) -> (MirroredUser, bool) {
    let mut user = MirroredUser::unknown(ada());
    let mut differed = false;
    for read in reads {
        differed |= user.merge(&read).lost_and_differs;
    }
    user.fresh = Fresh::default();
    (user, differed)
}

proptest! {
    /// G-08: reads are ordered by their tickets, not by their arrival. By id exactly; listings only where nothing was
    /// found to differ, for a difference means another read. The first of a row of 404s may come out later, never earlier.
    #[test]
    fn reads_in_any_order_of_arrival_end_in_the_same_mirror(
        (seen, order) in prop::collection::vec(seen(), 1..8)
            .prop_flat_map(|seen| { let n = seen.len(); (Just(seen), shuffled(n)) }),
    ) {
        let read = |place: usize| seen[place].read(place as i64 + 1, seconds(place as i64 * 10), None);
        let (in_order, differed_in_order) = arrived((0..seen.len()).map(read));
        let (any_order, differed) = arrived(order.iter().map(|place| read(*place)));
        prop_assert_eq!(&any_order.membership, &in_order.membership);

        let listed = seen.iter().any(|seen| seen.listing && seen.profile);
        if listed && (differed || differed_in_order) {
            return Ok(());
        }
        match (any_order.profile, in_order.profile) {
            (
                ProfileFacet::Missing { ticket, read_at, first_at, in_deleted_items, .. },
                ProfileFacet::Missing { ticket: t, read_at: r, first_at: f, in_deleted_items: d, .. },
            ) => {
                prop_assert_eq!((ticket, read_at, in_deleted_items), (t, r, d));
                prop_assert!(first_at >= f, "{first_at} is before {f}");
            }
            (
                ProfileFacet::Present { ticket, read_at, profile, .. },
                ProfileFacet::Present { ticket: t, read_at: r, profile: p, .. },
            ) if listed => prop_assert_eq!((ticket, read_at, profile), (t, r, p)),
            (any_order, in_order) => prop_assert_eq!(any_order, in_order),
        }
    }
}

/// A read that begins now and arrives after that many more things have happened.
#[derive(Clone, Debug)]
struct Event {
    seen: Seen,
    pass: u64,
    late_by: usize,
}

fn life() -> impl Strategy<Value = Vec<Event>> {
    let pass = prop::sample::select(vec![1_u64, 5, 10, 30, 61, 130, 1000]);
    let late_by = prop_oneof![6 => Just(0_usize), 1 => 1_usize..3];
    let event = (seen(), pass, late_by).prop_map(|(seen, pass, late_by)| Event { seen, pass, late_by });
    prop::collection::vec(event, 1..25)
}

/// What the steps do to access, without the attributes.
fn access_steps(plan: &Plan) -> Vec<Step> {
    let is_access = |step: &&Step| !matches!(step, Step::Update(_) | Step::Create(_) | Step::Link { .. });
    plan.steps.iter().filter(is_access).cloned().map(without_attributes).collect()
}

fn without_attributes(mut step: Step) -> Step {
    if let Step::ChangeKind(change) = &mut step {
        (change.archive.username, change.archive.email) = (None, None);
        (change.failed, change.reviews) = (Vec::new(), Vec::new());
        match &mut change.next {
            Next::Create { record, .. } => record.attributes = Changes::default(),
            Next::BringBack { attributes, .. } => *attributes = Changes::default(),
        }
    }
    step
}

struct Life {
    world: World,
    evidence: Evidence,
    garbage: Option<&'static str>,
    on_the_way: Vec<(usize, PersonRead)>,
}

impl Life {
    fn starting(record: Option<Kind>, garbage: Option<&'static str>) -> Self {
        let mut world = World::empty();
        world.record = record.map(blank_record);
        Self { world, evidence: Evidence::default(), garbage, on_the_way: Vec::new() }
    }

    /// One event, then everything that is due to arrive; returns what each arrival did to access.
    fn lives(&mut self, event: &Event) -> Vec<(Vec<Step>, bool)> {
        self.world.pass(event.pass);
        let ticket = self.world.next_ticket().0;
        self.on_the_way.push((event.late_by, event.seen.read(ticket, self.world.now, self.garbage)));
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.on_the_way).into_iter().partition(|(late, _)| *late == 0);
        self.on_the_way = later.into_iter().map(|(late, read)| (late - 1, read)).collect();
        due.into_iter().map(|(_, read)| self.arrives(&read)).collect()
    }

    fn arrives(&mut self, read: &PersonRead) -> (Vec<Step>, bool) {
        self.world.user.fresh = Fresh::default();
        let merged = self.world.user.merge(read);
        let profile = read.profile.as_ref().filter(|_| merged.profile_applied);
        self.evidence.note(profile, read.membership.as_ref().filter(|_| merged.membership_applied));
        let plan = self.world.settles();
        self.check(&plan);
        (access_steps(&plan), self.world.is_active())
    }

    fn check(&self, plan: &Plan) {
        let (world, user) = (&self.world, &self.world.user);
        let rules = world.rules.rules();
        for step in &plan.steps {
            match step {
                Step::Deactivate { reasons } => {
                    assert!(
                        reasons.iter().all(|reason| self.evidence.proves(*reason, rules, world.guests)),
                        "G-10: {plan:?}"
                    );
                }
                Step::AmendReasons { add, remove } => {
                    assert!(
                        add.iter().all(|reason| self.evidence.proves(*reason, rules, world.guests)),
                        "G-10: {plan:?}"
                    );
                    assert!(remove.is_empty() || (user.fresh.profile && user.fresh.membership), "G-10: {plan:?}");
                }
                Step::Reactivate { .. } => {
                    assert!(user.fresh.profile && user.fresh.membership, "G-10: given back only by both: {plan:?}");
                    let profile = user.profile.present().expect("nobody comes back without a profile");
                    assert!(may_be_in(profile, world.guests) && plan.desired.grant.is_some());
                }
                Step::Create(_) => {
                    let profile = user.profile.present().expect("nobody is created without a profile");
                    assert!(may_be_in(profile, world.guests), "a removal creates nothing");
                }
                Step::ChangeKind(change) => {
                    assert!(user.fresh.profile && user.fresh.membership, "M7: by both facets alone: {change:?}");
                    let profile = user.profile.present().expect("nobody changes without a profile");
                    assert!(may_be_in(profile, world.guests) && plan.desired.grant.is_some());
                }
                Step::Link { .. } | Step::Update(_) | Step::SetAccess { .. } | Step::NoteSessions { .. } => {}
                Step::Rehire { .. } | Step::Unlink { .. } | Step::ReleaseAddress { .. } | Step::Merge(_) => {
                    panic!("nobody answered anything")
                }
            }
        }
        if let Some(record) = &world.record {
            assert_eq!(record.reasons.is_empty(), record.status == Status::Active);
        }
        let asks = plan.wait.is_some_and(|wait| wait.reason == WaitReason::NeedsBothFacets);
        assert!(!(asks && user.fresh.profile && user.fresh.membership), "would be asked for ever");
        assert_eq!(world.plan().steps, [], "planning again gives no further steps: {plan:?}");
    }

    /// Graph stands still; the worker reads whenever the plan says so, and once more at the end.
    fn comes_to_rest(&mut self, truth: &Seen) {
        for _ in 0..8 {
            let ticket = self.world.next_ticket().0;
            let read = Seen { profile: true, membership: true, listing: false, ..truth.clone() };
            self.arrives(&read.read(ticket, self.world.now, self.garbage));
            match self.world.plan().wait {
                Some(wait) => self.world.now = self.world.now.max(wait.at),
                None => return,
            }
        }
        panic!("still waiting for {:?}", self.world.plan().wait);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// G-09, G-10: whatever arrives in whatever order, access is taken on proof by id and given back by both facets.
    /// And when Graph stands still, the record agrees with it.
    #[test]
    fn access_is_taken_on_proof_alone_and_in_the_end_agrees_with_graph(
        life in life(),
        truth in seen().prop_filter("complete", |seen| seen.enabled.is_some()),
        starts_with_record in any::<bool>(),
    ) {
        let mut ada = Life::starting(starts_with_record.then_some(Kind::Employee), None);
        for event in &life {
            ada.lives(event);
        }
        ada.on_the_way.clear();
        ada.comes_to_rest(&truth);

        let groups = truth.groups.iter().map(|group| object(*group)).collect();
        let granted = winner(ada.world.rules.rules(), &groups);
        let is_in = truth.deleted.is_none() && truth.enabled == Some(true) && !truth.guest && granted.is_some();
        prop_assert_eq!(ada.world.is_active(), is_in);
        if is_in {
            let role = format!("role-{:x}", granted.expect("in").0.as_u128());
            prop_assert_eq!(ada.world.record().role.clone(), Some(role));
            let kind = ada.world.rules.lookup(granted.expect("in")).map(|rule| rule.kind);
            prop_assert_eq!(Some(ada.world.record().kind), kind);
        }
    }

    /// G-11: the same life with rubbish in every mapped property ends in the same access at every moment.
    #[test]
    fn rubbish_in_the_mapping_never_changes_access(
        life in life(),
        garbage in prop::sample::select(vec!["\u{202E}x", "\u{0}", "a@b@c", "  ", "=cmd|' /C calc'!A0", "<script>", "@", "é\u{301}"]),
    ) {
        let mut clean = Life::starting(Some(Kind::Employee), None);
        let mut soiled = Life::starting(Some(Kind::Employee), Some(garbage));
        for event in &life {
            prop_assert_eq!(clean.lives(event), soiled.lives(event));
        }
    }

    /// G-24: nothing that can arrive touches root.
    #[test]
    fn root_is_touched_by_nothing_that_arrives(life in life()) {
        let mut root = Life::starting(Some(Kind::Employee), None);
        root.world.record_mut().root = true;
        let before = root.world.record().clone();
        for event in &life {
            root.lives(event);
            prop_assert_eq!(root.world.record(), &before);
        }
    }

    /// Switched off by hand means off, whatever Microsoft says.
    #[test]
    fn what_an_admin_switched_off_stays_off(life in life()) {
        let mut ada = Life::starting(Some(Kind::Employee), None);
        ada.world.inactive_for(&[Reason::ByHand]);
        for event in &life {
            ada.lives(event);
            prop_assert!(ada.world.record().reasons.contains(&Reason::ByHand));
        }
    }
}

proptest! {
    /// Total: any text is a rules file or refused with a place inside it.
    #[test]
    fn any_text_is_a_rules_file_or_refused(text in "[\\[\\]a-z_=\"{} \n.#0-9é]{0,120}") {
        if let Err(error) = lockstep_core::rules_file::RulesFile::parse(&text) {
            prop_assert!(error.line >= 1 && error.line <= text.matches('\n').count() + 1);
            prop_assert!(error.column >= 1);
        }
    }

    /// Total: any object is a user or refused.
    #[test]
    fn any_object_is_a_user_or_refused(values in prop::collection::vec((0_usize..34, 0_usize..8), 0..20)) {
        let odd = [json!(null), json!(true), json!(-1), json!(""), json!("x".repeat(3000)), json!([1]), json!({"a": []}), json!(["a"])];
        let mut object = user_json(json!({}));
        for (name, value) in values {
            if let Some(name) = lockstep_core::profile::SELECT.get(name).filter(|name| **name != "id") {
                object.insert((*name).to_owned(), odd[value].clone());
            }
        }
        let enabled = object.get("accountEnabled").and_then(Value::as_bool);
        let read = lockstep_core::profile::Profile::from_graph(Some(ada()), object).expect("the id is right");
        prop_assert_eq!(read.account_enabled, enabled);

        let mut world = World::empty();
        let found = ProfileFound::Present(read.into());
        world.merge(Some((Source::ById, found)), Some((Source::ById, &[STAFF])));
        world.settles();
        prop_assert_eq!(world.plan().steps, vec![]);
    }
}

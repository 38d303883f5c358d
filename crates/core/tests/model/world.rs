//! A person, a record and a clock to tell stories with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_core::field::FieldMap;
use lockstep_core::matching::{AddressOwners, Candidate};
use lockstep_core::mirror::{MembershipRead, Merged, MirroredUser, PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::plan::kind_change::{KindBasis, KindChange, Next, TakenKeys};
use lockstep_core::plan::{Changes, Observed, Plan, PlanContext, Step, plan};
use lockstep_core::profile::{Profile, address_key};
use lockstep_core::record::{Kind, Reason, Record, Status};
use lockstep_core::review::{Answer, Choice, NewReview, settlement};
use lockstep_core::rule::{Rule, RuleSet};
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::timing::Timing;
use lockstep_core::{ConnectionId, ObjectId, RecordId, ReviewId, Ticket, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub const STAFF: u128 = 0x10;
pub const ADMINS: u128 = 0x11;
pub const BANNED: u128 = 0x12;
pub const CLIENTS: u128 = 0x13;
pub const REALM: &str = "north";

pub fn object(n: u128) -> ObjectId {
    ObjectId(Uuid::from_u128(n))
}

pub fn record_id(n: u128) -> RecordId {
    RecordId(Uuid::from_u128(n))
}

pub fn seconds(s: i64) -> Timestamp {
    Timestamp::from_micros(s * 1_000_000)
}

pub fn ada() -> ObjectId {
    object(0xada)
}

pub fn rule(group: u128, order: i64) -> Rule {
    Rule {
        group: object(group),
        order,
        kind: Kind::Employee,
        role: Some(format!("role-{group:x}")),
        permissions: vec!["tickets".to_owned()],
        nested: true,
        exclude: false,
        group_name: "never compared".to_owned(),
        group_created_at: Some(seconds(1000)),
    }
}

/// Admins before staff; clients are contacts; nobody in `BANNED` is in.
pub fn house_rules() -> RuleSet {
    let rules = vec![
        rule(STAFF, 20),
        rule(ADMINS, 10),
        Rule { exclude: true, ..rule(BANNED, 0) },
        Rule { kind: Kind::Contact, ..rule(CLIENTS, 30) },
    ];
    RuleSet::build(1, rules).expect("one rule a group")
}

/// Properties as Graph gives them, with changes laid over.
pub fn user_json(changes: Value) -> Map<String, Value> {
    let mut object = json!({
        "id": ada().to_string(), "accountEnabled": true, "userType": "Member", "externalUserState": null,
        "displayName": "Ada Example", "givenName": "Ada", "surname": "Example", "mail": "Ada@fabrikam.example",
        "userPrincipalName": "ada@fabrikam.example", "jobTitle": "Agent", "businessPhones": ["+1 555 0100"],
        "proxyAddresses": ["SMTP:Ada@fabrikam.example", "smtp:a.example@fabrikam.example", "x500:/o=Example"],
    });
    let object = object.as_object_mut().expect("an object");
    object.extend(changes.as_object().expect("an object").clone());
    object.clone()
}

pub fn profile(changes: Value) -> Profile {
    Profile::from_graph(None, user_json(changes)).expect("a user")
}

/// One connection, one directory user and at most one record of theirs, on a clock that only the test moves.
pub struct World {
    pub now: Timestamp,
    ticket: i64,
    pub user: MirroredUser,
    pub record: Option<Record>,
    /// Archived records of the person.
    pub former: Vec<Record>,
    next_id: u128,
    pub others: Vec<Candidate>,
    pub owners: Option<AddressOwners>,
    pub answers: Vec<Answer>,
    pub rules: RuleSet,
    pub timing: Timing,
    pub settings: Settings,
    pub defaults: Defaults,
    pub fields: FieldMap,
    pub guests: bool,
    pub first_sync_done: bool,
    pub confirmed: bool,
    pub listing_since: Option<Timestamp>,
    pub domains: BTreeSet<String>,
}

impl World {
    pub fn empty() -> Self {
        Self {
            now: seconds(1_000_000),
            ticket: 0,
            user: MirroredUser::unknown(ada()),
            record: None,
            former: Vec::new(),
            next_id: 100,
            others: Vec::new(),
            owners: None,
            answers: Vec::new(),
            rules: house_rules(),
            timing: Timing::default(),
            settings: Settings::default(),
            defaults: Defaults::default(),
            fields: FieldMap::default(),
            guests: false,
            first_sync_done: true,
            confirmed: false,
            listing_since: None,
            domains: BTreeSet::from(["fabrikam.example".to_owned()]),
        }
    }

    /// Nobody is excluded by a rule: a listing may give access.
    pub fn of_includes() -> Self {
        let rules = RuleSet::build(1, vec![rule(STAFF, 20)]).expect("one rule a group");
        Self { rules, ..Self::empty() }
    }

    /// Ada is staff, read by id, and has her record.
    pub fn with_staff_ada() -> Self {
        let mut world = Self::empty();
        world.reads(json!({}), &[STAFF]);
        world.settles();
        assert!(world.is_active());
        world.pass(3600);
        world
    }

    pub fn pass(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
    }

    pub fn next_ticket(&mut self) -> Ticket {
        self.ticket += 1;
        Ticket(self.ticket)
    }

    /// A task of its own: what an earlier one read is no longer fresh.
    pub fn merge(&mut self, profile: Option<(Source, ProfileFound)>, groups: Option<(Source, &[u128])>) -> Merged {
        self.user.fresh = Default::default();
        let read_at = self.now;
        let profile = profile.map(|(source, found)| ProfileRead { ticket: self.next_ticket(), read_at, source, found });
        let membership = groups.map(|(source, groups)| MembershipRead {
            ticket: self.next_ticket(),
            read_at,
            source,
            groups: groups.iter().map(|group| (object(*group), Some(true))).collect(),
        });
        self.user.merge(&PersonRead { user: ada(), profile, membership })
    }

    /// Both facets, by id.
    pub fn reads(&mut self, changes: Value, groups: &[u128]) {
        let found = ProfileFound::Present(profile(changes).into());
        self.merge(Some((Source::ById, found)), Some((Source::ById, groups)));
    }

    pub fn reads_profile(&mut self, changes: Value) {
        self.merge(Some((Source::ById, ProfileFound::Present(profile(changes).into()))), None);
    }

    pub fn reads_groups(&mut self, groups: &[u128]) {
        self.merge(None, Some((Source::ById, groups)));
    }

    pub fn reads_404(&mut self, in_deleted_items: bool) {
        self.merge(Some((Source::ById, ProfileFound::Missing { in_deleted_items })), None);
    }

    pub fn lists(&mut self, changes: Value, groups: &[u128]) -> Merged {
        let found = ProfileFound::Present(profile(changes).into());
        self.merge(Some((Source::Listing, found)), Some((Source::Listing, groups)))
    }

    pub fn plan(&self) -> Plan {
        self.observed(|observed| plan(observed, &self.rules, &self.context()))
    }

    pub fn observed<T>(&self, see: impl FnOnce(&Observed<'_>) -> T) -> T {
        let basis = KindBasis { former: self.former.clone(), taken: self.taken() };
        see(&Observed {
            user: &self.user,
            record: self.record.as_ref(),
            candidates: &self.others,
            address_owners: self.owners.as_ref(),
            answers: &self.answers,
            confirmed: self.confirmed,
            kind_basis: Some(&basis),
        })
    }

    fn taken(&self) -> TakenKeys {
        let records = || self.record.iter().chain(&self.former);
        let others = || self.others.iter();
        let key = |name: &Option<String>| name.as_deref().map(address_key);
        TakenKeys {
            usernames: records()
                .filter_map(|r| key(&r.username))
                .chain(others().filter_map(|o| o.username_key.clone()))
                .collect(),
            emails: records()
                .filter_map(|r| key(&r.email))
                .chain(others().filter_map(|o| o.email_key.clone()))
                .collect(),
        }
    }

    pub fn context(&self) -> PlanContext<'_> {
        PlanContext {
            now: self.now,
            timing: &self.timing,
            settings: &self.settings,
            defaults: &self.defaults,
            fields: &self.fields,
            guests: self.guests,
            first_sync_done: self.first_sync_done,
            listing_since: self.listing_since,
            verified_domains: &self.domains,
            realm: REALM,
        }
    }

    /// Plans and applies once, as the worker's transaction would.
    pub fn settles(&mut self) -> Plan {
        let planned = self.plan();
        self.user.agreements = planned.agreements;
        for answer in &mut self.answers {
            answer.applied |= planned.answered.contains(&answer.review);
        }
        for step in &planned.steps {
            self.apply(step);
        }
        planned
    }

    /// What settling changes in the record, where it may do nothing else.
    pub fn only_update(&mut self) -> Changes {
        match &self.settles().steps[..] {
            [] => Changes::default(),
            [Step::Update(changes)] => changes.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub fn apply(&mut self, step: &Step) {
        if let Step::Create(new) = step {
            let mut record = blank_record(new.kind);
            record.sessions_valid_from = new.sessions_valid_from;
            (record.role, record.permissions) = (new.role.clone(), new.permissions.clone());
            write(&mut record, &new.attributes);
            self.record = Some(record);
            return;
        }
        if let Step::ReleaseAddress { record } = step {
            let other = self.others.iter_mut().find(|other| other.id == *record).expect("a candidate");
            assert!(other.may_lose_address());
            other.email_key = None;
            return;
        }
        if let Step::Merge(merge) = step {
            let old = self.record.take().filter(|own| own.id == merge.archive.record).expect("the person's own record");
            let (username, email) = (merge.archive.username.clone(), merge.archive.email.clone());
            self.former.push(Record {
                status: Status::Archived,
                reasons: merge.archive.reasons.clone(),
                username,
                email,
                ..old
            });
            self.apply(&Step::Link { record: merge.record });
            let linked = self.record.as_mut().expect("linked");
            linked.reasons.extend(&merge.carried);
            linked.status = if linked.reasons.is_empty() { Status::Active } else { Status::Inactive };
            return;
        }
        if let Step::Unlink { record } = step {
            let gone = self.record.take().filter(|own| own.id == *record).expect("the person's own record");
            self.others.retain(|other| other.id != gone.id);
            self.others.push(Candidate { id: gone.id, ..imported_ada() });
            return;
        }
        if let Step::Link { record } | Step::Rehire { record, .. } = step {
            let candidate = self.others.iter().find(|other| other.id == *record).expect("a candidate");
            let mut linked = blank_record(candidate.kind);
            linked.id = candidate.id;
            linked.status = candidate.status;
            linked.reasons.clone_from(&candidate.reasons);
            linked.email = candidate.email_key.clone();
            linked.username = candidate.username_key.clone();
            self.record = Some(linked);
            return;
        }
        if let Step::ChangeKind(change) = step {
            return self.changes_kind(change);
        }
        let now = self.now;
        let record = self.record.as_mut().expect("a record to change");
        match step {
            Step::Create(_) | Step::Link { .. } | Step::Rehire { .. } | Step::ChangeKind(_) => {
                unreachable!("done above")
            }
            Step::Unlink { .. } | Step::ReleaseAddress { .. } | Step::Merge(_) => unreachable!("done above"),
            Step::Update(changes) => write(record, changes),
            Step::NoteSessions { valid_from, .. } => record.sessions_valid_from = Some(*valid_from),
            Step::SetAccess { role, permissions } => {
                (record.role, record.permissions) = (role.clone(), permissions.clone());
            }
            Step::Deactivate { reasons } => {
                assert_eq!(record.status, Status::Active, "only an active record is deactivated");
                assert!(!reasons.is_empty(), "nobody is deactivated for nothing");
                record.reasons.extend(reasons);
                (record.status, record.inactive_since) = (Status::Inactive, Some(now));
            }
            Step::Reactivate { reasons } => {
                record.reasons.retain(|reason| !reasons.contains(reason));
                record.by_hand_lifted = false;
                assert!(record.reasons.is_empty(), "active exactly when no reason is left");
                (record.status, record.inactive_since) = (Status::Active, None);
            }
            Step::AmendReasons { add, remove } => {
                record.reasons.retain(|reason| !remove.contains(reason));
                record.by_hand_lifted &= record.reasons.contains(&Reason::ByHand);
                record.reasons.extend(add);
                assert!(!record.reasons.is_empty(), "amending never empties the set");
            }
        }
    }

    /// An admin answers this question.
    pub fn answered(&mut self, review: &NewReview, choice: Choice, username: Option<&str>) {
        let chosen = settlement(&review.choices, &review.candidates, choice, None, username).expect("a choice");
        self.answers.push(Answer {
            review: ReviewId(Uuid::from_u128(self.answers.len() as u128)),
            kind: review.kind,
            choice,
            record: chosen.record,
            username: chosen.username,
            about: review.about.clone(),
            candidates: review.candidates.clone(),
            doubts: review.doubts.clone(),
            applied: false,
        });
    }

    /// The only question there is now gets this answer.
    pub fn answers_with(&mut self, choice: Choice) {
        let plan = self.plan();
        let [review] = &plan.reviews[..] else { panic!("{:?}", plan.reviews) };
        self.answered(review, choice, None);
    }

    /// As the transaction would.
    fn changes_kind(&mut self, change: &KindChange) {
        let mut old = self.record.take().expect("a live record");
        let by_hand = old.reasons.contains(&Reason::ByHand);
        assert_eq!(change.archive.record, old.id);
        assert_eq!(change.brake.is_some(), old.status == Status::Active, "D6: who loses access counts");
        (old.username, old.email) = (change.archive.username.clone(), change.archive.email.clone());
        (old.reasons, old.status) = (change.archive.reasons.clone(), Status::Archived);
        old.inactive_since = Some(self.now);
        let (mut next, role, permissions, attributes, reasons) = match &change.next {
            Next::Create { record, reasons } => {
                let mut next = blank_record(record.kind);
                next.id = record_id(self.next_id);
                self.next_id += 1;
                (next, &record.role, &record.permissions, &record.attributes, reasons)
            }
            Next::BringBack { record, role, permissions, attributes, reasons } => {
                let place = self.former.iter().position(|former| former.id == *record).expect("one of this person's");
                let next = self.former.remove(place);
                assert!(!next.in_use, "M8: what is in use keeps its archived name");
                (next, role, permissions, attributes, reasons)
            }
        };
        write(&mut next, attributes);
        (next.role, next.permissions) = (role.clone(), permissions.clone());
        next.reasons.clone_from(reasons);
        next.status = if reasons.is_empty() { Status::Active } else { Status::Inactive };
        next.inactive_since = None;
        assert_eq!(next.reasons.contains(&Reason::ByHand), by_hand, "by_hand is carried over");
        assert_ne!(next.kind, old.kind);
        self.former.push(old);
        self.record = Some(next);
        self.holds_together();
    }

    /// G-20, M8: one live login at most, no name twice.
    pub fn holds_together(&self) {
        assert!(self.former.iter().all(|record| record.status == Status::Archived && !record.reasons.is_empty()));
        let records = || self.record.iter().chain(&self.former);
        for name in [|record: &Record| record.username.clone(), |record: &Record| record.email.clone()] {
            let names: Vec<String> = records().filter_map(name).map(|name| address_key(&name)).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        }
        let ids: BTreeSet<RecordId> = records().map(|record| record.id).collect();
        assert_eq!(ids.len(), records().count());
    }

    pub fn is_active(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.status == Status::Active)
    }

    pub fn record(&self) -> &Record {
        self.record.as_ref().expect("a record")
    }

    pub fn record_mut(&mut self) -> &mut Record {
        self.record.as_mut().expect("a record")
    }

    pub fn reasons(&self) -> Vec<Reason> {
        self.record().reasons.iter().copied().collect()
    }

    /// Switched off an hour ago for these reasons.
    pub fn inactive_for(&mut self, reasons: &[Reason]) {
        let since = self.now - Duration::from_secs(3600);
        let record = self.record_mut();
        record.reasons = reasons.iter().copied().collect();
        (record.status, record.inactive_since) = (Status::Inactive, Some(since));
    }

    /// Graph knows Ada, and nobody else, by her address.
    pub fn graph_knows_only_ada(&mut self) {
        self.owners =
            Some(AddressOwners { address: "ada@fabrikam.example".to_owned(), users: BTreeSet::from([ada()]) });
    }
}

pub fn blank_record(kind: Kind) -> Record {
    Record {
        id: record_id(1),
        connection: Some(ConnectionId(Uuid::from_u128(7))),
        realm: REALM.to_owned(),
        kind,
        status: Status::Active,
        reasons: BTreeSet::new(),
        role: None,
        permissions: Vec::new(),
        email: None,
        username: None,
        display_name: None,
        fields: Map::new(),
        entra_id: Some(ada()),
        root: false,
        privileged: false,
        in_use: false,
        inactive_since: None,
        edits: BTreeMap::new(),
        by_hand_lifted: false,
        sessions_valid_from: None,
    }
}

/// An imported record with Ada's address that nobody is linked to.
pub fn imported_ada() -> Candidate {
    Candidate {
        id: record_id(500),
        kind: Kind::Employee,
        status: Status::Active,
        reasons: BTreeSet::new(),
        within_reach: true,
        employee_id: None,
        entra_id: None,
        realm: REALM.to_owned(),
        root: false,
        privileged: false,
        email_key: Some(address_key("Ada@fabrikam.example")),
        username_key: Some("ada".to_owned()),
    }
}

pub fn write(record: &mut Record, changes: &Changes) {
    record.edits.retain(|name, _| !changes.overwritten.contains(name));
    if let Some(email) = &changes.email {
        record.email.clone_from(email);
    }
    if let Some(username) = &changes.username {
        record.username.clone_from(username);
    }
    if let Some(display_name) = &changes.display_name {
        record.display_name.clone_from(display_name);
    }
    for (name, value) in &changes.fields {
        if value.is_null() {
            record.fields.remove(name);
        } else {
            record.fields.insert(name.clone(), value.clone());
        }
    }
}

/// Groups of a membership read that tells direct from nested.
pub fn groups(list: &[(u128, Option<bool>)]) -> BTreeMap<ObjectId, Option<bool>> {
    list.iter().map(|(group, direct)| (object(*group), *direct)).collect()
}

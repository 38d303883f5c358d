//! A store in a temporary folder, a clock moved by hand, one connection with one rule, and people to read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lockstep_core::brake::Judgement;
use lockstep_core::hint::{Claim, Hint, HintMessage, MemberHint, Subject, VERSION};
use lockstep_core::matching::Candidate;
use lockstep_core::mirror::{MembershipRead, PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::plan::{Observed, Plan, PlanContext, plan, together};
use lockstep_core::profile::Profile;
use lockstep_core::record::{Kind, Record};
use lockstep_core::rule::Rule;
use lockstep_core::timing::Timing;
use lockstep_core::{ObjectId, SubscriptionId, Ticket, Timestamp};
use lockstep_store::{
    Applied, Clock, Connection, Decided, MirroredPerson, NewConnection, NewCredential, People, Store, StoreConfig,
    StoreError, Trigger, Tx,
};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use crate::store_place::{StorePlace, on_postgres};

pub const START: i64 = 1_800_000_000_000_000;
pub const CLIENT_SECRET: &str = "canary-client-secret-7Qz";

pub struct World {
    pub store: Store,
    pub connection: Connection,
    pub staff: ObjectId,
    pub folder: tempfile::TempDir,
    pub place: StorePlace,
    clock: Arc<AtomicI64>,
}

pub fn config(place: &StorePlace, folder: &tempfile::TempDir, clock: &Arc<AtomicI64>) -> StoreConfig {
    let micros = Arc::clone(clock);
    StoreConfig {
        url: place.url().to_owned(),
        key_file: folder.path().join("key"),
        clock: Clock::following(Arc::new(move || micros.load(Ordering::SeqCst))),
        timing: Timing::default(),
    }
}

pub fn new_connection(name: &str) -> NewConnection {
    NewConnection {
        name: name.to_owned(),
        tenant_id: ObjectId(Uuid::new_v4()),
        domain: "example.org".to_owned(),
        client_id: Uuid::new_v4().to_string(),
        credential: NewCredential::ClientSecret(SecretString::from(CLIENT_SECRET)),
        cloud: "global".to_owned(),
        realm: None,
        guests: false,
        match_domains: vec!["Example.org".to_owned()],
        test_users: vec![],
    }
}

pub fn rule(group: ObjectId, order: i64, role: &str) -> Rule {
    Rule {
        group,
        order,
        kind: Kind::Employee,
        role: Some(role.to_owned()),
        permissions: vec!["read".to_owned()],
        nested: true,
        exclude: false,
        group_name: role.to_owned(),
        group_created_at: None,
    }
}

/// The n-th person of the tenant; the same id in every test.
pub fn user(n: u128) -> ObjectId {
    ObjectId(Uuid::from_u128(0x4000_8000_0000_0000_0000 + n))
}

pub fn mail(n: u128) -> String {
    format!("person{n}@example.org")
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(START));
        let place = StorePlace::new(folder.path()).await;
        let store = Store::open(config(&place, &folder, &clock)).await.unwrap();
        let connection = store.add_connection(new_connection("contoso")).await.unwrap();
        let staff = ObjectId(Uuid::new_v4());
        let mut world = Self { store, connection, staff, folder, place, clock };
        world.set_rules(vec![rule(staff, 10, "staff")]).await;
        world.store.note_connection_ok(world.connection.id).await.unwrap();
        world.finish_first_sync().await;
        world
    }

    pub async fn set_rules(&mut self, rules: Vec<Rule>) {
        let Connection { id, fields, defaults, settings, .. } = &self.connection;
        self.store.apply_rules(*id, rules, fields, defaults, settings, &[]).await.unwrap();
        self.reload().await;
    }

    pub async fn finish_first_sync(&mut self) {
        let mut tx = self.store.begin("first sync").await.unwrap();
        tx.note_first_sync(self.connection.id).await.unwrap();
        tx.commit().await.unwrap();
        self.reload().await;
    }

    pub async fn reload(&mut self) {
        self.connection = self.store.lookup_connection(self.connection.id).await.unwrap().unwrap();
    }

    /// The same store, opened once more: what another process sees.
    pub async fn another_process(&self) -> Store {
        Store::open(config(&self.place, &self.folder, &self.clock)).await.unwrap()
    }

    /// Of a store that is one.
    pub fn file(&self) -> Option<PathBuf> {
        self.place.url().strip_prefix("sqlite://").map(PathBuf::from)
    }

    pub fn wait(&self, span: Duration) {
        self.clock.fetch_add(span.as_micros() as i64, Ordering::SeqCst);
    }

    pub fn now(&self) -> Timestamp {
        self.store.now()
    }

    /// Reads a person who is enabled and in these groups, both facets by id.
    pub async fn read(&self, n: u128, mail: &str, enabled: bool, groups: &[ObjectId]) -> PersonRead {
        let ticket = self.store.draw_ticket().await.unwrap();
        read_at(ticket, self.now(), n, mail, enabled, groups)
    }

    /// Mirrors, decides and applies in one transaction, as a worker does.
    pub async fn sync(&self, reads: &[PersonRead]) -> Result<Applied, StoreError> {
        let mut tx = self.store.begin("test sync").await?;
        let people = tx.mirror(&self.connection, reads).await?;
        let applied = self.decide(&mut tx, &people, reads).await?;
        tx.commit().await?;
        Ok(applied)
    }

    pub async fn decide(
        &self,
        tx: &mut Tx,
        people: &[MirroredPerson],
        reads: &[PersonRead],
    ) -> Result<Applied, StoreError> {
        self.decide_as(tx, people, reads, Judgement::Go).await
    }

    /// The same, with the brake's word on everybody.
    pub async fn decide_as(
        &self,
        tx: &mut Tx,
        people: &[MirroredPerson],
        reads: &[PersonRead],
        judgement: Judgement,
    ) -> Result<Applied, StoreError> {
        let rules = self.store.rule_set(self.connection.id).await?;
        let seen: Vec<Observed<'_>> = people.iter().map(MirroredPerson::observed).collect();
        let beside = |place: usize, candidates: &[Candidate]| self.plan_beside(&people[place], candidates, &rules);
        let plans = together(&seen, &self.context(), beside);
        let decided: Vec<Decided<'_>> = people
            .iter()
            .zip(&plans)
            .zip(reads)
            .map(|((person, plan), read)| Decided {
                person,
                plan,
                judgement: judgement.clone(),
                ticket: read.profile.as_ref().unwrap().ticket,
                read_at: read.profile.as_ref().unwrap().read_at,
                trigger: Trigger::Hint,
                rules_version: rules.version,
                remembered: false,
            })
            .collect();
        tx.apply(&self.connection, &decided).await
    }

    pub fn plan(&self, person: &MirroredPerson, rules: &lockstep_core::rule::RuleSet) -> Plan {
        self.plan_beside(person, &person.candidates, rules)
    }

    fn plan_beside(
        &self,
        person: &MirroredPerson,
        candidates: &[Candidate],
        rules: &lockstep_core::rule::RuleSet,
    ) -> Plan {
        plan(&Observed { candidates, ..person.observed() }, rules, &self.context())
    }

    fn context(&self) -> PlanContext<'_> {
        let connection = &self.connection;
        PlanContext {
            now: self.now(),
            timing: self.store.timing(),
            settings: &connection.settings,
            defaults: &connection.defaults,
            fields: &connection.fields,
            guests: connection.guests,
            first_sync_done: connection.first_sync_at.is_some(),
            listing_since: None,
            verified_domains: &connection.match_domains,
            realm: &connection.realm,
        }
    }

    pub async fn person(&self, n: u128) -> MirroredPerson {
        self.store.load_people(&self.connection, People::Ids(&[user(n)])).await.unwrap().remove(0)
    }

    pub async fn record(&self, n: u128) -> Record {
        self.person(n).await.record.expect("a linked record")
    }

    /// One number straight from the database.
    pub async fn number(&self, query: &str) -> i64 {
        self.place.number(query).await
    }

    pub async fn text(&self, query: &str) -> String {
        self.texts(query).await.remove(0)
    }

    pub async fn texts(&self, query: &str) -> Vec<String> {
        self.place.texts(query).await
    }

    /// Something done to the database behind the store's back.
    pub async fn change(&self, statement: &str) {
        self.try_change(statement).await.unwrap();
    }

    pub async fn try_change(&self, statement: &str) -> Result<(), sqlx::Error> {
        self.place.change(statement, &[]).await
    }

    /// All that somebody has who takes the store without its key.
    pub async fn dump(&self) -> Vec<u8> {
        if on_postgres() {
            return self.place.dump().await.into_bytes();
        }
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.flat_map(|file| std::fs::read(file).unwrap()).collect()
    }

    /// The brake keeps this person.
    pub async fn hold(&self, hold: Uuid, record: lockstep_core::RecordId, n: u128) {
        let connection = self.connection.id.0;
        let open = "INSERT INTO hold (id, connection_id, opened_at, limit_reached, cause, state)
            VALUES ($1, $2, 1, 'a limit', 'revoked', 'open')";
        self.place.change(open, &[hold, connection]).await.unwrap();
        let person =
            "INSERT INTO hold_person (hold_id, connection_id, record_id, user_id, cause, class, state, held_at)
            VALUES ($1, $2, $3, $4, '[\"upstream_disabled\"]', 'revoked', 'held', 1)";
        self.place.change(person, &[hold, connection, record.0, user(n).0]).await.unwrap();
    }

    pub fn message(&self, subjects: Vec<Subject>) -> HintMessage {
        let subscription = SubscriptionId(Uuid::from_u128(7));
        HintMessage {
            version: VERSION,
            id: Uuid::now_v7(),
            connection: self.connection.id,
            received_at: self.now(),
            items: subjects.into_iter().map(|subject| Hint { subscription, subject }).collect(),
        }
    }

    pub fn about(&self, n: u128) -> HintMessage {
        self.message(vec![changed(n)])
    }

    pub fn members(&self, members: &[(u128, bool)]) -> HintMessage {
        let members = members.iter().map(|(n, removed)| MemberHint { id: user(*n), removed: *removed }).collect();
        let subject = Subject::Group { id: self.staff, claim: Claim::Changed, members, truncated: false };
        self.message(vec![subject])
    }
}

pub fn changed(n: u128) -> Subject {
    Subject::User { id: user(n), claim: Claim::Changed }
}

pub fn profile(n: u128, mail: &str, enabled: bool) -> Profile {
    let object = json!({
        "id": user(n), "accountEnabled": enabled, "userType": "Member", "displayName": format!("Person {n}"),
        "mail": mail, "userPrincipalName": mail,
    });
    Profile::from_graph(Some(user(n)), object.as_object().unwrap().clone()).unwrap()
}

pub fn read_at(ticket: Ticket, at: Timestamp, n: u128, mail: &str, enabled: bool, groups: &[ObjectId]) -> PersonRead {
    let found = ProfileFound::Present(profile(n, mail, enabled).into());
    PersonRead {
        user: user(n),
        profile: Some(ProfileRead { ticket, read_at: at, source: Source::ById, found }),
        membership: Some(MembershipRead {
            ticket,
            read_at: at,
            source: Source::ById,
            groups: groups.iter().map(|group| (*group, Some(true))).collect::<BTreeMap<_, _>>(),
        }),
    }
}

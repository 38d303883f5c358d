//! A simulated tenant, a Lockstep connected to it, and hands to change the one and look into the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lockstep_core::field::FieldMap;
use lockstep_core::hint::{Claim, Hint, HintMessage, Subject, VERSION};
use lockstep_core::record::{Kind, Record};
use lockstep_core::rule::Rule;
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::{ObjectId, RecordId, SubscriptionId};
use lockstep_queue::Queue;
use lockstep_simulator::{Simulator, SimulatorConfig};
use lockstep_store::view::event::EventSums;
use lockstep_store::view::record::RecordFilter;
use lockstep_store::{
    Connection, NewConnection, NewCredential, People, Store, SubscriptionStatus, TaskState, TaskView,
};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use crate::cost::Cost;
use crate::error::{BenchError, During as _};
use crate::place::{Place, Target};
use crate::serve::{Serve, wait};

/// Longer than anything measured here takes.
const PATIENCE: Duration = Duration::from_secs(3_600);
const LOOK: &str = "looking into the store";
/// People looked at by one query.
const SOME: usize = 500;
/// Seldom enough that looking costs those who are measured next to nothing.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Publishers at a time when hints are handed in without a receiver.
const PUBLISHERS: usize = 256;

/// Requests to Graph.
pub struct Asked {
    /// For what changed of people.
    pub about_people: usize,
    /// Delta rounds, what keeps subscriptions and tokens, and what is listed again after a sync: come what may.
    pub by_the_clock: usize,
}

/// One connection; everything goes when it is dropped.
pub struct Installation {
    /// Microsoft.
    pub simulator: Simulator,
    /// The store, opened a second time to look into it.
    pub store: Store,
    /// The only connection.
    pub connection: Connection,
    pub(crate) serve: Option<Serve>,
    pub(crate) place: Place,
}

impl Installation {
    /// Connected and at work in one process; nobody in the tenant, no rules. `timing` is what stands under `[timing]` of
    /// `lockstep.toml`.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub async fn start(target: &Target, timing: &str) -> Result<Self, BenchError> {
        let simulator = Simulator::start(SimulatorConfig::default()).await.during("starting the simulator")?;
        let place = Place::make(target, timing).await?;
        let store = place.store.clone();
        let added = store.add_connection(connection_to(&simulator)).await;
        let connection = added.during("adding the connection")?;
        let mut installation = Self { simulator, store, connection, serve: None, place };
        installation.serve_roles(&[]).await?;
        Ok(installation)
    }

    /// Starts these roles in one process, in place of the one before, which is killed.
    pub(crate) async fn serve_roles(&mut self, roles: &[&str]) -> Result<(), BenchError> {
        self.kill();
        self.serve = Some(Serve::start(&self.place, roles, Some(&self.simulator)).await?);
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.serve = None;
    }

    /// What `serve` cost so far.
    pub fn cost(&self) -> Cost {
        self.serve.as_ref().map(Serve::cost).unwrap_or_default()
    }

    /// The most memory `serve` held so far, MiB.
    pub fn peak_mib(&self) -> f64 {
        self.serve.as_ref().map(Serve::peak_mib).unwrap_or_default()
    }

    /// So many people in a group that gives access, synced, with whatever a sync leaves to be done.
    pub(crate) async fn employ(&self, people: usize) -> Result<Vec<Uuid>, BenchError> {
        let (users, groups) = self.simulator.tenant().seed(people, people, &["Staff"]);
        self.map(&groups).await?;
        self.sync().await?;
        self.at_rest().await?;
        Ok(users)
    }

    /// Requests to Graph since the simulator's counters were reset.
    pub fn asked(&self) -> Asked {
        let counters = self.simulator.counters();
        let sum = |by_the_clock: bool| {
            let asked = counters.requests.iter().filter(|(route, _)| is_by_the_clock(route) == by_the_clock);
            asked.map(|(_, count)| usize::try_from(*count).unwrap_or(usize::MAX)).sum()
        };
        Asked { about_people: sum(false), by_the_clock: sum(true) }
    }

    /// Each of these groups gives access.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn map(&self, groups: &[Uuid]) -> Result<(), BenchError> {
        let rules = (10..).zip(groups).map(|(order, group)| rule(order, *group)).collect();
        let (fields, defaults, settings) = (FieldMap::default(), Defaults::default(), Settings::default());
        let applied = self.store.apply_rules(self.connection.id, rules, &fields, &defaults, &settings, &[]).await;
        applied.during("applying the rules").map(|_| ())
    }

    /// A full sync, to its end.
    ///
    /// # Errors
    /// When the store does not answer, or the sync does not end well.
    pub async fn sync(&self) -> Result<TaskView, BenchError> {
        const ATTEMPT: &str = "syncing everybody";
        let task = self.store.start_full_sync(self.connection.id).await.during(ATTEMPT)?;
        let began = Instant::now();
        loop {
            let view = self.store.lookup_task(task).await.during(ATTEMPT)?;
            match view.filter(|view| view.state != TaskState::Due) {
                Some(view) if view.state == TaskState::Done => return Ok(view),
                Some(view) => {
                    let reason = view.reason.unwrap_or_default();
                    return Err(BenchError::Failed { attempt: ATTEMPT.to_owned(), source: reason.into() });
                }
                None => wait(began, "the sync", PATIENCE).await?,
            }
        }
    }

    /// Until both subscriptions stand and nothing is due any more.
    ///
    /// # Errors
    /// When the store does not answer, or it does not come to that.
    pub async fn subscribed_and_at_rest(&self) -> Result<(), BenchError> {
        let began = Instant::now();
        loop {
            let all = self.store.list_subscriptions(Some(self.connection.id)).await.during(LOOK)?;
            if all.iter().filter(|one| one.status == SubscriptionStatus::Active).count() >= 2 {
                return self.at_rest().await;
            }
            wait(began, "the subscriptions", PATIENCE).await?;
        }
    }

    /// Until nothing is due by now and nobody has anything in hand.
    ///
    /// # Errors
    /// When the store does not answer, or it does not come to that.
    pub async fn at_rest(&self) -> Result<(), BenchError> {
        let began = Instant::now();
        loop {
            let next = self.store.next_due_at().await.during(LOOK)?;
            let in_hand = self.store.work_in_hand().await.during(LOOK)?;
            if in_hand == 0 && next.is_none_or(|at| at > self.store.now()) {
                return Ok(());
            }
            wait(began, "rest", PATIENCE).await?;
        }
    }

    /// The records of these people, at most 500 of them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn records(&self, users: &[Uuid]) -> Result<BTreeMap<Uuid, Record>, BenchError> {
        let ids: Vec<ObjectId> = users.iter().copied().map(ObjectId).collect();
        let people = self.store.load_people(&self.connection, People::Ids(&ids)).await.during(LOOK)?;
        Ok(people.into_iter().filter_map(|person| Some((person.user.id.0, person.record?))).collect())
    }

    /// Gives each of these people this job title, in Microsoft.
    pub(crate) fn rename(&self, users: &[Uuid], title: &str) -> Result<(), BenchError> {
        let tenant = self.simulator.tenant();
        for user in users {
            tenant.patch_user(*user, json!({"jobTitle": title})).during("changing a person in the simulator")?;
        }
        Ok(())
    }

    /// How many of at most 500 people do not carry this title yet.
    pub(crate) async fn untitled(&self, users: &[Uuid], title: &str) -> Result<Vec<Uuid>, BenchError> {
        let records = self.records(users).await?;
        let carries =
            |user: &Uuid| records.get(user).is_some_and(|record| record.fields.get("job_title") == Some(&json!(title)));
        Ok(users.iter().copied().filter(|user| !carries(user)).collect())
    }

    /// The same of one record, for little.
    pub(crate) async fn is_titled(&self, record: RecordId, title: &str) -> Result<bool, BenchError> {
        let filter = RecordFilter { id: Some(record), limit: 1, ..RecordFilter::default() };
        let found = self.store.list_records(&filter).await.during(LOOK)?;
        Ok(found.first().is_some_and(|record| record.fields.get("job_title") == Some(&json!(title))))
    }

    /// Until all of them carry this title.
    pub(crate) async fn all_titled(&self, users: &[Uuid], title: &str) -> Result<(), BenchError> {
        let began = Instant::now();
        for some in users.chunks(SOME) {
            while !self.untitled(some, title).await?.is_empty() {
                tokio::time::sleep(LOOK_EVERY).await;
                wait(began, "a change", PATIENCE).await?;
            }
        }
        Ok(())
    }

    /// Everybody carries this title now: what was handed in is in the records.
    pub(crate) async fn nothing_lost(&self, users: &[Uuid], title: &str) -> Result<(), BenchError> {
        let mut lost = 0;
        for some in users.chunks(SOME) {
            lost += self.untitled(some, title).await?.len();
        }
        if lost > 0 {
            return Err(BenchError::Worthless(format!("{lost} changes are in no record")));
        }
        Ok(())
    }

    /// How many events stand where.
    pub(crate) async fn ledger(&self) -> Result<EventSums, BenchError> {
        self.store.ledger(self.connection.id).await.during(LOOK)
    }

    /// A hint about this person, as a receiver makes it of a POST of one item.
    pub(crate) fn hint(&self, users: &[Uuid]) -> HintMessage {
        let about = |user: &Uuid| Hint {
            subscription: SubscriptionId(Uuid::nil()),
            subject: Subject::User { id: ObjectId(*user), claim: Claim::Changed },
        };
        HintMessage {
            version: VERSION,
            id: Uuid::now_v7(),
            connection: self.connection.id,
            received_at: self.store.now(),
            items: users.iter().map(about).collect(),
        }
    }

    /// Publishes a hint about each of these people, one a message.
    pub(crate) async fn publish(&self, queue: &Queue, users: &[Uuid]) -> Result<(), BenchError> {
        for some in users.chunks(PUBLISHERS) {
            let hints: Vec<HintMessage> = some.iter().map(|user| self.hint(std::slice::from_ref(user))).collect();
            let published = futures::future::join_all(hints.iter().map(|hint| queue.publish(hint))).await;
            published.into_iter().collect::<Result<Vec<()>, _>>().during("publishing hints")?;
        }
        Ok(())
    }

    /// Nobody is told of changes any more: hints are handed in by hand.
    pub(crate) fn mute(&self) {
        self.simulator.change_settings(|settings| settings.notifications = false);
    }
}

fn is_by_the_clock(route: &str) -> bool {
    ["delta", "subscriptions", "organization", "groups", "token"].iter().any(|part| route.contains(part))
}

fn connection_to(simulator: &Simulator) -> NewConnection {
    let tenant = simulator.tenant();
    NewConnection {
        name: "contoso".to_owned(),
        tenant_id: ObjectId(tenant.id()),
        domain: tenant.domain(),
        client_id: tenant.client_id().to_string(),
        credential: NewCredential::ClientSecret(SecretString::from(tenant.client_secret())),
        cloud: "global".to_owned(),
        realm: None,
        guests: false,
        match_domains: vec![tenant.domain()],
        test_users: Vec::new(),
    }
}

fn rule(order: i64, group: Uuid) -> Rule {
    Rule {
        group: ObjectId(group),
        order,
        kind: Kind::Employee,
        role: Some("Technician".to_owned()),
        permissions: Vec::new(),
        nested: true,
        exclude: false,
        group_name: "Staff".to_owned(),
        group_created_at: None,
    }
}

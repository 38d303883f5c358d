//! One small company, its Lockstep, and the chronicle of what was true in it.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_core::brake::BrakeLimits;
use lockstep_core::record::Kind;
use lockstep_core::rule::Rule;
use lockstep_core::settings::Settings;
use lockstep_core::{ObjectId, Timestamp};
use lockstep_simulator::{Fault, NewUser};
use lockstep_store::SubscriptionStatus;
use lockstep_testkit::World;
use lockstep_tests::Chance;
use lockstep_tests::model::{Chronicle, ModelRule, ModelRules, Person, Truth};
use serde_json::json;
use uuid::Uuid;

use crate::history::check::Seen;
use crate::history::operation::{Cast, MOST_LAG_MS, Operation};

/// Whoever loses access sooner than this after the first sync may count as part of it, and is held (D6).
const AFTER_FIRST_SYNC: Duration = Duration::from_secs(2 * 60);

const LEASES_RUN_OUT: Duration = Duration::from_secs(16);

/// What a directory says of somebody besides access.
#[derive(Clone)]
pub struct Card {
    pub mail: String,
    pub name: String,
}

/// What the sum of the events must allow for (G-05).
#[derive(Clone, Copy, Default)]
pub struct Books {
    /// Events that nobody sent: somebody asked.
    pub asked: u64,
    /// What a dying process had kept but not answered comes again, and counts again.
    pub crashed: bool,
    /// What is sent under a subscription that has ended is answered, and dropped (BI-17).
    pub resubscribed: bool,
}

pub struct Stage {
    pub world: World,
    pub chance: Chance,
    pub chronicle: Chronicle,
    pub cards: BTreeMap<Uuid, Card>,
    groups: Vec<Uuid>,
    rules: ModelRules,
    numbers: u32,
    /// What was seen at the last check, and when that was.
    pub seen: BTreeMap<Uuid, Seen>,
    pub checked_at: i64,
    pub books: Books,
    /// What happened so far, for whoever has to find out why.
    pub trail: Vec<String>,
}

impl Stage {
    /// A company of 8 to 30 people, connected, subscribed and synced.
    pub async fn set(seed: u64) -> Self {
        let mut chance = Chance::seeded(seed);
        let world = World::start_standing(seed).await;
        let groups = ["Managers", "Staff", "Field Team", "Suspended"].map(|name| world.group(name)).to_vec();
        let mut stage = Self {
            world,
            rules: rules(&groups, chance.percent(40), chance.percent(80)),
            chance,
            chronicle: Chronicle::default(),
            cards: BTreeMap::new(),
            groups,
            numbers: 0,
            seen: BTreeMap::new(),
            checked_at: 0,
            books: Books::default(),
            trail: Vec::new(),
        };
        if stage.chance.percent(70) {
            stage.world.tenant.add_member(stage.groups[1], stage.groups[2]).expect("groups nest");
        }
        for _ in 0..8 + stage.chance.below(23) {
            let group = stage.groups[usize::try_from(stage.chance.below(3)).expect("three groups")];
            stage.hire(&[group], false);
        }
        stage.import().await;
        stage.note_truth();
        stage.connect().await;
        stage.checked_at = stage.now();
        stage
    }

    /// Some of the people are known here already, by address.
    async fn import(&mut self) {
        let known = if self.chance.percent(40) { 3 } else { 0 };
        let line = |(number, card): (usize, &Card)| {
            let line = json!({"kind": "employee", "email": card.mail, "display_name": "Somebody", "host_id": number.to_string()});
            line.to_string()
        };
        let lines: Vec<String> = self.cards.values().take(known).enumerate().map(line).collect();
        let Ok(lines) = lockstep_store::import::ImportedRecord::parse_file(&lines.join("\n")) else {
            panic!("the lines are good")
        };
        let imported = self.world.store.import_records(&self.world.connection, &lines).await.expect("the import works");
        assert_eq!(imported.imported as usize, known);
    }

    async fn connect(&mut self) {
        self.apply_rules().await;
        for _ in 0..50 {
            self.world.quiet().await;
            let subscriptions =
                self.world.store.list_subscriptions(Some(self.world.connection.id)).await.expect("the store answers");
            let live = subscriptions.iter().filter(|one| one.status == SubscriptionStatus::Active).count();
            if live >= 2 && self.world.connection_now().await.first_sync_at.is_some() {
                // What the first sync finds is held together; that is another story.
                return self.pass(AFTER_FIRST_SYNC).await;
            }
        }
        panic!("the connection was not synced and subscribed");
    }

    pub fn now(&self) -> i64 {
        self.world.clock.now_micros()
    }

    /// From now on the tenant is as it is, by the rules as they are.
    pub fn note_truth(&mut self) {
        let person = |user: lockstep_simulator::TruthUser| {
            let person = Person {
                enabled: user.enabled,
                deleted: user.deleted,
                guest: user.user_type == "Guest",
                groups: user.groups.into_iter().collect(),
                direct: user.direct_groups.into_iter().collect(),
            };
            (user.id, person)
        };
        let truth: Truth = self.world.tenant.truth().into_iter().map(person).collect();
        self.chronicle.note(self.now(), truth, &self.rules);
    }

    /// Whom and what the next operation may be about.
    pub fn draw<T>(&mut self, draw: impl FnOnce(&mut Chance, &Cast<'_>) -> T) -> T {
        let people: Vec<Uuid> = self.cards.keys().copied().collect();
        let truth = self.chronicle.now().map(|(truth, _)| truth.clone()).unwrap_or_default();
        let by_life = |deleted| truth.iter().filter(move |(_, person)| person.deleted == deleted).map(|(id, _)| *id);
        let (present, deleted): (Vec<Uuid>, Vec<Uuid>) = (by_life(false).collect(), by_life(true).collect());
        let groups = self.groups.clone();
        let cast =
            Cast { people: &people, present: &present, deleted: &deleted, groups: &groups, deleted_groups: &groups };
        draw(&mut self.chance, &cast)
    }

    /// Makes it happen. What Microsoft would refuse does not happen.
    pub async fn play(&mut self, operation: &Operation) {
        self.trail.push(format!("{:>12.3}s {operation:?}", self.now() as f64 / 1e6 % 1e6));
        match operation {
            Operation::Crash => {
                self.books.crashed = true;
                self.world.crash_worker().await;
                // FA-18: what the dead had in hand is somebody else's when their leases have run out.
                self.world.clock.advance(LEASES_RUN_OUT);
            }
            Operation::ChangeRules => self.change_rules().await,
            Operation::Sync => {
                self.world.store.start_full_sync(self.world.connection.id).await.expect("the sync starts");
            }
            Operation::LookAt(person) => {
                let asked = self.world.store.request_on_demand(self.world.connection.id, ObjectId(*person)).await;
                asked.expect("the store answers");
                self.books.asked += 1;
            }
            _ => self.change_tenant(operation),
        }
        self.note_truth();
    }

    fn change_tenant(&mut self, operation: &Operation) {
        let tenant = self.world.tenant.clone();
        let refused = match operation {
            Operation::Hire { groups, guest } => {
                self.hire(groups, *guest);
                Ok(())
            }
            Operation::Rename(person) => self.rename(*person),
            Operation::ChangeMail(person) => self.change_mail(*person),
            Operation::Enable { person, enabled } => tenant.patch_user(*person, json!({"accountEnabled": enabled})),
            Operation::Delete { person, hard } => tenant.delete_user(*person, *hard),
            Operation::Restore(person) => tenant.restore_user(*person),
            Operation::Join { group, member } => tenant.add_member(*group, *member),
            Operation::Leave { group, member } => tenant.remove_member(*group, *member),
            Operation::Move { person, from, to } => {
                tenant.remove_member(*from, *person).and_then(|()| tenant.add_member(*to, *person))
            }
            Operation::DeleteGroup(group) => tenant.delete_group(*group, false),
            Operation::RestoreGroup(group) => tenant.restore_group(*group),
            Operation::LoseSubscriptions => {
                self.books.resubscribed = true;
                tenant.lose_subscriptions();
                Ok(())
            }
            faults => {
                self.set_faults(faults);
                Ok(())
            }
        };
        if let Err(refused) = refused {
            self.trail.push(format!("              refused: {refused}"));
        }
    }

    fn hire(&mut self, groups: &[Uuid], guest: bool) {
        self.numbers += 1;
        let name = format!("Person Number{}", self.numbers);
        let mail = format!("person{}@contoso.example", self.numbers);
        let mut user = NewUser::named(&name);
        user.mail = Some(mail.clone());
        if guest {
            user.user_type = "Guest".to_owned();
        }
        let id = self.world.tenant.create_user(user);
        self.cards.insert(id, Card { mail, name });
        for group in groups {
            // A group may be deleted just now.
            let _ = self.world.tenant.add_member(*group, id);
        }
    }

    fn rename(&mut self, person: Uuid) -> Result<(), lockstep_simulator::SimulatorError> {
        self.numbers += 1;
        let name = format!("Renamed Number{}", self.numbers);
        self.world.tenant.patch_user(person, json!({"displayName": name}))?;
        self.cards.entry(person).and_modify(|card| card.name = name);
        Ok(())
    }

    fn change_mail(&mut self, person: Uuid) -> Result<(), lockstep_simulator::SimulatorError> {
        self.numbers += 1;
        let mail = format!("moved{}@contoso.example", self.numbers);
        self.world.tenant.patch_user(person, json!({"mail": mail}))?;
        self.cards.entry(person).and_modify(|card| card.mail = mail);
        Ok(())
    }

    fn set_faults(&mut self, operation: &Operation) {
        let simulator = &self.world.simulator;
        let share = |percent: u64| percent as f64 / 100.0;
        let sent = || Fault::on("notifications");
        match *operation {
            Operation::NotificationFaults { lost, doubled, held, shuffled } => {
                simulator.set_fault(Fault { probability: share(lost), drop: true, ..sent() });
                simulator.set_fault(Fault { probability: share(doubled), duplicate: true, ..sent() });
                let hold = Fault { hold_seconds: Some(90), hold_random: true, ..sent() };
                simulator.set_fault(Fault { probability: share(held), ..hold });
                let reorder = if shuffled { 0.5 } else { 0.0 };
                simulator.set_fault(Fault { probability: reorder, reorder: true, ..sent() });
            }
            Operation::Lag => {
                for route in LAGGING {
                    let (lag, random) = (self.chance.below(MOST_LAG_MS + 1), self.chance.percent(50));
                    simulator.set_fault(Fault { lag_ms: Some(lag), lag_random: random, ..Fault::on(route) });
                }
            }
            Operation::GraphFaults { status, percent } => {
                let retry_after = (status == 429).then_some(1);
                simulator.set_fault(Fault {
                    probability: share(percent),
                    status: Some(status),
                    retry_after,
                    ..Fault::default()
                });
            }
            _ => simulator.clear_faults(),
        }
    }

    async fn change_rules(&mut self) {
        self.rules = rules(&self.groups, self.chance.percent(40), self.chance.percent(70));
        if self.chance.percent(30) {
            self.rules.rotate_left(1);
        }
        if self.chance.percent(25) {
            self.rules.pop();
        }
        self.trail.push(format!("              now {:?}", self.rules));
        self.apply_rules().await;
    }

    async fn apply_rules(&mut self) {
        let rules = (10..).step_by(10).zip(&self.rules).map(|(order, rule)| written(rule, order)).collect();
        let settings = Settings { brake: no_brake(), ..Settings::default() };
        self.world.apply_rules(rules, &settings).await;
        self.world.store.start_full_sync(self.world.connection.id).await.expect("the sync starts");
    }

    /// Lets time pass and everything happen that is due in it.
    pub async fn pass(&mut self, span: Duration) {
        self.world.clock.advance(span);
        self.world.quiet().await;
    }
}

/// Every kind of read has a replica of its own.
const LAGGING: [&str; 10] = [
    "GET /users",
    "GET /users/{id}",
    "GET /users/delta",
    "GET /users/{id}/transitiveMemberOf",
    "GET /users/{id}/memberOf",
    "GET /groups/{id}",
    "GET /groups/delta",
    "GET /groups/{id}/transitiveMembers",
    "GET /groups/{id}/transitiveMemberOf",
    "GET /directory/deletedItems/{id}",
];

fn rules(groups: &[Uuid], exclude: bool, nested: bool) -> ModelRules {
    let rule = |group: usize, role, exclude| ModelRule { group: groups[group], role, nested, exclude };
    let mut rules = vec![rule(0, "Manager", false), rule(1, "Technician", false)];
    if exclude {
        rules.insert(0, rule(3, "", true));
    }
    rules
}

fn written(rule: &ModelRule, order: i64) -> Rule {
    Rule {
        group: ObjectId(rule.group),
        order,
        kind: Kind::Employee,
        role: (!rule.exclude).then(|| rule.role.to_owned()),
        permissions: Vec::new(),
        nested: rule.nested,
        exclude: rule.exclude,
        group_name: rule.role.to_owned(),
        group_created_at: None::<Timestamp>,
    }
}

/// The brake has tests of its own; here nobody is held.
fn no_brake() -> BrakeLimits {
    const MANY: u32 = 100_000;
    BrakeLimits {
        lost_scope_people: MANY,
        revoked_people: MANY,
        both_percent: MANY,
        daily_lost_scope_people: MANY,
        daily_revoked_people: MANY,
        daily_both_percent: MANY,
        small_below: 0,
        installation_people: MANY,
        ..BrakeLimits::default()
    }
}

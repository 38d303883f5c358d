//! One small company, its Lockstep, and the chronicle of what was true in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_core::record::Kind;
use lockstep_core::settings::Settings;
use lockstep_core::{EventId, ObjectId, RecordId};
use lockstep_simulator::{LifecycleEvent, NewUser, SimulatorError};
use lockstep_store::view::event::EventFilter;
use lockstep_store::{Replay, SubscriptionStatus};
use lockstep_testkit::World;
use lockstep_tests::Chance;
use lockstep_tests::model::{Chronicle, ModelRules, Person, Truth};
use serde_json::json;
use uuid::Uuid;

use crate::history::admin::{self, ByHand};
use crate::history::brake::{Brake, Taken};
use crate::history::check::Seen;
use crate::history::faults;
use crate::history::operation::{Cast, Operation, Play, draw, pause};
use crate::history::rulebook;

const LEASES_RUN_OUT: Duration = Duration::from_secs(16);

/// What a directory says of somebody besides access.
#[derive(Clone)]
pub struct Card {
    pub mail: String,
    pub name: String,
    /// When it was last changed.
    pub since: i64,
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
    portal: Uuid,
    clients: BTreeSet<Uuid>,
    /// Whose record was here before them: the first sync may hold their removal (D6).
    pub imported: BTreeSet<Uuid>,
    /// When everything had been synced once.
    pub first_synced_at: i64,
    rules: ModelRules,
    pub brake: Brake,
    pub by_hand: ByHand,
    /// Whom the brake kept in at the last check.
    pub held: BTreeMap<Uuid, RecordId>,
    /// Who lost access, and when.
    pub taken: Vec<Taken>,
    numbers: u32,
    /// What was seen at the last check, and when that was.
    pub seen: BTreeMap<Uuid, Seen>,
    /// The record that each person had last of each kind (M7).
    pub homes: BTreeMap<(Uuid, Kind), RecordId>,
    pub checked_at: i64,
    pub books: Books,
    /// What happened so far, for whoever has to find out why.
    pub trail: Vec<String>,
}

impl Stage {
    /// A company of 8 to 30 people, connected, subscribed and synced; `play` says whether the first sync is disturbed.
    pub async fn set(seed: u64, play: Play) -> Self {
        let mut stage = Self::found(seed, play).await;
        if stage.chance.percent(70) {
            stage.world.tenant.add_member(stage.groups[1], stage.groups[2]).expect("groups nest");
        }
        for _ in 0..8 + stage.chance.below(23) {
            let group = stage.groups[usize::try_from(stage.chance.below(3)).expect("three groups")];
            stage.hire(&[group], false);
        }
        for _ in 0..stage.chance.below(4) {
            let client = stage.hire(&[stage.portal], false);
            stage.clients.insert(client);
        }
        stage.import().await;
        stage.note_truth();
        stage.checked_at = stage.now();
        stage.apply_rules().await;
        if play == Play::Everything && stage.chance.percent(50) {
            stage.disturb().await;
        }
        stage.connected().await;
        stage
    }

    /// The tenant and its groups, and a Lockstep that knows nothing of them.
    async fn found(seed: u64, play: Play) -> Self {
        let mut chance = Chance::seeded(seed);
        let world = World::start_standing(seed).await;
        let groups = ["Managers", "Staff", "Field Team", "Suspended"].map(|name| world.group(name)).to_vec();
        let portal = world.group("Portal");
        let trail = vec![format!("Managers, Staff, Field Team, Suspended: {groups:?}, Portal: {portal}")];
        let brake = if play == Play::Everything { Brake::drawn(&mut chance) } else { Brake::off() };
        Self {
            world,
            rules: rulebook::rules(&groups, portal, chance.percent(40), chance.percent(80), false),
            chance,
            chronicle: Chronicle::default(),
            cards: BTreeMap::new(),
            groups,
            portal,
            clients: BTreeSet::new(),
            imported: BTreeSet::new(),
            first_synced_at: i64::MAX,
            brake,
            by_hand: ByHand::default(),
            held: BTreeMap::new(),
            taken: Vec::new(),
            numbers: 0,
            seen: BTreeMap::new(),
            homes: BTreeMap::new(),
            checked_at: 0,
            books: Books::default(),
            trail,
        }
    }

    /// Some of the people are known here already, by address.
    async fn import(&mut self) {
        let known = if self.chance.percent(40) { 3 } else { 0 };
        let line = |(number, card): (usize, &Card)| {
            // M8: to the first of them other data refers.
            let line = json!({"kind": "employee", "email": card.mail, "display_name": "Somebody",
                "host_id": number.to_string(), "in_use": number == 0});
            line.to_string()
        };
        let staff = self.cards.iter().filter(|(person, _)| !self.clients.contains(person));
        let known: BTreeMap<Uuid, Card> = staff.take(known).map(|(person, card)| (*person, card.clone())).collect();
        let lines: Vec<String> = known.values().enumerate().map(line).collect();
        let Ok(lines) = lockstep_store::import::ImportedRecord::parse_file(&lines.join("\n")) else {
            panic!("the lines are good")
        };
        let imported = self.world.store.import_records(&self.world.connection, &lines).await.expect("the import works");
        assert_eq!(imported.imported as usize, known.len());
        self.imported = known.into_keys().collect();
    }

    /// Things happen while the first sync is under way: changes, faults, crashes.
    async fn disturb(&mut self) {
        for _ in 0..1 + self.chance.below(6) {
            let Some(operation) = self.draw(|chance, cast| draw(chance, cast, Play::FirstSync)) else { continue };
            self.play(&operation).await;
            match pause(&mut self.chance) {
                Some(span) => self.pass(span).await,
                None => self.world.clock.advance(Duration::from_millis(7)),
            }
        }
        self.play(&Operation::ClearFaults).await;
    }

    async fn connected(&mut self) {
        for _ in 0..200 {
            self.world.quiet().await;
            let subscriptions =
                self.world.store.list_subscriptions(Some(self.world.connection.id)).await.expect("the store answers");
            let live = subscriptions.iter().filter(|one| one.status == SubscriptionStatus::Active).count();
            if live >= 2 && self.world.connection_now().await.first_sync_at.is_some() {
                self.first_synced_at = self.now();
                return;
            }
            // Whoever was told to wait, or had a lease when they died, waits by this clock.
            self.world.clock.advance(Duration::from_secs(5));
        }
        panic!("the connection was not synced and subscribed: {}", self.trail.join("\n"));
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
        let in_portal = |person: &&Uuid| truth.get(person).is_some_and(|it| it.direct.contains(&self.portal));
        let switched_off: Vec<Uuid> = self.by_hand.off.iter().copied().collect();
        let clients: Vec<Uuid> = present.iter().filter(in_portal).copied().collect();
        let cast = Cast {
            people: &people,
            present: &present,
            clients: &clients,
            portal: self.portal,
            deleted: &deleted,
            groups: &self.groups,
            deleted_groups: &self.groups,
            switched_off: &switched_off,
        };
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
            Operation::Pause => {
                self.world.store.pause_connection(self.world.connection.id).await.expect("the store answers");
            }
            Operation::Resume => {
                self.world.store.resume_connection(self.world.connection.id).await.expect("the store answers");
            }
            Operation::Replay(events) => self.replay(*events).await,
            Operation::Sync => {
                self.world.store.start_full_sync(self.world.connection.id).await.expect("the sync starts");
            }
            Operation::LookAt(person) => {
                let asked = self.world.store.request_on_demand(self.world.connection.id, ObjectId(*person)).await;
                asked.expect("the store answers");
                self.books.asked += 1;
            }
            Operation::EditName(person) => admin::edit(self, *person).await,
            Operation::Switch { person, on } => admin::switch(self, *person, *on).await,
            Operation::AnswerHold { decision, percent } => admin::answer(self, *decision, *percent).await,
            _ => self.change_tenant(operation),
        }
        self.note_truth();
    }

    fn change_tenant(&mut self, operation: &Operation) {
        let tenant = self.world.tenant.clone();
        let refused = match operation {
            Operation::Hire { groups, guest, client } => {
                let person = self.hire(groups, *guest);
                if *client {
                    self.clients.insert(person);
                }
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
            Operation::Lifecycle { subscription, event } => self.tell_lifecycle(*subscription, *event),
            faults => {
                faults::set(&self.world.simulator, &mut self.chance, faults);
                Ok(())
            }
        };
        if let Err(refused) = refused {
            self.trail.push(format!("              refused: {refused}"));
        }
    }

    fn tell_lifecycle(&mut self, place: u64, event: LifecycleEvent) -> Result<(), SimulatorError> {
        let live = self.world.tenant.subscriptions();
        let Some(subscription) = live.get(usize::try_from(place).unwrap_or(0)) else { return Ok(()) };
        self.books.resubscribed |= event == LifecycleEvent::SubscriptionRemoved;
        self.world.tenant.send_lifecycle(*subscription, event)
    }

    /// R2: any of the events there are, whatever became of them.
    async fn replay(&mut self, events: u64) {
        let filter = EventFilter { limit: 10_000, ..EventFilter::default() };
        let mut known: Vec<EventId> =
            self.world.store.list_events(&filter).await.expect("the store answers").iter().map(|one| one.id).collect();
        known.sort();
        let drawn: Vec<EventId> = (0..events).filter_map(|_| self.chance.pick(&known).copied()).collect();
        let replays = self.world.store.replay_events(&drawn).await.expect("the store answers");
        self.books.asked += replays.iter().filter(|replay| matches!(replay, Replay::Begun(_))).count() as u64;
    }

    fn hire(&mut self, groups: &[Uuid], guest: bool) -> Uuid {
        let (name, since) = (self.next_name("Person"), self.now());
        let mail = format!("person{}@contoso.example", self.numbers);
        let mut user = NewUser::named(&name);
        user.mail = Some(mail.clone());
        if guest {
            user.user_type = "Guest".to_owned();
        }
        let id = self.world.tenant.create_user(user);
        self.trail.push(format!("              {name} is {id}"));
        self.cards.insert(id, Card { mail, name, since });
        for group in groups {
            // A group may be deleted just now.
            let _ = self.world.tenant.add_member(*group, id);
        }
        id
    }

    fn rename(&mut self, person: Uuid) -> Result<(), SimulatorError> {
        let name = self.next_name("Renamed");
        self.world.tenant.patch_user(person, json!({"displayName": name}))?;
        self.note_card(person, |card| card.name = name);
        Ok(())
    }

    fn change_mail(&mut self, person: Uuid) -> Result<(), SimulatorError> {
        self.numbers += 1;
        let mail = format!("moved{}@contoso.example", self.numbers);
        self.world.tenant.patch_user(person, json!({"mail": mail}))?;
        self.note_card(person, |card| card.mail = mail);
        Ok(())
    }

    fn note_card(&mut self, person: Uuid, change: impl FnOnce(&mut Card)) {
        let since = self.now();
        self.cards.entry(person).and_modify(|card| {
            change(card);
            card.since = since;
        });
        self.by_hand.changed_in_entra(person);
    }

    /// A name that nobody had before.
    pub fn next_name(&mut self, first: &str) -> String {
        self.numbers += 1;
        format!("{first} Number{}", self.numbers)
    }

    async fn change_rules(&mut self) {
        let (exclude, nested, lent_out) = (self.chance.percent(40), self.chance.percent(70), self.chance.percent(25));
        self.rules = rulebook::rules(&self.groups, self.portal, exclude, nested, lent_out);
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
        let rules = rulebook::written(&self.rules);
        let settings = Settings { brake: self.brake.limits(), ..Settings::default() };
        self.world.apply_rules(rules, &settings).await;
        self.world.store.start_full_sync(self.world.connection.id).await.expect("the sync starts");
    }

    /// Lets time pass and everything happen that is due in it.
    pub async fn pass(&mut self, span: Duration) {
        self.world.clock.advance(span);
        self.world.quiet().await;
    }
}

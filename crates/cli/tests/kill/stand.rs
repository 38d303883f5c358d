//! A tenant in this process, and a `lockstep serve` that dies and comes again.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lockstep_simulator::{LifecycleEvent, NewGroup, NewUser, Simulator, SimulatorConfig, Tenant};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::points::Moment;
use crate::workbench::{SOON, Workbench};

const PEOPLE: usize = 12;
/// What a machine with much else to do needs to start `serve`, and to come to a point.
const POINT_WITHIN: Duration = Duration::from_secs(40);
/// Records agree again after this at the latest, with the short times below.
const AGREE_WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Chance that repeats itself (SplitMix64).
pub struct Chance(u64);

impl Chance {
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

struct Card {
    name: String,
    mail: String,
}

pub struct Stand {
    pub simulator: Simulator,
    pub tenant: Tenant,
    group: Uuid,
    /// Whoever is in it is a contact.
    portal: Uuid,
    people: Vec<Uuid>,
    /// What the tenant says of each besides access.
    cards: BTreeMap<Uuid, Card>,
    pub bench: Workbench,
    changes: usize,
    /// Notifications under a subscription that had ended are answered, and dropped (BI-17).
    subscribed_anew: bool,
}

impl Stand {
    /// A connected tenant with rules, in files of its own; nothing runs yet.
    pub async fn build() -> Self {
        Self::build_on("").await
    }

    /// The same on the store and the queue that these settings name.
    pub async fn build_on(settings: &str) -> Self {
        let settings = format!("{settings}{TIMING}");
        let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
        let tenant = simulator.tenant();
        let group = tenant.create_group(NewGroup::named("Staff"));
        let portal = tenant.create_group(NewGroup::named("Portal"));
        let hire = |number| {
            let (name, mail) = (format!("Person Number{number}"), format!("person{number}@contoso.example"));
            let user = tenant.create_user(NewUser { mail: Some(mail.clone()), ..NewUser::named(&name) });
            tenant.add_member(group, user).unwrap();
            (user, Card { name, mail })
        };
        let cards: BTreeMap<Uuid, Card> = (0..PEOPLE).map(hire).collect();
        let people = cards.keys().copied().collect();
        let bench = Workbench::with(&simulator);
        let stand = Self { simulator, tenant, group, portal, people, cards, bench, changes: 0, subscribed_anew: false };
        crate::workbench::blocking(move || {
            stand.bench.write("lockstep.toml", &settings);
            let migrated = stand.bench.run(&["migrate"]);
            assert_eq!(migrated.code, 0, "{}", migrated.stderr);
            stand.bench.write("rules.toml", &rules(group, portal, 0));
            assert_eq!(stand.bench.connect(&stand.tenant).code, 0);
            let applied = stand.bench.run(&["rule", "apply", "contoso", "rules.toml"]);
            assert_eq!(applied.code, 0, "{}", applied.stderr);
            stand
        })
        .await
    }

    /// Runs until everybody is in and both subscriptions stand.
    pub fn settle(&mut self) {
        let mut serve = self.serve(None);
        self.wait("the first sync and both subscriptions", || self.agrees().and_then(|()| self.subscribed()));
        kill(&mut serve);
    }

    /// `serve`, to die at this point.
    fn serve(&self, point: Option<&str>) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.bench.path("serve.log")).unwrap();
        let mut command = self.bench.command();
        if let Some(point) = point {
            command.env("LOCKSTEP_KILL_AT", point);
        }
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// Lets things happen until the process dies of the point.
    pub fn die_at(&mut self, point: &str, moment: Moment) {
        self.subscribed_anew |= moment == Moment::Subscribing;
        let mut serve = self.serve(Some(point));
        let deadline = Instant::now() + POINT_WITHIN;
        loop {
            if let Some(status) = serve.try_wait().unwrap() {
                assert_eq!(status.code(), None, "{point}: serve ended by itself: {status}");
                return;
            }
            if Instant::now() > deadline {
                kill(&mut serve);
                panic!("{point} was never passed: {}", self.log());
            }
            self.provoke(moment);
            let look_again = Instant::now() + Duration::from_millis(250);
            while Instant::now() < look_again && serve.try_wait().unwrap().is_none() {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    /// Changes things for so long, then kill -9.
    pub fn die_after(&mut self, span: Duration, chance: &mut Chance) {
        let mut serve = self.serve(None);
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.change();
            std::thread::sleep(Duration::from_millis(chance.below(60)));
        }
        assert!(serve.try_wait().unwrap().is_none(), "serve ended by itself: {}", self.log());
        kill(&mut serve);
    }

    fn provoke(&mut self, moment: Moment) {
        self.change();
        match moment {
            Moment::Group => {
                let name = json!({"displayName": format!("Staff {}", self.changes)});
                self.tenant.patch_group(self.group, name).unwrap();
            }
            Moment::Sync => {
                self.bench.run(&["connection", "sync", "contoso"]);
            }
            Moment::Rules => {
                self.bench.write("rules.toml", &rules(self.group, self.portal, self.changes));
                self.bench.run(&["rule", "apply", "contoso", "rules.toml", "--yes"]);
            }
            Moment::Renewal => {
                for subscription in self.tenant.subscriptions() {
                    let event = LifecycleEvent::ReauthorizationRequired;
                    self.tenant.send_lifecycle(subscription, event).unwrap();
                }
            }
            Moment::Kind => self.change_kind(),
            Moment::Change | Moment::Delta | Moment::Subscribing => {}
        }
    }

    /// The next change in the row: names and addresses, and now and then somebody's access.
    pub fn change(&mut self) {
        self.changes += 1;
        let person = self.people[self.changes * 7 % PEOPLE];
        let card = self.cards.get_mut(&person).unwrap();
        let change = match self.changes % 9 {
            3 => json!({"accountEnabled": false}),
            0 | 6 => json!({"accountEnabled": true}),
            2 => {
                card.mail = format!("moved{}@contoso.example", self.changes);
                json!({"mail": card.mail})
            }
            _ => {
                card.name = format!("Renamed Number{}", self.changes);
                json!({"displayName": card.name})
            }
        };
        self.tenant.patch_user(person, change).unwrap();
        if self.changes % 10 == 5 {
            let moved = self.people[self.changes % PEOPLE];
            self.tenant.remove_member(self.group, moved).unwrap();
        } else if self.changes % 10 == 8 {
            for person in &self.people {
                self.tenant.add_member(self.group, *person).unwrap();
            }
        }
    }

    /// Into the portal, or out of it; each is left alone long enough for two reads to agree.
    fn change_kind(&mut self) {
        let person = self.people[self.changes * 5 % PEOPLE];
        match self.tenant.truth().iter().any(|user| user.id == person && user.groups.contains(&self.portal)) {
            true => self.tenant.remove_member(self.portal, person).unwrap(),
            false => self.tenant.add_member(self.portal, person).unwrap(),
        }
    }

    /// M7: somebody has an archived record, with a name of its own, beside a live one of the other kind.
    pub fn kinds_changed(&self) {
        let records = self.bench.json(&["record", "list", "--limit", "1000"]);
        let archived = records.as_array().unwrap().iter().filter(|record| record["status"] == "archived");
        let archived: Vec<&Value> = archived.collect();
        assert!(!archived.is_empty(), "nobody changed the kind");
        for record in archived {
            assert!(record["email"].as_str().unwrap().contains("_Archived"), "{record}");
            assert!(record["successor"].is_string(), "{record}");
        }
    }

    /// Runs in peace until all agrees, then looks at the books.
    pub fn conclude(&mut self) {
        let mut serve = self.serve(None);
        if self.subscribed_anew {
            // Without a subscription nobody would tell: what happened meanwhile is found by asking.
            self.bench.json(&["connection", "sync", "contoso", "--wait"]);
        }
        self.balance();
        kill(&mut serve);
    }

    /// Waits until all agrees, and looks at the books.
    pub fn balance(&self) {
        self.wait("every record to agree, and every event to be decided", || {
            self.agrees().and_then(|()| self.decided())
        });
        self.nothing_twice();
    }

    fn wait(&self, what: &str, met: impl Fn() -> Result<(), String>) {
        self.wait_for(what, AGREE_WITHIN.max(SOON), met);
    }

    pub fn wait_for(&self, what: &str, within: Duration, met: impl Fn() -> Result<(), String>) {
        let deadline = Instant::now() + within;
        while let Err(why) = met() {
            assert!(Instant::now() < deadline, "waited for {what}: {why}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Every record is as the tenant says, and nobody has two.
    pub fn agrees(&self) -> Result<(), String> {
        let records = self.bench.json(&["record", "list", "--limit", "1000"]);
        let mut by_person: BTreeMap<String, &Value> = BTreeMap::new();
        for record in records.as_array().unwrap().iter().filter(|record| record["status"] != "archived") {
            let person = record["entra_id"].as_str().unwrap_or_default().to_owned();
            assert!(by_person.insert(person, record).is_none(), "G-20: two records of one person");
        }
        for user in self.tenant.truth() {
            let is_contact = user.groups.contains(&self.portal);
            let is_in = user.enabled && (is_contact || user.groups.contains(&self.group));
            let wanted = if is_in { "active" } else { "inactive" };
            match by_person.get(&user.id.to_string()) {
                // Whoever is out keeps the kind they had.
                Some(record) if record["status"] == wanted => {
                    self.is_shown(user.id, record, if is_in { is_contact } else { record["kind"] == "contact" })?;
                }
                Some(record) => return Err(format!("{} should be {wanted}: {record}", user.id)),
                // Whoever was out from the start has none.
                None if wanted == "inactive" => {}
                None => return Err(format!("{} has no record", user.id)),
            }
        }
        Ok(())
    }

    /// The record holds what the rule gives and what the tenant says of the person, whether they are in or out.
    fn is_shown(&self, person: Uuid, record: &Value, is_contact: bool) -> Result<(), String> {
        let card = &self.cards[&person];
        let (kind, role) = if is_contact { ("contact", "Client") } else { ("employee", "Technician") };
        let wanted =
            [("kind", kind), ("role", role), ("email", card.mail.as_str()), ("display_name", card.name.as_str())];
        match wanted.into_iter().find(|(field, value)| record[*field] != **value) {
            Some((field, value)) => Err(format!("{person}: {field} should be {value}: {record}")),
            None => Ok(()),
        }
    }

    pub fn subscribed(&self) -> Result<(), String> {
        let subscriptions = self.bench.json(&["subscription", "list"]);
        let standing = subscriptions.as_array().unwrap().iter().filter(|one| one["status"] == "active").count();
        if standing == 2 { Ok(()) } else { Err(format!("{subscriptions}")) }
    }

    /// G-01, G-05: an item that was answered 202 is an event, and every event is decided. What a dying process had kept
    /// but not answered came again and is two.
    fn decided(&self) -> Result<(), String> {
        let accepted = usize::try_from(self.simulator.counters().notifications.delivered).unwrap();
        let events = self.bench.json(&["event", "list", "--limit", "100000"]);
        let events = events.as_array().unwrap();
        if events.len() < accepted && !self.subscribed_anew {
            return Err(format!("{accepted} items were answered 202, {} events are there", events.len()));
        }
        let open = |event: &&Value| !matches!(event["status"].as_str(), Some("applied" | "superseded" | "ignored"));
        events.iter().find(open).map_or(Ok(()), |event| Err(format!("undecided: {event}")))
    }

    /// G-14: no read had its effect twice.
    fn nothing_twice(&self) {
        let records = self.bench.json(&["record", "list", "--limit", "1000"]);
        for record in records.as_array().unwrap() {
            let shown = self.bench.json(&["record", "show", record["id"].as_str().unwrap()]);
            let mut seen = BTreeSet::new();
            for entry in shown["history"].as_array().into_iter().flatten().filter(|entry| !entry["ticket"].is_null()) {
                let effect = format!("{} {}", entry["ticket"], entry["changes"]);
                assert!(seen.insert(effect), "G-14: done twice: {entry}");
            }
        }
    }

    /// The end of what the processes said.
    fn log(&self) -> String {
        let files = std::fs::read_dir(self.bench.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let end_of = |path: std::path::PathBuf| {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("{}:\n{}\n", path.display(), lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        logs.map(end_of).collect()
    }
}

/// kill -9.
fn kill(serve: &mut Child) {
    serve.kill().unwrap();
    serve.wait().unwrap();
}

/// Shorter than Microsoft would like, as a simulator allows.
const TIMING: &str = r#"[timing]
settle = "1s"
scope_agree = "500ms"
missing_agree = "1s"
reenable_agree = "500ms"
reenable_recent = "1s"
reenable_recheck = "2s"
coalesce = "50ms"
delta_interval = "3s"
sub_check = "5s"
"#;

/// The brake has tests of its own; here nobody is held. Each revision gives everybody in Staff another permission.
fn rules(group: Uuid, portal: Uuid, revision: usize) -> String {
    format!(
        "[[rule]]\ngroup = \"{portal}\"\norder = 5\nkind = \"contact\"\nrole = \"Client\"\n\
         [[rule]]\ngroup = \"{group}\"\norder = 10\nkind = \"employee\"\nrole = \"Technician\"\n\
         permissions = [\"revision-{revision}\"]\n\
         [settings.brake]\nlost_scope_people = 10000\nrevoked_people = 10000\nboth_percent = 10000\n\
         daily_lost_scope_people = 10000\ndaily_revoked_people = 10000\ndaily_both_percent = 10000\nsmall_below = 0\n"
    )
}

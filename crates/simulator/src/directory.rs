//! The directory of one tenant: objects, memberships, what changed when.

pub(crate) mod change;
pub(crate) mod object;
mod properties;
pub(crate) mod schema;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::sync::lock;
use change::{Change, ChangeLog, What};
use object::{Life, Object, Version};
pub(crate) use properties::Properties;
use schema::Kind;
pub(crate) use view::{Seen, View};

/// The id of a user's manager, among the properties but shown as none of them.
pub(crate) const MANAGER: &str = "manager";

/// Closures kept for the next page of the same listing.
const CACHED_CLOSURES: usize = 16;

/// What subscribers are told about one change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub kind: Kind,
    pub id: Uuid,
    pub purged: bool,
    /// The member this is about, its kind, and whether it was removed.
    pub member: Option<(Uuid, Kind, bool)>,
}

/// Why a change was refused.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    NotFound(&'static str, Uuid),
    Invalid(String),
}

/// All objects of one tenant. Times are handed in (`now`, microseconds).
#[derive(Default)]
pub(crate) struct Directory {
    objects: BTreeMap<Uuid, Object>,
    /// Who has this address as UPN, mail or proxy address; lower case, no `smtp:`.
    addresses: HashMap<String, BTreeSet<Uuid>>,
    changes: ChangeLog,
    /// Stages of creation that lie ahead, the next one first.
    unfolding: VecDeque<(i64, Kind, Uuid)>,
    users: usize,
    closures: Mutex<Vec<Closure>>,
}

/// A group, the last change when its members were gathered, and all of them by id.
type Closure = (Uuid, u64, Arc<Vec<Uuid>>);

/// An address as the index knows it.
fn address_key(address: &str) -> String {
    let lower = address.to_ascii_lowercase();
    lower.strip_prefix("smtp:").map(str::to_owned).unwrap_or(lower)
}

impl Directory {
    pub fn changes(&self) -> &ChangeLog {
        &self.changes
    }

    pub fn now(&self) -> View<'_> {
        View::new(self, None)
    }

    /// Adds an object; the caller has seen to a free id and name.
    pub fn create(&mut self, kind: Kind, id: Uuid, values: Map<String, Value>, now: i64) -> Event {
        let event = self.create_silently(kind, id, values, now);
        self.log(kind, id, What::Life, now);
        event
    }

    fn create_silently(&mut self, kind: Kind, id: Uuid, values: Map<String, Value>, now: i64) -> Event {
        let mut properties = Properties::default();
        properties.set_all(kind, values);
        link_mail(kind, &mut properties);
        properties.shrink();
        self.index(id, &properties);
        self.objects.insert(id, Object::born(kind, properties, now));
        self.users += usize::from(kind == Kind::User);
        Event { kind, id, purged: false, member: None }
    }

    /// Adds a user that reads show as a skeleton at `appears` and whole at `complete` (microseconds,
    /// not before `now`). Delta queries tell both stages; the directory itself is complete at once.
    pub fn create_unfolding(
        &mut self,
        id: Uuid,
        values: Map<String, Value>,
        now: i64,
        (appears, complete): (i64, i64),
    ) -> Event {
        let (kind, mut skeleton) = (Kind::User, Properties::default());
        if let Some(upn) = values.get("userPrincipalName") {
            skeleton.set(kind, "userPrincipalName", upn.clone());
        }
        let event = self.create_silently(kind, id, values, now);
        if let Some(object) = self.objects.get_mut(&id) {
            let properties = object.current().properties.clone();
            *object = Object::unfolding(kind, skeleton, appears, properties, complete);
        }
        self.unfolding.extend([(appears, kind, id), (complete, kind, id)]);
        self.unfolding.make_contiguous().sort_unstable();
        self.unfold(now);
        event
    }

    /// Whether a stage of some creation is due.
    pub fn is_unfolding(&self, now: i64) -> bool {
        self.unfolding.front().is_some_and(|(at, ..)| *at <= now)
    }

    /// Whether a stage of some creation lies ahead.
    pub fn has_stages_ahead(&self) -> bool {
        !self.unfolding.is_empty()
    }

    /// Notes the stages that have begun as changes.
    pub fn unfold(&mut self, now: i64) {
        while let Some((at, kind, id)) = self.unfolding.pop_front_if(|(at, ..)| *at <= now) {
            self.changes.push(Change { at, kind, id, what: What::Life });
        }
    }

    /// How many live users there are.
    pub fn user_count(&self) -> usize {
        self.users
    }

    /// Changes properties of a live object; `None` if they were so already.
    pub fn patch(
        &mut self,
        kind: Kind,
        id: Uuid,
        values: Map<String, Value>,
        now: i64,
    ) -> Result<Option<Event>, Refusal> {
        let mut properties = self.live(kind, id)?.current().properties.clone();
        let keeps_addresses = !values.contains_key("proxyAddresses") && values.contains_key("mail");
        let mut changed = properties.set_all(kind, values);
        if changed.is_empty() {
            return Ok(None);
        }
        if keeps_addresses && link_mail(kind, &mut properties) {
            changed.push("proxyAddresses".to_owned());
        }
        self.replace(id, Life::Live, properties, now)?;
        self.log(kind, id, What::Properties(changed), now);
        Ok(Some(Event { kind, id, purged: false, member: None }))
    }

    /// Moves a live object to the deleted items. Its memberships are kept, and nothing is said
    /// about the groups (graph-contract.md, section 6).
    pub fn delete(&mut self, kind: Kind, id: Uuid, now: i64) -> Result<Event, Refusal> {
        let mut properties = self.live(kind, id)?.current().properties.clone();
        if let Some(upn) = properties.text("userPrincipalName").map(|upn| format!("{}{upn}", id.simple())) {
            properties.set(kind, "userPrincipalName", json!(upn));
        }
        self.replace(id, Life::Deleted { at: now }, properties, now)?;
        self.log(kind, id, What::Life, now);
        Ok(Event { kind, id, purged: false, member: None })
    }

    /// Brings a soft-deleted object back as it was.
    pub fn restore(&mut self, kind: Kind, id: Uuid, now: i64) -> Result<Event, Refusal> {
        let object = self.objects.get(&id).filter(|object| object.kind == kind);
        let gone = object.filter(|object| matches!(object.current().life, Life::Deleted { .. }));
        let mut properties = gone.ok_or(Refusal::NotFound("deleted object", id))?.current().properties.clone();
        if let Some(upn) = properties.text("userPrincipalName") {
            let upn = upn.strip_prefix(&id.simple().to_string()).unwrap_or(upn).to_owned();
            self.check_free(&upn, id)?;
            properties.set(kind, "userPrincipalName", json!(upn));
        }
        self.replace(id, Life::Live, properties, now)?;
        self.log(kind, id, What::Life, now);
        Ok(Event { kind, id, purged: false, member: None })
    }

    /// Removes an object for good, live or soft-deleted, with its memberships.
    pub fn purge(&mut self, kind: Kind, id: Uuid, now: i64) -> Result<Event, Refusal> {
        let object = self.objects.get(&id).filter(|object| object.kind == kind);
        let known = object.filter(|object| object.current().life != Life::Purged);
        known.ok_or(Refusal::NotFound(kind.word(), id))?;
        for group in self.now().parents(id).into_owned() {
            self.link(group, id, false, now);
        }
        for member in self.now().members(id).into_owned() {
            self.link(id, member, false, now);
        }
        self.replace(id, Life::Purged, Properties::default(), now)?;
        self.log(kind, id, What::Life, now);
        Ok(Event { kind, id, purged: true, member: None })
    }

    /// Adds or removes a direct member; `None` if it was so already.
    pub fn set_member(&mut self, group: Uuid, member: Uuid, present: bool, now: i64) -> Result<Option<Event>, Refusal> {
        self.live(Kind::Group, group)?;
        let kind = self.now().any(member).filter(|seen| !present || seen.life == Life::Live).map(|seen| seen.kind);
        let kind = kind.ok_or(Refusal::NotFound("member", member))?;
        if group == member {
            return Err(Refusal::Invalid("a group cannot be a member of itself".to_owned()));
        }
        let changed = self.link(group, member, present, now);
        let event = Event { kind: Kind::Group, id: group, purged: false, member: Some((member, kind, !present)) };
        Ok(changed.then_some(event))
    }

    /// Gives a live user another manager, or none. Nobody is notified: only delta queries are said to tell of it
    /// (graph-contract.md, section 5).
    pub fn set_manager(&mut self, user: Uuid, manager: Option<Uuid>, now: i64) -> Result<(), Refusal> {
        if let Some(manager) = manager {
            self.live(Kind::User, manager)?;
        }
        let mut properties = self.live(Kind::User, user)?.current().properties.clone();
        let before = properties.text(MANAGER).and_then(|id| Uuid::parse_str(id).ok());
        if properties.set(Kind::User, MANAGER, json!(manager)) {
            self.replace(user, Life::Live, properties, now)?;
            self.log(Kind::User, user, What::Manager(before), now);
        }
        Ok(())
    }

    /// Refuses a user principal name that another object has.
    pub fn check_free(&self, upn: &str, but: Uuid) -> Result<(), Refusal> {
        match self.now().user(upn) {
            Some(other) if other.id != but => Err(Refusal::Invalid(format!(
                "another object with the same value for property userPrincipalName already exists: {}",
                other.id
            ))),
            _ => Ok(()),
        }
    }

    fn live(&self, kind: Kind, id: Uuid) -> Result<&Object, Refusal> {
        let object = self.objects.get(&id).filter(|object| object.kind == kind);
        object.filter(|object| object.current().life == Life::Live).ok_or(Refusal::NotFound(kind.word(), id))
    }

    fn replace(&mut self, id: Uuid, life: Life, properties: Properties, now: i64) -> Result<(), Refusal> {
        let object = self.objects.get_mut(&id).ok_or(Refusal::NotFound("object", id))?;
        let Version { life: life_before, properties: before, .. } = object.current().clone();
        object.change(life, properties.clone(), now);
        if object.kind == Kind::User {
            let (was, is) = (life_before == Life::Live, life == Life::Live);
            self.users = self.users + usize::from(is && !was) - usize::from(was && !is);
        }
        self.unindex(id, &before);
        self.index(id, &properties);
        Ok(())
    }

    fn link(&mut self, group: Uuid, member: Uuid, present: bool, now: i64) -> bool {
        let changed = self.objects.get_mut(&group).is_some_and(|object| object.members.set(member, present, now));
        if let Some(object) = self.objects.get_mut(&member) {
            object.parents.set(group, present, now);
        }
        if changed {
            self.log(Kind::Group, group, What::Member(member), now);
        }
        changed
    }

    fn log(&mut self, kind: Kind, id: Uuid, what: What, now: i64) {
        self.unfold(now);
        self.changes.push(Change { at: now, kind, id, what });
    }

    fn index(&mut self, id: Uuid, properties: &Properties) {
        for address in addresses(properties) {
            self.addresses.entry(address).or_default().insert(id);
        }
    }

    fn unindex(&mut self, id: Uuid, properties: &Properties) {
        for address in addresses(properties) {
            if let Some(ids) = self.addresses.get_mut(&address) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.addresses.remove(&address);
                }
            }
        }
    }

    fn cached_closure(&self, group: Uuid) -> Option<Arc<Vec<Uuid>>> {
        let head = self.changes.head(None);
        let closures = lock(&self.closures);
        let known = closures.iter().find(|(id, at, _)| (*id, *at) == (group, head));
        known.map(|(.., closure)| closure.clone())
    }

    fn cache_closure(&self, group: Uuid, closure: Arc<Vec<Uuid>>) {
        let head = self.changes.head(None);
        let mut closures = lock(&self.closures);
        closures.retain(|(id, at, _)| *at == head && *id != group);
        closures.truncate(CACHED_CLOSURES - 1);
        closures.push((group, head, closure));
    }
}

fn addresses(properties: &Properties) -> Vec<String> {
    let single = ["userPrincipalName", "mail"].into_iter().filter_map(|name| properties.text(name));
    single.chain(properties.texts("proxyAddresses")).map(address_key).collect()
}

/// Setting `mail` makes it the primary proxy address (graph-contract.md, section 6); the one
/// before stays as an alias. Says whether the list changed.
fn link_mail(kind: Kind, properties: &mut Properties) -> bool {
    let Some(mail) = properties.text("mail").map(str::to_owned) else {
        return false;
    };
    let others = properties.texts("proxyAddresses").filter(|address| address_key(address) != address_key(&mail));
    let aliases = others.map(|address| format!("smtp:{}", address.get(5..).unwrap_or_default()));
    let list: Vec<String> = std::iter::once(format!("SMTP:{mail}")).chain(aliases).collect();
    kind == Kind::User && properties.set(kind, "proxyAddresses", json!(list))
}

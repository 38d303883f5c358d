//! A handle to one tenant: what an administrator would do in the portal.

mod app;

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::clock::graph_time;
use crate::directory::object::Life;
use crate::directory::schema::Kind;
use crate::directory::{Directory, Event, Refusal, Seen, View};
use crate::error::SimulatorError;
use crate::new_object::{NewGroup, NewUser, complete_group, complete_user, local_part};
use crate::subscription::{LifecycleEvent, Subscription};
use crate::sync::{lock, read, write};
use crate::world::{TenantState, World};
pub use app::AppState;

/// A user as an all-knowing observer sees it, lag and faults aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TruthUser {
    /// The object id.
    pub id: Uuid,
    /// The user principal name.
    pub user_principal_name: String,
    /// `accountEnabled`.
    pub enabled: bool,
    /// Soft-deleted; a purged user is not in the truth at all.
    pub deleted: bool,
    /// `Member` or `Guest`.
    pub user_type: String,
    /// Every live group the user is in, directly or through other live groups.
    pub groups: Vec<Uuid>,
    /// The live groups the user is in directly.
    pub direct_groups: Vec<Uuid>,
}

/// One tenant of the simulator. Cheap to clone; every clone is the same tenant.
#[derive(Clone)]
pub struct Tenant {
    world: Arc<World>,
    state: Arc<TenantState>,
}

impl Tenant {
    pub(crate) fn of(world: Arc<World>, state: Arc<TenantState>) -> Self {
        Self { world, state }
    }

    pub(crate) fn state(&self) -> &TenantState {
        &self.state
    }

    /// The tenant id.
    pub fn id(&self) -> Uuid {
        self.state.id
    }

    /// The verified default domain, e.g. `contoso.example`.
    pub fn domain(&self) -> String {
        self.state.spec.domain.clone()
    }

    /// Creates a user.
    pub fn create_user(&self, user: NewUser) -> Uuid {
        let mut properties = Map::new();
        properties.insert("displayName".to_owned(), json!(user.display_name));
        properties.insert("accountEnabled".to_owned(), json!(user.account_enabled));
        properties.insert("userType".to_owned(), json!(user.user_type));
        let name =
            if user.user_principal_name.is_empty() { local_part(&user.display_name) } else { user.user_principal_name };
        properties.insert("userPrincipalName".to_owned(), json!(self.at_domain(&name)));
        if let Some(mail) = &user.mail {
            properties.insert("mail".to_owned(), json!(self.at_domain(mail)));
        }
        properties.extend(user.extra);
        let mut directory = write(&self.state.directory);
        let upn = properties.get("userPrincipalName").and_then(Value::as_str).unwrap_or_default().to_owned();
        let free = free_name(&directory, &upn);
        if free != upn {
            if properties.get("mail").and_then(Value::as_str) == Some(upn.as_str()) {
                properties.insert("mail".to_owned(), json!(free));
            }
            properties.insert("userPrincipalName".to_owned(), json!(free));
        }
        self.add(&mut directory, Kind::User, properties)
    }

    /// Creates a user from Graph-style properties; a user principal name that is taken is refused.
    pub(crate) fn create_user_from(&self, mut properties: Map<String, Value>) -> Result<Uuid, SimulatorError> {
        let given = |name: &str| properties.get(name).and_then(Value::as_str).map(str::to_owned);
        let named = given("userPrincipalName");
        let upn =
            named.clone().or_else(|| given("mail")).or_else(|| given("displayName").map(|name| local_part(&name)));
        let upn = self.at_domain(&upn.unwrap_or_else(|| "person".to_owned()));
        let mut directory = write(&self.state.directory);
        let upn = match named {
            Some(_) => {
                directory.check_free(&upn, Uuid::nil()).map_err(|refusal| self.refused(refusal))?;
                upn
            }
            None => free_name(&directory, &upn),
        };
        properties.entry("mail").or_insert_with(|| json!(upn));
        properties.insert("userPrincipalName".to_owned(), json!(upn));
        Ok(self.add(&mut directory, Kind::User, properties))
    }

    /// Changes properties by their Graph names; `null` clears one.
    pub fn patch_user(&self, id: Uuid, properties: Value) -> Result<(), SimulatorError> {
        self.patch(Kind::User, id, properties)
    }

    /// Deletes a user: to the deleted items, or for good if `hard`.
    pub fn delete_user(&self, id: Uuid, hard: bool) -> Result<(), SimulatorError> {
        self.delete(Kind::User, id, hard)
    }

    /// Brings a soft-deleted user back, with all memberships.
    pub fn restore_user(&self, id: Uuid) -> Result<(), SimulatorError> {
        self.change(|directory, now| directory.restore(Kind::User, id, now).map(Some))
    }

    /// Gives a user another manager, or none. Nobody is notified; delta queries tell.
    pub fn set_manager(&self, user: Uuid, manager: Option<Uuid>) -> Result<(), SimulatorError> {
        self.change(|directory, now| directory.set_manager(user, manager, now).map(|()| None))
    }

    /// Creates a group.
    pub fn create_group(&self, group: NewGroup) -> Uuid {
        let mut properties = Map::new();
        properties.insert("displayName".to_owned(), json!(group.display_name));
        properties.insert("securityEnabled".to_owned(), json!(group.security_enabled));
        if let Some(created) = group.created {
            properties.insert("createdDateTime".to_owned(), json!(graph_time(created)));
        }
        properties.extend(group.extra);
        self.create_group_from(properties)
    }

    pub(crate) fn create_group_from(&self, properties: Map<String, Value>) -> Uuid {
        self.add(&mut write(&self.state.directory), Kind::Group, properties)
    }

    /// Changes properties by their Graph names; `null` clears one.
    pub fn patch_group(&self, id: Uuid, properties: Value) -> Result<(), SimulatorError> {
        self.patch(Kind::Group, id, properties)
    }

    /// Deletes a group: to the deleted items, or for good if `hard`.
    pub fn delete_group(&self, id: Uuid, hard: bool) -> Result<(), SimulatorError> {
        self.delete(Kind::Group, id, hard)
    }

    /// Brings a soft-deleted group back, with all members.
    pub fn restore_group(&self, id: Uuid) -> Result<(), SimulatorError> {
        self.change(|directory, now| directory.restore(Kind::Group, id, now).map(Some))
    }

    /// Creates a device, which may be a member of groups but is no person.
    pub fn create_device(&self, display_name: &str) -> Uuid {
        let mut properties = Map::new();
        properties.insert("displayName".to_owned(), json!(display_name));
        self.add(&mut write(&self.state.directory), Kind::Device, properties)
    }

    /// Makes a user, group or device a member of a group; already being one is no change.
    pub fn add_member(&self, group: Uuid, member: Uuid) -> Result<(), SimulatorError> {
        self.change(|directory, now| directory.set_member(group, member, true, now))
    }

    /// Ends a direct membership; not being a member is no change.
    pub fn remove_member(&self, group: Uuid, member: Uuid) -> Result<(), SimulatorError> {
        self.change(|directory, now| directory.set_member(group, member, false, now))
    }

    /// Fills the tenant quickly and silently: makes `users` people, and puts the first `in_groups`
    /// of them into the named groups in turn (made where missing). Nobody is notified; delta
    /// queries show it. Answers the ids of the people in order, and of the groups.
    pub fn seed(&self, users: usize, in_groups: usize, groups: &[&str]) -> (Vec<Uuid>, Vec<Uuid>) {
        crate::seed::fill(&self.world, &self.state, users, in_groups, groups)
    }

    /// Sends a lifecycle notification about a live subscription.
    ///
    /// # Errors
    /// When there is no such subscription, or it was made without a `lifecycleNotificationUrl`.
    pub fn send_lifecycle(&self, subscription: Uuid, event: LifecycleEvent) -> Result<(), SimulatorError> {
        let live = self.state.live_subscriptions(self.world.clock.now_micros());
        let found = live.into_iter().find(|known: &Subscription| known.id == subscription);
        let found = found.ok_or_else(|| self.not_found("subscription", subscription))?;
        if event == LifecycleEvent::SubscriptionRemoved {
            lock(&self.state.subscriptions).remove(&subscription);
        }
        match self.world.announce_lifecycle(&self.state, &found, event) {
            true => Ok(()),
            false => {
                Err(SimulatorError::Refused(format!("subscription {subscription} has no lifecycleNotificationUrl")))
            }
        }
    }

    /// Every user that is live or soft-deleted, with effective groups.
    pub fn truth(&self) -> Vec<TruthUser> {
        let directory = read(&self.state.directory);
        let view = directory.now();
        view.all(Kind::User, None).filter(|seen| seen.life != Life::Purged).map(|seen| truth_of(view, &seen)).collect()
    }

    fn at_domain(&self, name: &str) -> String {
        match name.contains('@') {
            true => name.to_owned(),
            false => format!("{name}@{}", self.state.spec.domain),
        }
    }

    fn add(&self, directory: &mut Directory, kind: Kind, properties: Map<String, Value>) -> Uuid {
        let (id, now) = (self.world.chance.id(), self.world.clock.now_micros());
        let properties = match kind {
            Kind::User => return self.add_user(directory, id, complete_user(properties, now), now),
            Kind::Group => complete_group(properties, now),
            Kind::Device => properties,
        };
        let event = directory.create(kind, id, properties, now);
        self.world.announce(&self.state, &event, now);
        id
    }

    /// At once, or in stages of which each is announced.
    fn add_user(&self, directory: &mut Directory, id: Uuid, properties: Map<String, Value>, now: i64) -> Uuid {
        let Some((appears, complete)) = self.world.settings().staged_creation_ms.micros() else {
            let event = directory.create(Kind::User, id, properties, now);
            self.world.announce(&self.state, &event, now);
            return id;
        };
        let event = directory.create_unfolding(id, properties, now, (now + appears, now + complete));
        let mut stages = vec![0, appears, complete];
        stages.dedup();
        for stage in stages {
            self.world.announce_later(&self.state, &event, now, now + stage);
        }
        id
    }

    fn patch(&self, kind: Kind, id: Uuid, properties: Value) -> Result<(), SimulatorError> {
        let Value::Object(values) = properties else {
            return Err(SimulatorError::Refused("properties must be a JSON object".to_owned()));
        };
        check_names(kind, &values)?;
        let upn = values.get("userPrincipalName").and_then(Value::as_str).map(str::to_owned);
        self.change(|directory, now| {
            if let Some(upn) = upn {
                directory.check_free(&upn, id)?;
            }
            directory.patch(kind, id, values, now)
        })
    }

    fn delete(&self, kind: Kind, id: Uuid, hard: bool) -> Result<(), SimulatorError> {
        self.change(|directory, now| match hard {
            true => directory.purge(kind, id, now).map(Some),
            false => directory.delete(kind, id, now).map(Some),
        })
    }

    /// One change and its notifications, under one lock: they leave in the order of the changes.
    fn change(
        &self,
        change: impl FnOnce(&mut Directory, i64) -> Result<Option<Event>, Refusal>,
    ) -> Result<(), SimulatorError> {
        let mut directory = write(&self.state.directory);
        let now = self.world.clock.now_micros();
        let event = change(&mut directory, now).map_err(|refusal| self.refused(refusal))?;
        if let Some(event) = event {
            self.world.announce(&self.state, &event, now);
        }
        Ok(())
    }

    fn refused(&self, refusal: Refusal) -> SimulatorError {
        match refusal {
            Refusal::NotFound(kind, id) => self.not_found(kind, id),
            Refusal::Invalid(why) => SimulatorError::Refused(why),
        }
    }

    pub(crate) fn not_found(&self, kind: &'static str, id: impl ToString) -> SimulatorError {
        SimulatorError::NotFound { kind, id: id.to_string(), tenant: self.state.id }
    }
}

/// Refuses property names Graph does not know, so that a slip of the pen does not go unnoticed.
pub(crate) fn check_names(kind: Kind, values: &Map<String, Value>) -> Result<(), SimulatorError> {
    let known = |name: &String| name != "id" && (kind.property(name).is_some() || name.starts_with("extension_"));
    match values.keys().find(|name| !known(name)) {
        Some(name) => Err(SimulatorError::Refused(format!("a {} has no property {name} that can be set", kind.word()))),
        None => Ok(()),
    }
}

/// The name itself, or with the first number that makes it free.
fn free_name(directory: &Directory, upn: &str) -> String {
    let is_free = |upn: &str| directory.now().user(upn).is_none();
    if is_free(upn) {
        return upn.to_owned();
    }
    let (local, domain) = upn.split_once('@').unwrap_or((upn, ""));
    let numbered = (2_u64..).map(|number| format!("{local}{number}@{domain}"));
    numbered.into_iter().find(|upn| is_free(upn)).unwrap_or_default()
}

fn truth_of(view: View<'_>, seen: &Seen<'_>) -> TruthUser {
    let text = |name: &str| seen.properties.text(name).unwrap_or_default().to_owned();
    TruthUser {
        id: seen.id,
        user_principal_name: text("userPrincipalName"),
        enabled: seen.properties.is_true("accountEnabled"),
        deleted: seen.life != Life::Live,
        user_type: text("userType"),
        groups: view.groups_above(seen.id),
        direct_groups: view.live_parents(seen.id),
    }
}

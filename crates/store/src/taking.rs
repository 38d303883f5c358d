//! Taking hints: one transaction for many. Once that is flushed the queue may forget them.

pub(crate) mod scope;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lockstep_core::hint::{Claim, Hint, HintMessage, LifecycleEvent, MemberHint, Subject};
use lockstep_core::{ConnectionId, EventId, ObjectId, SubscriptionId, Ticket, Timestamp};
use uuid::Uuid;

use crate::connection::health::mark_gap_statement;
use crate::db::{Store, Tx};
use crate::due::mark::HintedObject;
use crate::due::{DueClaim, DueKind};
use crate::error::StoreError;
use crate::event::NewEvent;
use crate::sql::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, sql};
use crate::taking::scope::Scope;

const SEEN: &str = " ON CONFLICT (connection_id, object_id) DO UPDATE SET seen_at = excluded.seen_at";
const CONNECTIONS: &str = "SELECT id, (SELECT value FROM ticket WHERE id = 1) AS ticket FROM connection";
const NOTIFIED_CONNECTION: &str = "UPDATE connection SET last_notification_at = $2 WHERE id = $1";
const NOTIFIED: &str = "UPDATE subscription SET last_notification_at = ";
const RENEW_NOW: &str = "UPDATE subscription SET renew_at = $2 WHERE id = $1 AND status = 'active'";

/// What taking brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakenHints {
    /// Items that became work.
    pub accepted: u64,
    /// Items out of scope.
    pub ignored: u64,
    /// To be acted on now. Given again when a message is taken again: its taker may have died before acting.
    pub lifecycle: Vec<(ConnectionId, SubscriptionId, LifecycleEvent)>,
    /// Places in `messages` of those whose connection does not exist: nothing was written for them, park them.
    pub unknown_connection: Vec<usize>,
    /// [`crate::Due::version`] of the look that was asked for, if it was only one.
    pub look: Option<i64>,
}

/// Everything one call will write.
#[derive(Default)]
struct Taking {
    events: Vec<NewEvent>,
    named: Vec<(EventId, ConnectionId, ObjectId)>,
    due: BTreeMap<(ConnectionId, ObjectId), HintedObject>,
    seen: BTreeMap<(ConnectionId, ObjectId), DueKind>,
    gaps: BTreeSet<ConnectionId>,
    renew: BTreeSet<SubscriptionId>,
    taken: TakenHints,
}

impl Store {
    /// Takes these messages in one transaction: events, due rows, what is out of scope into `seen`. A message that was
    /// taken before adds nothing (G-06). The work may begin when this returns; the messages may be acknowledged after
    /// [`Store::flush`].
    ///
    /// # Errors
    /// When the database cannot be written; then nothing was taken.
    pub async fn take_hints(&self, messages: &[HintMessage]) -> Result<TakenHints, StoreError> {
        self.take_hints_before(messages, None).await
    }

    /// The same, when a read of whom they name began already: its ticket was drawn after the messages were there, so that it
    /// may settle them (G-05).
    ///
    /// # Errors
    /// When the database cannot be written; then nothing was taken.
    pub async fn take_hints_before(
        &self,
        messages: &[HintMessage],
        read: Option<Ticket>,
    ) -> Result<TakenHints, StoreError> {
        let mut tx = self.begin_unsynced("take_hints").await?;
        let (known, last_drawn) = tx.connection_ids(messages).await?;
        let ticket = read.map_or(last_drawn, |read| Ticket(read.0 - 1));
        let mut taken_before = tx.messages_taken(messages).await?;
        let scope = tx.scope_of(messages).await?;
        let mut taking = Taking::default();
        for (place, message) in messages.iter().enumerate() {
            if !known.contains(&message.connection) {
                taking.taken.unknown_connection.push(place);
                continue;
            }
            taking.repeat_lifecycle(message);
            if taken_before.insert(message.id) {
                taking.take(message, &scope);
            }
        }
        taking.taken.look = tx.write_taking(&taking, ticket).await?;
        tx.note_notified(messages, &known).await?;
        tx.commit().await?;
        Ok(taking.taken)
    }
}

impl Taking {
    fn repeat_lifecycle(&mut self, message: &HintMessage) {
        for item in &message.items {
            if let Subject::Lifecycle { event } = item.subject {
                self.taken.lifecycle.push((message.connection, item.subscription, event));
            }
        }
    }

    fn take(&mut self, message: &HintMessage, scope: &Scope) {
        for (place, item) in (0_i64..).zip(&message.items) {
            let from = Origin { message, item, place };
            match &item.subject {
                Subject::User { id, claim } => self.take_user(&from, *id, *claim, scope),
                Subject::Group { id, .. } if !scope.has_group(message.connection, *id) => {
                    self.ignore(&from, "group", *id, DueKind::Group);
                }
                Subject::Group { id, claim, members, truncated }
                    if scope.looks_at_group(message.connection, *id, members.len(), *truncated) =>
                {
                    self.take_listing(&from, *id, *claim);
                }
                Subject::Group { id, members, .. } => self.take_members(&from, *id, members, scope),
                Subject::Lifecycle { event } => self.take_lifecycle(&from, *event),
                Subject::Unclear => self.take_unclear(&from),
            }
        }
    }

    fn take_user(&mut self, from: &Origin<'_>, id: ObjectId, claim: Claim, scope: &Scope) {
        if !scope.has_user(from.message.connection, id) {
            return self.ignore(from, "user", id, DueKind::User);
        }
        let claim = due_claim(claim);
        let event = from.event("user", Some(id), Some(claim), "in_work");
        self.accept(event, from.message.connection, [id]);
        // Whatever changed may be the enabled state: never behind the background.
        self.look_at(from.message.connection, id, DueKind::User, (claim, None), true, (true, false));
    }

    fn take_listing(&mut self, from: &Origin<'_>, group: ObjectId, claim: Claim) {
        let claim = due_claim(claim);
        let event = from.event("group", Some(group), Some(claim), "in_work");
        self.accept(event, from.message.connection, [group]);
        self.look_at(from.message.connection, group, DueKind::Group, (claim, None), true, (true, true));
    }

    fn take_members(&mut self, from: &Origin<'_>, group: ObjectId, members: &[MemberHint], scope: &Scope) {
        let connection = from.message.connection;
        let event = from.event("group", Some(group), Some(DueClaim::Changed), "in_work");
        self.accept(event, connection, members.iter().map(|member| member.id));
        for member in members {
            let claim = if member.removed { DueClaim::Removed } else { DueClaim::Added };
            // Whoever comes in needs both facets in one task (G-10); whoever goes is judged by the membership.
            let facets = (!member.removed, true);
            let kind = scope.kind(connection, member.id);
            self.look_at(connection, member.id, kind, (claim, Some(group)), member.removed, facets);
        }
    }

    fn take_lifecycle(&mut self, from: &Origin<'_>, event: LifecycleEvent) {
        match event {
            LifecycleEvent::ReauthorizationRequired => {
                self.renew.insert(from.item.subscription);
            }
            LifecycleEvent::SubscriptionRemoved | LifecycleEvent::Missed | LifecycleEvent::Unknown => {
                self.gaps.insert(from.message.connection);
            }
        }
        // Applied, because what it asks for is written in this same transaction: a renewal due now, or a gap.
        self.events.push(from.event("lifecycle", None, None, "applied"));
        self.taken.accepted += 1;
    }

    fn take_unclear(&mut self, from: &Origin<'_>) {
        self.gaps.insert(from.message.connection);
        self.events.push(from.event("catch_up", None, None, "waiting"));
        self.taken.accepted += 1;
    }

    fn accept(&mut self, event: NewEvent, connection: ConnectionId, named: impl IntoIterator<Item = ObjectId>) {
        self.named.extend(named.into_iter().map(|object| (event.id, connection, object)));
        self.events.push(event);
        self.taken.accepted += 1;
    }

    fn ignore(&mut self, from: &Origin<'_>, kind: &'static str, id: ObjectId, seen_as: DueKind) {
        self.events.push(from.event(kind, Some(id), None, "ignored"));
        self.seen.insert((from.message.connection, id), seen_as);
        self.taken.ignored += 1;
    }

    fn look_at(
        &mut self,
        connection: ConnectionId,
        object: ObjectId,
        kind: DueKind,
        (claim, claim_group): (DueClaim, Option<ObjectId>),
        urgent: bool,
        (read_profile, read_membership): (bool, bool),
    ) {
        let hinted =
            HintedObject { connection, object, kind, claim, claim_group, urgent, read_profile, read_membership };
        self.due.entry((connection, object)).and_modify(|known| known.join(&hinted)).or_insert(hinted);
    }
}

/// Where an item came from.
struct Origin<'a> {
    message: &'a HintMessage,
    item: &'a Hint,
    place: i64,
}

impl Origin<'_> {
    fn event(
        &self,
        kind: &'static str,
        object: Option<ObjectId>,
        claim: Option<DueClaim>,
        status: &'static str,
    ) -> NewEvent {
        NewEvent {
            id: EventId(Uuid::now_v7()),
            replay_of: None,
            connection: Some(self.message.connection),
            kind,
            object,
            claim: claim.map(DueClaim::as_str),
            status,
            reason: None,
            message: Some((self.message.id, self.place)),
            received_at: self.message.received_at,
            settled: matches!(status, "ignored" | "applied"),
        }
    }
}

const fn due_claim(claim: Claim) -> DueClaim {
    match claim {
        Claim::Changed => DueClaim::Changed,
        Claim::Deleted => DueClaim::Deleted,
    }
}

impl Tx {
    /// The connections there are, and the last ticket drawn: a read that begins later has seen what these messages tell of.
    async fn connection_ids(
        &mut self,
        messages: &[HintMessage],
    ) -> Result<(HashSet<ConnectionId>, Ticket), StoreError> {
        let mut ids = HashSet::new();
        let mut ticket = Ticket(0);
        for row in self.all(sql(CONNECTIONS).within(messages.iter().map(|message| message.connection))).await? {
            ids.insert(ConnectionId(row.get("id")?));
            ticket = Ticket(row.get("ticket")?);
        }
        Ok((ids, ticket))
    }

    /// Which of these messages have events already: a message is taken as a whole or not at all.
    async fn messages_taken(&mut self, messages: &[HintMessage]) -> Result<HashSet<Uuid>, StoreError> {
        let mut taken = HashSet::new();
        for chunk in messages.chunks(IDS_PER_STATEMENT) {
            let ids = chunk.iter().map(|message| message.id);
            let query = sql("SELECT DISTINCT message_id FROM event WHERE message_id IN ").list(ids);
            let query = query.within(chunk.iter().map(|message| message.connection));
            for row in self.all(query).await? {
                taken.insert(row.get("message_id")?);
            }
        }
        Ok(taken)
    }

    async fn write_taking(&mut self, taking: &Taking, ticket: Ticket) -> Result<Option<i64>, StoreError> {
        self.insert_events_taken(&taking.events, ticket).await?;
        self.name_objects(&taking.named).await?;
        let due: Vec<HintedObject> = taking.due.values().cloned().collect();
        let look = self.mark_hinted(&due).await?;
        let now = self.now();
        self.note_seen(&taking.seen).await?;
        for connection in &taking.gaps {
            self.run(mark_gap_statement(*connection, now)).await?;
        }
        for subscription in &taking.renew {
            self.run(sql(RENEW_NOW).bind(*subscription).bind(now)).await?;
        }
        Ok(look)
    }

    /// Keeps ids out of scope for a while, without a call to Graph.
    pub(crate) async fn note_seen(
        &mut self,
        seen: &BTreeMap<(ConnectionId, ObjectId), DueKind>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let seen: Vec<_> = seen.iter().collect();
        for chunk in seen.chunks(ROWS_PER_STATEMENT) {
            let rows = chunk.iter().map(|((connection, id), kind)| -> Vec<Bind> {
                vec![(*connection).into(), (*id).into(), kind.as_str().into(), now.into()]
            });
            let insert = sql("INSERT INTO seen (connection_id, object_id, object_kind, seen_at) VALUES ").rows(rows);
            self.run(insert.push(SEEN)).await?;
        }
        Ok(())
    }

    async fn note_notified(
        &mut self,
        messages: &[HintMessage],
        known: &HashSet<ConnectionId>,
    ) -> Result<(), StoreError> {
        let mut connections: BTreeMap<ConnectionId, Timestamp> = BTreeMap::new();
        let mut subscriptions: BTreeMap<Timestamp, BTreeSet<SubscriptionId>> = BTreeMap::new();
        for message in messages.iter().filter(|message| known.contains(&message.connection)) {
            let last = connections.entry(message.connection).or_insert(message.received_at);
            *last = message.received_at.max(*last);
            subscriptions.entry(message.received_at).or_default().extend(message.items.iter().map(|i| i.subscription));
        }
        for (connection, at) in connections {
            self.run(sql(NOTIFIED_CONNECTION).bind(connection).bind(at)).await?;
        }
        // Latest first, and each subscription once: a thousand messages by one subscription are one update.
        let mut noted = HashSet::new();
        for (at, ids) in subscriptions.into_iter().rev() {
            let fresh: Vec<_> = ids.into_iter().filter(|id| noted.insert(*id)).collect();
            if !fresh.is_empty() {
                self.run(sql(NOTIFIED).value(at).push(" WHERE id IN ").list(fresh)).await?;
            }
        }
        Ok(())
    }
}

//! Reading ahead: whoever a lone hint names is asked for in Graph while the hint is still being written down (T4). The look
//! at them takes the answer, if it was asked for by no later hint.

use std::sync::{Arc, Mutex, PoisonError};

use lockstep_core::hint::{Claim, HintMessage, Subject};
use lockstep_core::mirror::ProfileRead;
use lockstep_core::{ConnectionId, ObjectId, Ticket};
use lockstep_store::{Connection, ConnectionState, Due};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::context::Context;
use crate::error::WorkerError;
use crate::read::{Order, read_profile};

type Answer = JoinHandle<Result<ProfileRead, WorkerError>>;

/// The read whose look was not taken up yet.
#[derive(Default)]
pub(crate) struct Ahead(Mutex<Option<Awaited>>);

struct Awaited {
    connection: ConnectionId,
    user: ObjectId,
    /// [`Due::version`] of the look.
    version: i64,
    answer: Answer,
}

/// A read that began.
pub(crate) struct Begun {
    /// Its place among all reads.
    pub ticket: Ticket,
    connection: ConnectionId,
    user: ObjectId,
    answer: Answer,
}

impl Ahead {
    /// `version` is that of the look which the hint asked for.
    pub(crate) fn hand_over(&self, begun: Begun, version: i64) {
        let Begun { connection, user, answer, .. } = begun;
        *self.lock() = Some(Awaited { connection, user, version, answer });
    }

    /// What was asked for ahead of this look. A hint that came later may know of something the read did not see.
    pub(crate) fn take(&self, due: &Due) -> Option<Answer> {
        let of_due = |awaited: &mut Awaited| {
            (awaited.connection, awaited.user, awaited.version) == (due.connection, due.object, due.version)
        };
        self.lock().take_if(of_due).map(|awaited| awaited.answer)
    }

    /// Another process may have taken up the last look: its answer is forgotten once it is there.
    fn is_free(&self) -> bool {
        self.lock().as_ref().is_none_or(|awaited| awaited.answer.is_finished())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Awaited>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to read whoever these messages name, if that is one person whom nothing keeps from being read at once. Many are
/// read together (T5), which one of them ahead would not make faster. What fails here the look itself will meet.
pub(crate) async fn begin(ctx: &Context, messages: &[HintMessage]) -> Option<Begun> {
    let (connection, user) = lone_change(messages)?;
    if !ctx.is_idle() || !ctx.ahead.is_free() {
        return None;
    }
    let place = Arc::clone(&ctx.places).try_acquire_owned().ok()?;
    let store = &ctx.store;
    let (found, ticket) =
        futures::try_join!(store.lookup_connection(connection), store.draw_ticket_at_rest(connection, user)).ok()?;
    let (found, ticket) = (found.filter(|found| is_worked_on(ctx, found))?, ticket?);
    let client = ctx.ready_client(&found)?;
    let order = Order { ticket, read_at: store.now() };
    let read = async move {
        let _place = place;
        read_profile(&client, user, order).await
    };
    Some(Begun { ticket, connection, user, answer: tokio::spawn(read.in_current_span()) })
}

fn lone_change(messages: &[HintMessage]) -> Option<(ConnectionId, ObjectId)> {
    let [message] = messages else { return None };
    match message.items.as_slice() {
        [item] => match item.subject {
            Subject::User { id, claim: Claim::Changed } => Some((message.connection, id)),
            _ => None,
        },
        _ => None,
    }
}

/// As the claim of what is due has it; before the first sync has ended, looks wait for it.
fn is_worked_on(ctx: &Context, connection: &Connection) -> bool {
    let waits = connection.next_try_at.is_some_and(|at| at > ctx.store.now());
    connection.state == ConnectionState::Active && !waits && connection.first_sync_at.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use lockstep_core::hint::{Hint, MemberHint};
    use lockstep_core::{SubscriptionId, Timestamp};
    use lockstep_store::{DueKind, DueReason};
    use uuid::Uuid;

    use super::*;

    fn message(items: Vec<Subject>) -> HintMessage {
        let subscription = SubscriptionId(Uuid::nil());
        HintMessage {
            version: lockstep_core::hint::VERSION,
            id: Uuid::now_v7(),
            connection: ConnectionId(Uuid::nil()),
            received_at: Timestamp::from_micros(0),
            items: items.into_iter().map(|subject| Hint { subscription, subject }).collect(),
        }
    }

    fn about(user: ObjectId, claim: Claim) -> Subject {
        Subject::User { id: user, claim }
    }

    #[test]
    fn only_a_lone_change_of_a_user_is_read_ahead() {
        let user = ObjectId(Uuid::new_v4());
        let changed = message(vec![about(user, Claim::Changed)]);
        assert_eq!(lone_change(std::slice::from_ref(&changed)), Some((changed.connection, user)));
        let member = MemberHint { id: user, removed: true };
        let group = Subject::Group { id: user, claim: Claim::Changed, members: vec![member], truncated: false };
        let two = message(vec![about(user, Claim::Changed), about(user, Claim::Changed)]);
        let others = [message(vec![about(user, Claim::Deleted)]), message(vec![group]), two, message(Vec::new())];
        for other in others {
            assert_eq!(lone_change(std::slice::from_ref(&other)), None, "{other:?}");
        }
        assert_eq!(lone_change(&[changed.clone(), changed]), None, "several are read together (T5)");
    }

    /// G-05: a hint that came since may know of something the read did not see.
    #[tokio::test]
    async fn a_look_that_a_later_hint_asked_for_takes_no_answer_of_before() {
        let due = Due {
            connection: ConnectionId(Uuid::nil()),
            object: ObjectId(Uuid::new_v4()),
            kind: DueKind::User,
            read_profile: true,
            read_membership: false,
            reason: DueReason::Hint,
            claim: None,
            claim_group: None,
            hinted_at: None,
            settle_at: None,
            version: 7,
            attempts: 1,
            due_at: Timestamp::from_micros(0),
            urgent: true,
        };
        let ahead = Ahead::default();
        let answer = tokio::spawn(async { Err(WorkerError::Stopping) });
        let begun = Begun { ticket: Ticket(1), connection: due.connection, user: due.object, answer };
        ahead.hand_over(begun, 7);
        assert!(ahead.take(&Due { version: 8, ..due.clone() }).is_none());
        assert!(ahead.take(&Due { object: ObjectId(Uuid::new_v4()), ..due.clone() }).is_none());
        assert!(ahead.take(&due).is_some());
        assert!(ahead.take(&due).is_none(), "an answer is for one look");
    }
}

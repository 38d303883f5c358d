//! The span of a POST: how long it took, and by which ids it is found again in the worker's spans. Ids and figures alone
//! (G-27), and nothing is put together while nobody exports spans.

use lockstep_core::ConnectionId;
use lockstep_core::hint::{HintMessage, Subject};
use lockstep_core::spans::{TARGET, id_list};
use tracing::Span;
use tracing::field::Empty;

use crate::answer::Answer;
use crate::rejection::Rejection;

/// The way of one POST from its path token to its answer. Attributes are those of OpenTelemetry's conventions where there is
/// one.
pub(crate) struct PostSpan(Span);

impl PostSpan {
    pub(crate) fn begin(connection: ConnectionId, path: &str) -> Self {
        let (name, route) = if path.ends_with("/lifecycle") {
            ("POST /graph/{path_token}/lifecycle", "/graph/{path_token}/lifecycle")
        } else {
            ("POST /graph/{path_token}/notifications", "/graph/{path_token}/notifications")
        };
        Self(tracing::debug_span!(
            target: TARGET,
            "POST",
            otel.name = name,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = "POST",
            http.route = route,
            http.response.status_code = Empty,
            "error.type" = Empty,
            connection.id = %connection,
            subscription.ids = Empty,
            object.ids = Empty,
            items = Empty,
            hints = Empty,
            messaging.message.id = Empty,
        ))
    }

    pub(crate) fn span(&self) -> Span {
        self.0.clone()
    }

    /// Items in the body, authentic or not.
    pub(crate) fn note_items(&self, items: usize) {
        if !self.0.is_disabled() {
            self.0.record("items", items as i64);
        }
    }

    /// What is published of them.
    pub(crate) fn note_message(&self, message: &HintMessage) {
        if self.0.is_disabled() {
            return;
        }
        let mut subscriptions: Vec<_> = message.items.iter().map(|hint| hint.subscription).collect();
        subscriptions.sort_unstable();
        subscriptions.dedup();
        let objects = message.items.iter().filter_map(|hint| match &hint.subject {
            Subject::User { id, .. } | Subject::Group { id, .. } => Some(id),
            Subject::Lifecycle { .. } | Subject::Unclear => None,
        });
        self.0.record("hints", message.items.len() as i64);
        self.0.record("messaging.message.id", message.id.to_string().as_str());
        self.0.record("subscription.ids", id_list(subscriptions).as_str());
        self.0.record("object.ids", id_list(objects).as_str());
    }

    pub(crate) fn end(self, answered: &Result<Answer, Rejection>) {
        if self.0.is_disabled() {
            return;
        }
        let status = match answered {
            Ok(answer) => answer.status(),
            Err(rejection) => rejection.status(),
        };
        self.0.record("http.response.status_code", i64::from(status.as_u16()));
        if let Err(rejection) = answered {
            self.0.record("error.type", rejection.code());
            if rejection.is_ours() {
                self.0.record("otel.status_code", "ERROR");
            }
        }
    }
}

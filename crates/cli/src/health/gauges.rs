//! Gauges read when somebody asks: this process, and, where the renewer is, the installation as its store shows it.

use std::time::{Duration, Instant};

use lockstep_store::{ConnectionFigures, ConnectionState, Figures, Store};
use tokio::time::timeout;

use super::exposition::{Exposition, flag};
use super::{ANSWER_WITHIN, Health};

/// Figures this young are shown again: many who ask cost the store no more than one.
const READ_EVERY: Duration = Duration::from_secs(5);
/// A worker beats every 2 s.
const WORKER_ALIVE: Duration = Duration::from_secs(10);

/// The last figures that the store gave.
#[derive(Default)]
pub(super) struct InstallationGauges {
    read: Option<(Instant, Figures, u64)>,
}

impl Health {
    /// Every gauge that is read now.
    pub(super) async fn exposition(&self) -> String {
        let mut text = Exposition::default();
        self.show_process(&mut text).await;
        if self.parts.renewer.is_some() {
            let mut installation = self.installation.lock().await;
            installation.read_if_old(&self.store).await;
            installation.show(&mut text);
        }
        text.text()
    }

    async fn show_process(&self, text: &mut Exposition) {
        let readiness = self.judge().await;
        let version = env!("CARGO_PKG_VERSION");
        text.gauge("lockstep_build_info", [(vec![("version", version)], 1.0)]);
        text.single("lockstep_process_started_timestamp_seconds", self.started_at.micros() as f64 / 1e6);
        text.single("lockstep_ready", flag(readiness.ready));
        text.gauge("lockstep_part_up", readiness.parts().map(|(part, up)| (vec![("part", part)], flag(up))));
        if let Some(depth) = self.queue_depth().await {
            let age = depth.oldest.map_or(Duration::ZERO, |oldest| self.store.now().since(oldest));
            text.single("lockstep_queue_messages", depth.messages as f64);
            text.single("lockstep_queue_oldest_seconds", age.as_secs_f64());
        }
    }
}

impl InstallationGauges {
    async fn read_if_old(&mut self, store: &Store) {
        if self.read.as_ref().is_some_and(|(at, ..)| at.elapsed() < READ_EVERY) {
            return;
        }
        let reading = async {
            Ok::<_, lockstep_store::StoreError>((store.figures().await?, store.workers_alive(WORKER_ALIVE).await?))
        };
        if let Ok(Ok((figures, workers))) = timeout(ANSWER_WITHIN, reading).await {
            self.read = Some((Instant::now(), figures, workers));
        }
    }

    fn show(&self, text: &mut Exposition) {
        let Some((at, figures, workers)) = &self.read else { return };
        text.single("lockstep_store_gauges_age_seconds", at.elapsed().as_secs_f64());
        text.single("lockstep_workers_alive", *workers as f64);
        text.single("lockstep_audit_entries", figures.audit_entries as f64);
        let tasks = || figures.tasks.iter();
        text.gauge("lockstep_tasks_due", tasks().map(|it| (vec![("kind", it.kind.as_str())], it.due as f64)));
        text.gauge(
            "lockstep_tasks_oldest_seconds",
            tasks().map(|it| (vec![("kind", it.kind.as_str())], it.oldest.as_secs_f64())),
        );
        Connections::of(figures).show(text);
    }
}

/// Connections with their ids as text.
struct Connections<'a> {
    all: Vec<(String, &'a ConnectionFigures)>,
    parked_nameless: i64,
}

impl<'a> Connections<'a> {
    fn of(figures: &'a Figures) -> Self {
        let all = figures.connections.iter().map(|it| (it.id.to_string(), it)).collect();
        Self { all, parked_nameless: figures.parked_nameless }
    }

    fn show(&self, text: &mut Exposition) {
        self.show_words(text);
        self.each(text, "lockstep_people_held", |it| Some(it.people_held as f64));
        self.each(text, "lockstep_people_kept", |it| Some(it.people_kept as f64));
        self.each(text, "lockstep_holds_open", |it| Some(it.holds as f64));
        self.each(text, "lockstep_hold_oldest_seconds", |it| seconds(it.oldest_hold));
        self.each(text, "lockstep_reviews_open", |it| Some(it.reviews as f64));
        self.each(text, "lockstep_due_objects", |it| Some(it.due as f64));
        self.each(text, "lockstep_due_oldest_seconds", |it| Some(it.oldest_due.as_secs_f64()));
        self.each(text, "lockstep_subscriptions_active", |it| Some(it.subscriptions as f64));
        self.each(text, "lockstep_subscription_seconds_left", |it| seconds(it.subscription_left));
        self.each(text, "lockstep_connection_stale", |it| Some(flag(it.stale)));
        self.each(text, "lockstep_connection_delta_age_seconds", |it| seconds(it.delta_age));
        self.each(text, "lockstep_connection_notification_age_seconds", |it| seconds(it.notification_age));
        self.each(text, "lockstep_connection_next_try_seconds", |it| seconds(Some(it.next_try)));
        self.each(text, "lockstep_credential_seconds_left", |it| seconds(it.credential_left));
    }

    /// Those with a word beside the connection.
    fn show_words(&self, text: &mut Exposition) {
        let nameless = (vec![("connection", "none"), ("status", "parked")], self.parked_nameless as f64);
        let events = self.all.iter().flat_map(|(id, it)| {
            it.events
                .iter()
                .map(move |(status, count)| (vec![("connection", id.as_str()), ("status", *status)], *count as f64))
        });
        text.gauge("lockstep_events", events.chain([nameless]));
        let people = self.all.iter().flat_map(|(id, it)| {
            [("active", it.active), ("inactive", it.inactive)]
                .map(|(status, count)| (vec![("connection", id.as_str()), ("status", status)], count as f64))
        });
        text.gauge("lockstep_people", people);
        let room = self.all.iter().flat_map(|(id, it)| {
            let [lost_scope, revoked] = it.brake_room;
            [("lost_scope", lost_scope), ("revoked", revoked)]
                .map(|(cause, room)| (vec![("connection", id.as_str()), ("cause", cause)], f64::from(room)))
        });
        text.gauge("lockstep_brake_room", room);
        use ConnectionState::{Active, Degraded, NeedsAttention, New, Paused};
        let states = self.all.iter().flat_map(|(id, it)| {
            [New, Active, Degraded, NeedsAttention, Paused]
                .map(|state| (vec![("connection", id.as_str()), ("state", state.as_str())], flag(it.state == state)))
        });
        text.gauge("lockstep_connection_state", states);
    }

    /// One value a connection, where there is one.
    fn each(&self, text: &mut Exposition, name: &str, value: impl Fn(&ConnectionFigures) -> Option<f64>) {
        let series = self.all.iter().filter_map(|(id, it)| Some((vec![("connection", id.as_str())], value(it)?)));
        text.gauge(name, series);
    }
}

fn seconds(span: Option<Duration>) -> Option<f64> {
    span.map(|span| span.as_secs_f64())
}

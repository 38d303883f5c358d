//! The notification sender: batches what waits for the same URL, retries as Microsoft does
//! (`graph-contract.md`, section 2), by the profile in force.

mod endpoint;
pub(crate) mod handshake;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::counter::Counting;
use crate::fault::{Faults, NOTIFICATIONS, Trouble};
use crate::settings::{DeliveryRules, Settings};
use crate::sync::{lock, read};
use crate::world::Surroundings;
use endpoint::{Endpoint, State};

/// Retries end this much simulated time after the first attempt.
const RETRY_BUDGET: i64 = 4 * 3600 * 1_000_000;
/// Items that come this close together (real time) share a POST.
const COALESCE: Duration = Duration::from_millis(5);
/// At most this many items in a POST.
const ITEMS_PER_POST: usize = 100;
/// Of so many POSTs it is remembered when they went out.
const POSTS_REMEMBERED: usize = 256;
/// How far a reordered item is held back at most, real milliseconds.
const REORDER_MS: u64 = 500;

/// Sends notifications of all tenants. Never blocks who changes the directory.
pub(crate) struct Sender {
    pub http: reqwest::Client,
    clock: SimClock,
    chance: Arc<Chance>,
    faults: Arc<Faults>,
    counting: Arc<Counting>,
    settings: Arc<RwLock<Settings>>,
    runtime: Handle,
    endpoints: Mutex<HashMap<String, Arc<Endpoint>>>,
    /// Items queued, held back, in flight or waiting for a retry.
    pending: watch::Sender<usize>,
    stopped: watch::Sender<bool>,
    /// When the latest POSTs went out, in this order.
    posted: Mutex<VecDeque<Instant>>,
}

impl Sender {
    pub fn new(http: reqwest::Client, surroundings: Surroundings) -> Self {
        let Surroundings { clock, chance, faults, counting, settings } = surroundings;
        Self {
            http,
            clock,
            chance,
            faults,
            counting,
            settings,
            runtime: Handle::current(),
            endpoints: Mutex::default(),
            pending: watch::channel(0).0,
            stopped: watch::channel(false).0,
            posted: Mutex::default(),
        }
    }

    /// Puts an item in the queue of its URL after so much simulated time (microseconds), with
    /// whatever the faults in force do to it.
    pub fn notify(self: &Arc<Self>, url: &str, item: &Value, after: i64) {
        let item: Arc<str> = item.to_string().into();
        let trouble = self.faults.strike(NOTIFICATIONS, &self.chance);
        if trouble.drop {
            self.counting.notifications(|count| count.dropped += 1);
            return;
        }
        let hold = trouble.hold + Duration::from_micros(u64::try_from(after).unwrap_or(0));
        for _ in 0..=usize::from(trouble.duplicate) {
            self.pending.send_modify(|pending| *pending += 1);
            match (hold, self.held_back(&trouble)) {
                (Duration::ZERO, Duration::ZERO) => self.endpoint(url).push(item.clone()),
                (hold, pause) => self.push_later(url, item.clone(), hold, pause),
            }
        }
    }

    /// Resolves when nothing is queued, in flight or waiting for a retry.
    pub async fn idle(&self) {
        // The sender half lives in self, so waiting cannot fail.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    /// When the first POST after this instant went out, if it did.
    pub fn first_post_since(&self, instant: Instant) -> Option<Instant> {
        lock(&self.posted).iter().find(|posted| **posted >= instant).copied()
    }

    fn note_post(&self, at: Instant) {
        let mut posted = lock(&self.posted);
        posted.push_back(at);
        if posted.len() > POSTS_REMEMBERED {
            posted.pop_front();
        }
    }

    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Resolves when the simulator stops.
    pub async fn stopped(&self) {
        // The sender half lives in self, so waiting cannot fail.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    fn held_back(&self, trouble: &Trouble) -> Duration {
        let reorder = if trouble.reorder { self.chance.below(REORDER_MS) } else { 0 };
        trouble.delay + Duration::from_millis(reorder)
    }

    /// Waits the simulated `hold` and the real `pause` first.
    fn push_later(self: &Arc<Self>, url: &str, item: Arc<str>, hold: Duration, pause: Duration) {
        let (sender, url) = (self.clone(), url.to_owned());
        // From now, not from whenever the task gets its turn.
        let due = self.clock.now_micros().saturating_add(i64::try_from(hold.as_micros()).unwrap_or(i64::MAX));
        self.runtime.spawn(async move {
            let wait = async {
                sender.clock.sleep_until(due).await;
                tokio::time::sleep(pause).await;
            };
            tokio::select! {
                () = wait => sender.endpoint(&url).push(item),
                () = sender.stopped() => {}
            }
        });
    }

    fn rules(&self) -> DeliveryRules {
        read(&self.settings).delivery_profile.rules()
    }

    fn endpoint(self: &Arc<Self>, url: &str) -> Arc<Endpoint> {
        let mut endpoints = lock(&self.endpoints);
        if let Some(endpoint) = endpoints.get(url) {
            return endpoint.clone();
        }
        let endpoint = Arc::new(Endpoint::new(url));
        endpoints.insert(url.to_owned(), endpoint.clone());
        self.runtime.spawn(self.clone().serve(endpoint.clone()));
        endpoint
    }

    /// Takes what waits at this endpoint and sends it, until the simulator stops.
    async fn serve(self: Arc<Self>, endpoint: Arc<Endpoint>) {
        let work = async {
            loop {
                endpoint.filled().await;
                tokio::time::sleep(COALESCE).await;
                while let Some(items) = endpoint.take(ITEMS_PER_POST) {
                    let place = endpoint.place().await;
                    self.runtime.spawn(self.clone().deliver(endpoint.clone(), items, place));
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = self.stopped() => {}
        }
    }

    /// Sends one POST until it is answered by 2xx, given up, or the simulator stops.
    async fn deliver(self: Arc<Self>, endpoint: Arc<Endpoint>, items: Vec<Arc<str>>, place: endpoint::Place) {
        let outcome = tokio::select! {
            outcome = self.attempts(&endpoint, &items, place) => outcome,
            () = self.stopped() => Outcome::Expired,
        };
        let count = items.len() as u64;
        self.counting.notifications(|counters| match outcome {
            Outcome::Delivered => counters.delivered += count,
            Outcome::Dropped => counters.dropped += count,
            Outcome::Expired => counters.expired += count,
        });
        self.pending.send_modify(|pending| *pending -= items.len());
    }

    async fn attempts(&self, endpoint: &Endpoint, items: &[Arc<str>], mut place: endpoint::Place) -> Outcome {
        match endpoint.state(self.clock.now_micros()) {
            State::Healthy => {}
            State::Slow { until } => {
                // Waiting must not keep retries from being sent.
                drop(place);
                self.clock.sleep_until(until).await;
                place = endpoint.place().await;
            }
            State::Drop => return Outcome::Dropped,
        }
        let (begun, rules) = (self.clock.now_micros(), self.rules());
        if self.attempt(endpoint, items, rules.first_limit).await {
            return Outcome::Delivered;
        }
        // Waiting for a retry must not keep others from being sent.
        drop(place);
        let mut pause = rules.first_pause;
        while self.clock.now_micros() - begun < RETRY_BUDGET {
            self.clock.sleep(pause).await;
            let place = endpoint.place().await;
            if self.attempt(endpoint, items, rules.retry_limit).await {
                return Outcome::Delivered;
            }
            drop(place);
            pause = (pause * 2).min(rules.longest_pause);
        }
        Outcome::Expired
    }

    async fn attempt(&self, endpoint: &Endpoint, items: &[Arc<str>], limit: Duration) -> bool {
        let body = format!("{{\"value\":[{}]}}", items.join(","));
        let begun = Instant::now();
        self.note_post(begun);
        let post = self.http.post(&endpoint.url).header("Content-Type", "application/json; charset=utf-8");
        let answer = tokio::time::timeout(limit, post.body(body).send()).await;
        let accepted = matches!(answer, Ok(Ok(answer)) if answer.status().is_success());
        endpoint.note(begun.elapsed(), self.clock.now_micros(), &self.rules());
        self.counting.notifications(|count| {
            count.posts += 1;
            count.failed_posts += u64::from(!accepted);
        });
        accepted
    }
}

enum Outcome {
    Delivered,
    Dropped,
    Expired,
}

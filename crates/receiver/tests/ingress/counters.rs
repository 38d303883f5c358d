//! Reads the counters that the receiver keeps. Local to the test's thread, on which its whole runtime lives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, LocalRecorderGuard, Metadata, Recorder, SharedString, Unit};

#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

pub struct Counters {
    counts: Counts,
    _guard: LocalRecorderGuard<'static>,
}

impl Counters {
    pub fn install() -> Self {
        let counts = Counts::default();
        let recorder = Box::leak(Box::new(counts.clone()));
        Self { counts, _guard: metrics::set_default_local_recorder(recorder) }
    }

    /// `lockstep_ingest_rejected_total` of one reason.
    pub fn rejected(&self, reason: &str) -> u64 {
        self.value(&format!("lockstep_ingest_rejected_total {reason}"))
    }

    pub fn accepted_items(&self) -> u64 {
        self.value("lockstep_ingest_accepted_items_total")
    }

    fn value(&self, name: &str) -> u64 {
        self.counts.0.lock().unwrap().get(name).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key.labels().map(|label| format!(" {}", label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Counter::from_arc(Arc::clone(self.0.lock().unwrap().entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

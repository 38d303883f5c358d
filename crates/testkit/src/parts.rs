//! Store, queue and receiver in a folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use lockstep_core::timing::Timing;
use lockstep_queue::Queue;
use lockstep_receiver::{Limits, Receiver, ReceiverConfig, RunningReceiver};
use lockstep_simulator::{SimClock, Simulator};
use lockstep_store::{Clock, Store, StoreConfig};
use lockstep_worker::GraphSettings;
use url::Url;

use crate::queue_place::QueuePlace;
use crate::store_place::StorePlace;

/// What one installation is made of.
pub struct Parts {
    /// In the folder, or where its [`StorePlace`] says.
    pub store: Store,
    /// Embedded, or where its [`QueuePlace`] says.
    pub queue: Queue,
    /// On a free port.
    pub receiver: RunningReceiver,
}

/// Opens (or opens again) the installation in this folder; its time is the given clock's.
pub async fn open_parts(folder: &Path, clock: &SimClock, limits: Limits) -> Parts {
    open_parts_at(folder, clock, limits, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
}

/// The same, with the receiver at this address.
pub(crate) async fn open_parts_at(folder: &Path, clock: &SimClock, limits: Limits, bind: SocketAddr) -> Parts {
    let followed = clock.clone();
    let config = StoreConfig {
        url: StorePlace::url_in(folder),
        key_file: folder.join("key"),
        clock: Clock::following(Arc::new(move || followed.now_micros())),
        timing: Timing::default(),
    };
    let store = Store::open(config).await.expect("the store opens");
    let queue = Queue::open(&QueuePlace::url_in(folder)).await.expect("the queue opens");
    let receiver =
        Receiver::start(ReceiverConfig { bind, limits }, store.clone(), queue.clone(), store.clock().clone());
    let receiver = receiver.await.expect("the receiver starts");
    Parts { store, queue, receiver }
}

/// Graph and login at the simulator.
pub fn graph_settings(simulator: &Simulator) -> GraphSettings {
    let url = Url::parse(&simulator.url()).expect("the simulator's address is a URL");
    GraphSettings { graph_url: Some(url.clone()), login_url: Some(url) }
}

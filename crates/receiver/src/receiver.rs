//! Starting, accepting, stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lockstep_core::ErrorClass;
use lockstep_queue::Queue;
use lockstep_store::{Clock, Store};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::config::ReceiverConfig;
use crate::connection;
use crate::endpoints::EndpointTable;
use crate::ingest::Ingest;
use crate::rejection;

/// Open requests are answered within this after a stop (FA-33).
const GRACE: Duration = Duration::from_secs(20);

/// After a failed accept, for example when there are no file handles left (FA-32).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The public ingress.
pub struct Receiver;

/// A receiver at work. Dropping it without [`RunningReceiver::stop`] leaves it running.
pub struct RunningReceiver {
    /// Where it listens.
    pub addr: SocketAddr,
    stopping: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    refreshing: JoinHandle<()>,
}

/// The receiver could not start.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// The address cannot be listened on.
    #[error("listening on {bind} failed: is the address free and ours? (LOCKSTEP_PUBLIC_BIND)")]
    Bind {
        /// What was asked for.
        bind: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ReceiverError {
    /// Whether waiting or a person helps.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Bind { .. } => ErrorClass::Permanent,
        }
    }
}

impl Receiver {
    /// Listens and answers until stopped. A store that is away is no reason not to start: what needs it is answered
    /// 503 until it is back (FA-07).
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(
        config: ReceiverConfig,
        store: Store,
        queue: Queue,
        clock: Clock,
    ) -> Result<RunningReceiver, ReceiverError> {
        let bind = config.bind;
        let failed = |source| ReceiverError::Bind { bind, source };
        let listener = listen(bind, config.limits.connections).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let endpoints = EndpointTable::read(store).await;
        let refreshing = tokio::spawn(endpoints.clone().keep_fresh());
        let ingest = Arc::new(Ingest::over(endpoints, queue, clock, config.limits));
        let (stopping, stop) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, ingest, stop));
        Ok(RunningReceiver { addr, stopping, accepting, refreshing })
    }
}

impl RunningReceiver {
    /// Takes no more connections, answers the open requests, at most for 20 s (FA-33).
    pub async fn stop(self) {
        let _ = self.stopping.send(true);
        let _ = self.accepting.await;
        self.refreshing.abort();
    }
}

/// As many may wait to be accepted as are served at a time. With the usual 128 a storm of new connections overflows the
/// kernel's list, and whoever finds no place there knocks again a second later.
fn listen(bind: SocketAddr, waiting: usize) -> std::io::Result<TcpListener> {
    let socket = if bind.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the process before, which the kernel still closes, must not keep this one from starting.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(bind)?;
    socket.listen(u32::try_from(waiting).unwrap_or(u32::MAX))
}

async fn accept(listener: TcpListener, ingest: Arc<Ingest>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let stopping = stop.clone();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(_) if connections.len() >= ingest.limits().connections => rejection::count("too_many_connections"),
                Ok((stream, peer)) => {
                    send_small_answers_at_once(&stream);
                    connections.spawn(connection::serve(stream, peer.ip(), Arc::clone(&ingest), stopping.clone()));
                }
                Err(_) => {
                    rejection::count("accept_failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

/// An error means that the receiver is gone: stop as well.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn send_small_answers_at_once(stream: &TcpStream) {
    // Only slower without it.
    let _ = stream.set_nodelay(true);
}

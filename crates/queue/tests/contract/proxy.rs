//! A wire between a queue and its broker that can be cut, and that can swallow what goes over it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the wire does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Carries,
    /// Nothing goes through, and nobody is told.
    Swallows,
    /// The broker's words do not go through, what is said to it does.
    SwallowsAnswers,
    /// Connections are closed, new ones at once.
    Cut,
}

/// The proxy; it ends with the test's runtime.
pub struct Proxy {
    address: SocketAddr,
    wire: Arc<watch::Sender<Wire>>,
}

impl Proxy {
    pub async fn before(broker: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Arc::new(watch::Sender::new(Wire::Carries));
        let shared = wire.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, broker.clone(), shared.subscribe()));
            }
        });
        Self { address, wire }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn now(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

async fn carry(client: TcpStream, broker: String, mut wire: watch::Receiver<Wire>) {
    let carrying = async {
        let Ok(broker) = TcpStream::connect(broker).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let down = copy(from_broker, to_client, wire.clone(), &[Wire::Swallows, Wire::SwallowsAnswers]);
        let up = copy(from_client, to_broker, wire.clone(), &[Wire::Swallows]);
        tokio::select! {
            () = down => {}
            () = up => {}
        }
    };
    let mut watched = wire.clone();
    tokio::select! {
        () = carrying => {}
        _ = watched.wait_for(|wire| *wire == Wire::Cut) => {}
    }
    wire.mark_unchanged();
}

/// Like a stopped process: what is swallowed is not lost, it waits.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>, stops: &[Wire]) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let goes_on = wire.wait_for(|wire| !stops.contains(wire)).await.is_ok_and(|wire| *wire != Wire::Cut);
        if !goes_on || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

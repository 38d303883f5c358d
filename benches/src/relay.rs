//! A TCP relay before the broker, so that the broker can be away without being touched.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::error::{BenchError, During as _};

/// Carries bytes until it is cut or dropped.
pub(crate) struct Relay {
    pub address: SocketAddr,
    target: SocketAddr,
    carrying: JoinHandle<()>,
}

impl Relay {
    pub async fn before(target: SocketAddr) -> Result<Self, BenchError> {
        let listener = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = listener.local_addr().during("opening a relay")?;
        Ok(Self { address, target, carrying: tokio::spawn(carry(listener, target)) })
    }

    /// Every connection ends; new ones are refused.
    pub async fn cut(&mut self) {
        self.carrying.abort();
        // Its end is what frees the address.
        let _ = (&mut self.carrying).await;
    }

    pub async fn restore(&mut self) -> Result<(), BenchError> {
        let listener = bound(self.address).await?;
        self.carrying = tokio::spawn(carry(listener, self.target));
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

async fn bound(address: SocketAddr) -> Result<TcpListener, BenchError> {
    TcpListener::bind(address).await.during(format!("opening a relay on {address}"))
}

async fn carry(listener: TcpListener, target: SocketAddr) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        connections.spawn(async move {
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

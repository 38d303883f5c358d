//! One connection to the broker. Not lapin's own recovery: a link that breaks is thrown away whole and made anew, so
//! that everything on it is checked again (the queue, its generation, the rights), and no confirm hangs meanwhile.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use lapin::tcp::TLSConfig;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Event};
use tokio::time::timeout;

use super::trouble;
use crate::error::QueueError;
use crate::url::RabbitUrl;

/// From the first packet to the end of the login. A broker that is stopped takes connections and says nothing.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(4);

/// Seconds. lapin gives a silent connection up after twice this and up to half of it: dead in 20 s (FA-02).
const HEARTBEAT: u16 = 8;

/// Bytes. lapin keeps two buffers of 32 frames a connection; a larger message goes in several frames.
const FRAME_MAX: u32 = 16 * 1024;

type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// A connection that ends when it is dropped, whatever the other side does.
pub(super) struct Link {
    connection: Arc<Connection>,
    socket: Socket,
}

/// A second handle on the connection's socket. lapin's thread has no other end: it would wait for ever for an answer
/// to a login or to a close.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Link {
    /// Logs in. `part` is shown in RabbitMQ's list of connections.
    pub(super) async fn open(url: &RabbitUrl, part: &'static str) -> Result<Self, QueueError> {
        let socket = Socket::default();
        let opening = timeout(LOGIN_TIMEOUT, connect(url, part, socket.clone()));
        match opening.await {
            Ok(Ok(connection)) => Ok(Self { connection: Arc::new(connection), socket }),
            Ok(Err(error)) => Err(trouble::while_connecting(error)),
            Err(_) => {
                socket.shut();
                Err(QueueError::BrokerAway(None))
            }
        }
    }

    pub(super) async fn channel(&self) -> Result<Channel, lapin::Error> {
        self.connection.create_channel().await
    }

    /// Blocked, unblocked, broken.
    pub(super) fn events(&self) -> Events {
        self.connection.events_listener().boxed()
    }

    pub(super) fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// Ends it in good order, but not at any price.
    pub(super) async fn close(self) {
        const POLITE: Duration = Duration::from_millis(500);

        let _ = timeout(POLITE, self.connection.close(200, "bye".into())).await;
    }

    pub(super) fn connection(&self) -> Arc<Connection> {
        self.connection.clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.socket.shut();
    }
}

impl Socket {
    fn keep(&self, socket: TcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }

    fn shut(&self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

async fn connect(url: &RabbitUrl, part: &'static str, socket: Socket) -> Result<Connection, lapin::Error> {
    let mut uri = url.uri.clone();
    uri.query.heartbeat = Some(HEARTBEAT);
    uri.query.frame_max = Some(FRAME_MAX);
    let properties = ConnectionProperties::default().with_connection_name(format!("lockstep {part}").into());
    let runtime = lapin::runtime::default_runtime()?;
    // Written in place: only here does the compiler know which stream it is.
    let dialled = Connection::connector(
        uri,
        runtime,
        async move |uri: AMQPUri, runtime| {
            let address = (uri.authority.host.clone(), uri.authority.port);
            let resolved = addresses_of(&address).await?;
            let dialled = timeout(LOGIN_TIMEOUT, AsyncTcpStream::connect(&runtime, resolved)).await;
            let stream = dialled.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
            if let AsyncTcpStream::Plain(plain) = &stream {
                let _ = plain.get_ref().set_nodelay(true);
                socket.keep(plain.get_ref().as_fd().try_clone_to_owned()?.into());
            }
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => Ok(stream.into_tls(&uri.authority.host, TLSConfig::default()).await?),
            }
        },
        properties,
    );
    dialled.await
}

async fn addresses_of(address: &(String, u16)) -> std::io::Result<Vec<std::net::SocketAddr>> {
    Ok(tokio::net::lookup_host(address).await?.collect())
}

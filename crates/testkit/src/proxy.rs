//! A TCP proxy between a client and its server, for what a network does to them: delay, cut, black hole.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// What the network does at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Weather {
    /// Bytes arrive after this time, in order.
    Open { delay: Duration },
    /// Connections stay open and new ones are accepted, but nothing arrives; what was sent meanwhile arrives after it.
    BlackHole,
    /// Connections are closed, new ones refused.
    Cut,
}

/// A word that a client says to its server; whoever says it next does not hear the answer.
#[derive(Clone, Default)]
struct Trap(Arc<Mutex<Option<&'static [u8]>>>);

impl Trap {
    fn set(&self, word: Option<&'static [u8]>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = word;
    }

    fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether these bytes hold the word; the trap catches one.
    fn catches(&self, bytes: &[u8]) -> bool {
        let mut word = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = word.is_some_and(|word| bytes.windows(word.len()).any(|window| window == word));
        if said {
            *word = None;
        }
        said
    }
}

/// How many chunks may be under way at once in one direction; more is left in the sender's buffers.
const UNDER_WAY: usize = 256;
const CHUNK: usize = 16 * 1024;

/// A proxy on loopback in front of one server; gone with all its connections when dropped.
pub struct Proxy {
    addr: SocketAddr,
    weather: watch::Sender<Weather>,
    trap: Trap,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Lets everything through to the target until told otherwise.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let (weather, seen) = watch::channel(Weather::Open { delay: Duration::ZERO });
        let trap = Trap::default();
        let accepting = tokio::spawn(accept(listener, addr, target, seen, trap.clone()));
        Self { addr, weather, trap, accepting }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on every byte takes this long, each way.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_replace(Weather::Open { delay });
    }

    /// Nothing arrives any more, and nobody is told.
    pub fn black_hole(&self) {
        self.weather.send_replace(Weather::BlackHole);
    }

    /// Every connection ends, and new ones are refused.
    pub fn cut(&self) {
        self.weather.send_replace(Weather::Cut);
    }

    /// The next connection that sends this word (within one packet) ends when its server answers, before the answer
    /// arrives: the server has done it, and the client does not know (FA-09).
    pub fn lose_the_answer_to(&self, word: &'static [u8]) {
        self.trap.set(Some(word));
    }

    /// Whether somebody has said the word since.
    pub fn has_lost_it(&self) -> bool {
        !self.trap.is_set()
    }

    /// All is well again.
    pub fn restore(&self) {
        self.delay(Duration::ZERO);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    addr: SocketAddr,
    target: SocketAddr,
    mut weather: watch::Receiver<Weather>,
    trap: Trap,
) {
    let mut listener = Some(listener);
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        if *weather.borrow_and_update() == Weather::Cut {
            listener = None;
            connections.shutdown().await;
            if weather.wait_for(|now| *now != Weather::Cut).await.is_err() {
                return;
            }
        }
        let open = match listener.take() {
            Some(open) => open,
            None => TcpListener::bind(addr).await.expect("the proxy gets its port again"),
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(carry(client, target, weather.clone(), trap.clone()));
                }
            }
            changed = weather.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
        }
        listener = Some(open);
    }
}

/// One connection, until either side has said all and heard all.
async fn carry(client: TcpStream, target: SocketAddr, weather: watch::Receiver<Weather>, trap: Trap) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let caught = AtomicBool::new(false);
    let asked = |bytes: &[u8]| {
        if trap.catches(bytes) {
            caught.store(true, Ordering::Release);
        }
        Ok(())
    };
    let answered = |_: &[u8]| match caught.load(Ordering::Acquire) {
        true => Err(io::ErrorKind::ConnectionAborted.into()),
        false => Ok(()),
    };
    // An error on one side ends both: a client must see that its server was killed.
    let _ = tokio::try_join!(
        one_way(from_client, to_server, weather.clone(), asked),
        one_way(from_server, to_client, weather.clone(), answered)
    );
}

async fn one_way(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    weather: watch::Receiver<Weather>,
    seen: impl Fn(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let (send, receive) = mpsc::channel(UNDER_WAY);
    tokio::try_join!(stamp(from, send, weather.clone(), seen), deliver(receive, to, weather)).map(|_| ())
}

/// Reads, and notes when each chunk is to arrive.
async fn stamp(
    mut from: OwnedReadHalf,
    under_way: mpsc::Sender<(Instant, Vec<u8>)>,
    weather: watch::Receiver<Weather>,
    seen: impl Fn(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await?;
        let delay = match *weather.borrow() {
            Weather::Open { delay } => delay,
            Weather::BlackHole | Weather::Cut => Duration::ZERO,
        };
        let chunk = buffer.get(..length).unwrap_or_default().to_vec();
        seen(&chunk)?;
        let sent = under_way.send((Instant::now() + delay, chunk)).await;
        if length == 0 || sent.is_err() {
            return Ok(());
        }
    }
}

/// Writes each chunk when its time has come and the way is open; an empty one is the end.
async fn deliver(
    mut under_way: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    while let Some((due, chunk)) = under_way.recv().await {
        tokio::time::sleep_until(due).await;
        let open = weather.wait_for(|now| matches!(now, Weather::Open { .. })).await.is_ok();
        if !open || chunk.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&chunk).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const SILENCE: Duration = Duration::from_millis(200);

    /// Says back what it hears.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        addr
    }

    async fn say(stream: &mut TcpStream, word: &[u8; 4]) {
        stream.write_all(word).await.expect("the connection takes it");
    }

    async fn hear(stream: &mut TcpStream, patience: Duration) -> Option<[u8; 4]> {
        let mut word = [0; 4];
        let heard = tokio::time::timeout(patience, stream.read_exact(&mut word)).await;
        matches!(heard, Ok(Ok(_))).then_some(word)
    }

    #[tokio::test]
    async fn what_goes_into_a_black_hole_arrives_when_it_is_gone() {
        let proxy = Proxy::start(echo().await).await;
        let mut client = TcpStream::connect(proxy.addr()).await.expect("connected");
        say(&mut client, b"ping").await;
        assert_eq!(hear(&mut client, PATIENCE).await.as_ref(), Some(b"ping"));
        proxy.black_hole();
        say(&mut client, b"lost").await;
        assert_eq!(hear(&mut client, SILENCE).await, None);
        proxy.restore();
        assert_eq!(hear(&mut client, PATIENCE).await.as_ref(), Some(b"lost"));
    }

    #[tokio::test]
    async fn a_cut_ends_what_is_open_and_refuses_what_is_new_until_it_is_mended() {
        let proxy = Proxy::start(echo().await).await;
        let mut client = TcpStream::connect(proxy.addr()).await.expect("connected");
        say(&mut client, b"ping").await;
        assert_eq!(hear(&mut client, PATIENCE).await.as_ref(), Some(b"ping"));
        proxy.cut();
        let end = tokio::time::timeout(PATIENCE, client.read(&mut [0])).await.expect("the end is seen");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        assert!(TcpStream::connect(proxy.addr()).await.is_err());
        proxy.restore();
        let deadline = Instant::now() + PATIENCE;
        let mut again = loop {
            match TcpStream::connect(proxy.addr()).await {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::task::yield_now().await;
        };
        say(&mut again, b"back").await;
        assert_eq!(hear(&mut again, PATIENCE).await.as_ref(), Some(b"back"));
    }

    #[tokio::test]
    async fn whoever_says_the_word_hears_no_answer_and_only_once() {
        let proxy = Proxy::start(echo().await).await;
        let mut client = TcpStream::connect(proxy.addr()).await.expect("connected");
        proxy.lose_the_answer_to(b"word");
        say(&mut client, b"ping").await;
        assert_eq!(hear(&mut client, PATIENCE).await.as_ref(), Some(b"ping"));
        say(&mut client, b"word").await;
        assert_eq!(hear(&mut client, PATIENCE).await, None);
        assert!(proxy.has_lost_it());
        let mut again = TcpStream::connect(proxy.addr()).await.expect("connected");
        say(&mut again, b"word").await;
        assert_eq!(hear(&mut again, PATIENCE).await.as_ref(), Some(b"word"));
    }

    #[tokio::test]
    async fn a_delay_is_paid_once_however_much_is_under_way() {
        let proxy = Proxy::start(echo().await).await;
        let mut client = TcpStream::connect(proxy.addr()).await.expect("connected");
        let delay = Duration::from_millis(100);
        proxy.delay(delay);
        let began = Instant::now();
        for _ in 0..50 {
            say(&mut client, b"slow").await;
            tokio::task::yield_now().await;
        }
        for _ in 0..50 {
            assert_eq!(hear(&mut client, PATIENCE).await.as_ref(), Some(b"slow"));
        }
        let taken = began.elapsed();
        assert!(taken >= delay * 2, "there and back: {taken:?}");
        assert!(taken < delay * 20, "not once for every word: {taken:?}");
    }

    #[tokio::test]
    async fn a_client_sees_that_its_server_has_hung_up() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let proxy = Proxy::start(listener.local_addr().expect("bound")).await;
        let mut client = TcpStream::connect(proxy.addr()).await.expect("connected");
        drop(listener.accept().await.expect("connected"));
        let end = tokio::time::timeout(PATIENCE, client.read(&mut [0])).await.expect("the end is seen");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

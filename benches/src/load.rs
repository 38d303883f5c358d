//! A load generator that costs little: HTTP/1.1 kept alive over plain sockets, one request in flight per connection.
//! Each POST carries a number of its own, so that afterwards each that was accepted can be asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::statistics::number;

/// Digits of the number of a POST: the last ones of an object's id.
const DIGITS: usize = 12;
const RECONNECT_AFTER: Duration = Duration::from_millis(5);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// One POST as bytes on the wire, with the places of its number.
#[derive(Clone)]
pub(crate) struct Post {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

impl Post {
    /// `object` stands in the body; its last twelve digits become the number.
    pub fn to(path: &str, body: &str, object: &str) -> Self {
        let length = body.len();
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let places = text.match_indices(object).map(|(place, _)| place + object.len() - DIGITS).collect();
        Self { bytes: text.into_bytes(), places }
    }

    fn draw_number(&mut self) -> u64 {
        let drawn = NEXT.fetch_add(1, Ordering::Relaxed);
        let digits = format!("{drawn:012x}");
        for place in &self.places {
            self.bytes[*place..*place + DIGITS].copy_from_slice(digits.as_bytes());
        }
        drawn
    }
}

/// When the next POST of a connection goes out.
#[derive(Clone)]
pub(crate) enum Pace {
    /// At once after the answer.
    Closed,
    /// So many a second over all connections, whatever the answers do; a late answer counts against the POST it delays.
    Open(f64),
    /// At once, and lets one of the others go for each answer.
    Leads(Arc<Semaphore>),
    /// One for each answer of those that lead.
    Follows(Arc<Semaphore>),
}

/// What one load run saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The numbers of what was answered 2xx.
    pub accepted: Vec<u64>,
    /// Answers of 503: refused, to be sent again.
    pub refused: u64,
    /// Other answers, by status.
    pub other: BTreeMap<u16, u64>,
    /// Connections that ended without an answer, by what the system said.
    pub broken: BTreeMap<String, u64>,
    /// Answer times in milliseconds.
    pub milliseconds: Vec<f64>,
    /// How long the run took.
    pub elapsed: Duration,
}

impl Seen {
    /// Accepted POSTs a second.
    pub fn rate(&self) -> f64 {
        number(self.accepted.len()) / self.elapsed.as_secs_f64()
    }

    /// All answers.
    pub fn answers(&self) -> usize {
        self.milliseconds.len()
    }

    /// The longest answer time, ms.
    pub fn longest(&self) -> f64 {
        self.milliseconds.iter().copied().fold(0.0, f64::max)
    }

    fn breaks(&mut self, error: &std::io::Error) {
        *self.broken.entry(error.to_string()).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.refused += other.refused;
        for (status, count) in other.other {
            *self.other.entry(status).or_default() += count;
        }
        for (why, count) in other.broken {
            *self.broken.entry(why).or_default() += count;
        }
        self.milliseconds.extend(other.milliseconds);
    }
}

/// Sends over `connections` connections for `length`, each its own of the posts.
pub(crate) async fn run(address: SocketAddr, posts: &[Post], connections: usize, length: Duration, pace: Pace) -> Seen {
    let start = Instant::now();
    let between = match pace {
        Pace::Open(rate) => Duration::from_secs_f64(number(connections) / rate.max(1.0)),
        _ => Duration::ZERO,
    };
    let senders: Vec<_> = posts
        .iter()
        .cycle()
        .take(connections)
        .cloned()
        .enumerate()
        .map(|(place, post)| {
            // Spread over the first interval, so that they do not come in step.
            let first = start + between.mul_f64(number(place) / number(connections));
            let sender = Sender { address, post, next: first, between, end: start + length, seen: Seen::default() };
            tokio::spawn(sender.send(pace.clone()))
        })
        .collect();
    let mut all = Seen::default();
    for sender in senders {
        all.add(sender.await.unwrap_or_default());
    }
    all.elapsed = start.elapsed();
    all
}

struct Sender {
    address: SocketAddr,
    post: Post,
    next: Instant,
    between: Duration,
    end: Instant,
    seen: Seen,
}

impl Sender {
    async fn send(mut self, pace: Pace) -> Seen {
        while Instant::now() < self.end {
            match TcpStream::connect(self.address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    self.send_over(stream, &pace).await;
                }
                Err(error) => {
                    self.seen.breaks(&error);
                    tokio::time::sleep(RECONNECT_AFTER).await;
                }
            }
        }
        self.seen
    }

    /// Until the end, or until the connection breaks.
    async fn send_over(&mut self, mut stream: TcpStream, pace: &Pace) {
        while let Some(due) = self.turn(pace).await {
            let drawn = self.post.draw_number();
            let (status, closes) = match exchange(&mut stream, &self.post.bytes).await {
                Ok(answered) => answered,
                Err(error) => return self.seen.breaks(&error),
            };
            self.seen.milliseconds.push(due.elapsed().as_secs_f64() * 1000.0);
            match status {
                200..=299 => self.seen.accepted.push(drawn),
                503 => self.seen.refused += 1,
                _ => *self.seen.other.entry(status).or_default() += 1,
            }
            if let Pace::Leads(turns) = pace {
                turns.add_permits(1);
            }
            if closes {
                return;
            }
        }
    }

    /// Since when the next POST is due; none at the end.
    async fn turn(&mut self, pace: &Pace) -> Option<Instant> {
        let now = Instant::now();
        let due = match pace {
            Pace::Closed | Pace::Leads(_) => now,
            Pace::Open(_) if now < self.next => {
                tokio::time::sleep_until(self.next.into()).await;
                // The timer's own delay is not the receiver's.
                Instant::now()
            }
            Pace::Open(_) => self.next,
            Pace::Follows(turns) => {
                let turn = tokio::time::timeout_at(self.end.into(), turns.acquire()).await;
                turn.ok()?.ok()?.forget();
                Instant::now()
            }
        };
        self.next += self.between;
        (Instant::now() < self.end).then_some(due)
    }
}

/// The status of a GET; none when there was no answer.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    Some(exchange(&mut stream, request.as_bytes()).await.ok()?.0)
}

/// The status of one POST over a connection of its own; none when there was no answer.
pub(crate) async fn post(address: SocketAddr, post: &mut Post) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    post.draw_number();
    Some(exchange(&mut stream, &post.bytes).await.ok()?.0)
}

/// The status, and whether the connection ends with it. Answers are short.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<(u16, bool)> {
    stream.write_all(request).await?;
    let mut answer = [0_u8; 8192];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut answer[filled..]).await?;
        filled += read;
        if let Some(head) = answer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
            let body: usize = header(&text, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            if filled >= head + 4 + body || read == 0 {
                let status = text.get(9..12).and_then(|code| code.parse().ok());
                let closes = header(&text, "connection") == Some("close");
                return status.map(|status| (status, closes)).ok_or(std::io::ErrorKind::InvalidData.into());
            }
        }
        if read == 0 || filled == answer.len() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_post_has_a_number_of_its_own_wherever_its_object_stands() {
        let object = "11111111-2222-4333-8444-000000000000";
        let mut post = Post::to("/x", &format!("{{\"a\": \"Users/{object}\", \"b\": \"{object}\"}}"), object);
        let (first, second) = (post.draw_number(), post.draw_number());
        assert_ne!(first, second);
        let text = String::from_utf8(post.bytes).unwrap();
        assert_eq!(text.matches(&format!("11111111-2222-4333-8444-{second:012x}")).count(), 2, "{text}");
    }
}

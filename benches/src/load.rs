//! A load generator that costs little: HTTP/1.1 kept alive over plain sockets, one request in flight per connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What one load run saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Answers of 2xx.
    pub accepted: u64,
    /// Answers of 503: refused, to be sent again.
    pub refused: u64,
    /// Anything else, broken connections included.
    pub other: u64,
    /// Answer times in milliseconds.
    pub milliseconds: Vec<f64>,
    /// How long the run took.
    pub elapsed: Duration,
}

impl Seen {
    /// Accepted POSTs a second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss)]
        let accepted = self.accepted as f64;
        accepted / self.elapsed.as_secs_f64()
    }
}

/// One POST as bytes on the wire.
pub fn request(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends `request` over `connections` connections for `length`, each waiting for its answer before the next.
///
/// # Errors
/// When a connection cannot be made.
pub async fn run(address: SocketAddr, connections: usize, length: Duration, request: Vec<u8>) -> std::io::Result<Seen> {
    let request = Arc::new(request);
    let start = Instant::now();
    let mut senders = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        senders.push(tokio::spawn(send_until(stream, Arc::clone(&request), start + length)));
    }
    let mut all = Seen::default();
    for sender in senders {
        let seen = sender.await.unwrap_or_default();
        all.accepted += seen.accepted;
        all.refused += seen.refused;
        all.other += seen.other;
        all.milliseconds.extend(seen.milliseconds);
    }
    all.elapsed = start.elapsed();
    Ok(all)
}

async fn send_until(mut stream: TcpStream, request: Arc<Vec<u8>>, end: Instant) -> Seen {
    let mut seen = Seen::default();
    while Instant::now() < end {
        let sent = Instant::now();
        match exchange(&mut stream, &request).await {
            Ok(200..=299) => seen.accepted += 1,
            Ok(503) => seen.refused += 1,
            Ok(_) => seen.other += 1,
            Err(_) => {
                seen.other += 1;
                return seen;
            }
        }
        seen.milliseconds.push(sent.elapsed().as_secs_f64() * 1000.0);
    }
    seen
}

/// Answers here have no body: the end of the headers is the end of the answer.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<u16> {
    stream.write_all(request).await?;
    let mut answer = [0_u8; 2048];
    let mut filled = 0;
    while !answer[..filled].windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut answer[filled..]).await?;
        if read == 0 || filled + read == answer.len() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
    }
    std::str::from_utf8(&answer[9..12])
        .ok()
        .and_then(|code| code.parse().ok())
        .ok_or(std::io::ErrorKind::InvalidData.into())
}

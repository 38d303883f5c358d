//! A server that answers exactly the bytes a test wants, one request per connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What came in.
#[derive(Clone)]
pub struct Seen {
    /// `GET /path?query HTTP/1.1`
    pub line: String,
    /// Everything before the body, lower case.
    pub head: String,
    pub body: String,
}

impl Seen {
    /// This server's own address, for links back to it.
    pub fn base(&self) -> String {
        let host = self.head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        format!("http://{host}")
    }
}

pub struct Server {
    pub base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers every request with what `answer` makes of it; token requests get a token by themselves, `token-1` first.
    pub async fn start(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let given = AtomicUsize::new(0);
        Self::start_all(move |request| {
            if !is_token(request) {
                return answer(request);
            }
            let number = given.fetch_add(1, Ordering::Relaxed) + 1;
            json(&format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"token-{number}"}}"#))
        })
        .await
    }

    /// Answers every request with what `answer` makes of it, token requests too.
    pub async fn start_all(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, log.clone(), answer.clone()));
            }
        });
        Self { base, seen }
    }

    pub fn graph_requests(&self) -> Vec<Seen> {
        self.all(false)
    }

    pub fn token_requests(&self) -> usize {
        self.all(true).len()
    }

    /// What the token endpoint was sent.
    pub fn token_forms(&self) -> Vec<String> {
        self.all(true).into_iter().map(|seen| seen.body).collect()
    }

    fn all(&self, token: bool) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| is_token(seen) == token).cloned().collect()
    }
}

pub fn is_token(seen: &Seen) -> bool {
    seen.line.contains("/oauth2/v2.0/token")
}

async fn serve(
    mut stream: TcpStream,
    log: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static>,
) {
    let Some(request) = read(&mut stream).await else {
        return;
    };
    log.lock().unwrap().push(request.clone());
    let bytes = answer(&request);
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let lower = head.to_ascii_lowercase();
        let wanted = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= wanted.and_then(|length| length.trim().parse().ok()).unwrap_or(0) {
            let line = head.lines().next().unwrap_or_default().to_owned();
            return Some(Seen { line, head: lower, body: body.to_owned() });
        }
    }
}

/// 200 with this JSON.
pub fn json(body: &str) -> Vec<u8> {
    status(200, "", body)
}

/// A status with further header lines (each ending in CR LF) and a body.
pub fn status(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

/// An error in Graph's form.
pub fn error(code: u16, graph_code: &str, message: &str) -> Vec<u8> {
    status(code, "", &format!(r#"{{"error":{{"code":"{graph_code}","message":"{message}"}}}}"#))
}

//! One connection: HTTP/1 or HTTP/2 with every bound set by hand (TH-05; `axum::serve` sets none).

use std::convert::Infallible;
use std::error::Error as _;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::TRANSFER_ENCODING;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::config::Limits;
use crate::ingest::{Caller, Ingest};
use crate::pulse::{MAX_HEAD, Overdue, Pulse};
use crate::receiver::stopped;
use crate::rejection;
use crate::tapped_stream::TappedStream;

/// More headers are refused.
pub(crate) const MAX_HEADERS: usize = 64;

/// hyper's read buffer for HTTP/1; bodies come in pieces of at most this.
const READ_BUFFER: usize = 64 * 1024;

const MAX_STREAMS: u32 = 64;
const MAX_PENDING_RESETS: usize = 20;
const MAX_OWN_RESETS: usize = 64;
const SEND_BUFFER: usize = 16 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(10);

/// Answers requests until the peer goes, is too slow, or `stopping` turns true.
pub(crate) async fn serve(stream: TcpStream, peer: IpAddr, ingest: Arc<Ingest>, mut stopping: watch::Receiver<bool>) {
    let pulse = Pulse::begin();
    let opened = tokio::select! {
        opened = timeout(ingest.limits().header_timeout, TappedStream::open(stream, pulse.clone())) => opened,
        () = stopped(&mut stopping) => return,
    };
    let (stream, http2) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) => return,
        Err(_) => return rejection::count("slow_headers"),
    };
    let io = TokioIo::new(stream);
    let service = {
        let (ingest, pulse) = (Arc::clone(&ingest), pulse.clone());
        service_fn(move |request| respond(request, peer, Arc::clone(&ingest), pulse.clone()))
    };
    let watch = Watch { pulse, limits: ingest.limits(), stopping };
    let ended = if http2 {
        watch.pulse.set_multiplexed();
        let connection = http2_builder().serve_connection(io, service);
        watch.drive(connection, http2::Connection::graceful_shutdown).await
    } else {
        let connection = http1_builder(ingest.limits()).serve_connection(io, service);
        watch.drive(connection, http1::Connection::graceful_shutdown).await
    };
    match ended {
        Ended::Closed(Err(error)) if broke_the_rules(&error) => rejection::count("broken_http"),
        Ended::Overdue(Overdue::Headers) => rejection::count("slow_headers"),
        Ended::Overdue(Overdue::Idle) | Ended::Closed(_) => {}
    }
}

async fn respond(
    request: Request<Incoming>,
    peer: IpAddr,
    ingest: Arc<Ingest>,
    pulse: Pulse,
) -> Result<Answer, Infallible> {
    // Dropped with this future, too, when the peer goes away.
    let _open = pulse.request();
    let ambiguous = request.headers().contains_key(TRANSFER_ENCODING) && pulse.head_has_content_length();
    Ok(ingest.answer(request, Caller { peer, ambiguous_length: ambiguous }).await)
}

/// What hyper refuses it answers itself (400, 431) and without a body. A peer that vanished is not worth counting.
fn broke_the_rules(error: &hyper::Error) -> bool {
    let vanished = error.source().is_some_and(|cause| cause.is::<std::io::Error>());
    !(vanished || error.is_incomplete_message() || error.is_canceled())
}

struct Watch<'a> {
    pulse: Pulse,
    limits: &'a Limits,
    stopping: watch::Receiver<bool>,
}

enum Ended {
    Closed(hyper::Result<()>),
    Overdue(Overdue),
}

impl Watch<'_> {
    async fn drive<C>(mut self, connection: C, finish: fn(Pin<&mut C>)) -> Ended
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = pin!(connection);
        let mut finishing = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return Ended::Closed(ended),
                overdue = self.pulse.overdue(self.limits) => return Ended::Overdue(overdue),
                () = stopped(&mut self.stopping), if !finishing => {
                    finishing = true;
                    finish(connection.as_mut());
                }
            }
        }
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // hyper's timer also runs between requests; the shorter bound on a head that has begun is the pulse's.
        .header_read_timeout(limits.idle_timeout.max(limits.header_timeout))
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(READ_BUFFER);
    builder
}

fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_OWN_RESETS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_PATIENCE);
    builder
}

//! Reads a body within its bounds.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::rejection::Rejection;

/// Our bound, not Graph's. A larger body is refused and counted; delta rounds close the gap.
const MAX_BODY: usize = 1024 * 1024;

/// The whole body, declared or chunked.
pub(crate) async fn read(body: Incoming, limit: Duration) -> Result<Bytes, Rejection> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(Rejection::BodyTooLarge);
    }
    match timeout(limit, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Rejection::BodyTooLarge),
        Ok(Err(_)) => Err(Rejection::BrokenBody),
        Err(_) => Err(Rejection::SlowBody),
    }
}

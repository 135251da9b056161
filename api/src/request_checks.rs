//! What a request must be like before any handler sees it: bodies of the JSON API are bounded, whether they say how long they
//! are or not, and headers that mean something are clear.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use poem::error::ReadBodyError;
use poem::http::{Method, header};
use poem::{Body, Endpoint, Request, Result};
use tokio::time::Instant;

use crate::error::ApiError;

/// Largest body of the JSON API, in bytes. Far more than any valid one, so that a client that sends too much is told by the
/// field's own rule first.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// How much more of a body that is too large is read, and for how long, so that its client gets to hear so.
const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;
const DISCARDING: Duration = Duration::from_secs(10);

/// Headers that change what a request means: there is one of each at most, in plain characters. The framework takes others for
/// none.
const MEANINGFUL_HEADERS: [&str; 2] = ["idempotency-key", "x-min-position"];

/// Refuses headers that would be ignored in silence.
pub(crate) async fn clear_headers<E: Endpoint>(next: E, request: Request) -> Result<E::Output> {
    for name in MEANINGFUL_HEADERS {
        let mut values = request.headers().get_all(name).iter();
        let is_clear = values.next().is_none_or(|value| value.to_str().is_ok()) && values.next().is_none();
        if !is_clear {
            return Err(ApiError::invalid(name, "must be one value of plain ASCII characters").into());
        }
    }
    next.call(request).await
}

/// Reads the body, as far as it may go, before the handler runs.
pub(crate) async fn body_limit<E: Endpoint>(next: E, mut request: Request) -> Result<E::Output> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.call(request).await;
    }
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut is_too_large = announced.is_some_and(|length: usize| length > MAX_BODY_BYTES);
    let mut kept = BytesMut::with_capacity(announced.filter(|_| !is_too_large).unwrap_or(0));
    let mut chunks = Box::pin(request.take_body().into_bytes_stream());
    let mut discarded = 0;
    let began = Instant::now();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(ReadBodyError::Io)?;
        is_too_large |= kept.len() + chunk.len() > MAX_BODY_BYTES;
        if !is_too_large {
            kept.extend_from_slice(&chunk);
            continue;
        }
        // A client that is still writing when it is hung up on never sees the answer.
        discarded += chunk.len();
        if discarded > MAX_DISCARDED_BYTES || began.elapsed() > DISCARDING {
            break;
        }
    }
    if is_too_large {
        return Err(ReadBodyError::PayloadTooLarge.into());
    }
    request.set_body(Body::from_bytes(kept.freeze()));
    next.call(request).await
}

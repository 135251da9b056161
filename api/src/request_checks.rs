//! What a request must be like before any handler sees it: bodies of the JSON API are bounded, whether they say how long they
//! are or not, and headers that mean something are clear.

use crate::error::ApiError;
use poem::error::ReadBodyError;
use poem::http::{Method, header};
use poem::{Body, Endpoint, Request, Result};

/// Largest body of the JSON API, in bytes. Far more than any valid one, so that a client that sends too much is told by the
/// field's own rule first.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

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
    if announced.is_some_and(|length: usize| length > MAX_BODY_BYTES) {
        return Err(ReadBodyError::PayloadTooLarge.into());
    }
    let body = request.take_body().into_bytes_limit(MAX_BODY_BYTES).await?;
    request.set_body(Body::from_bytes(body));
    next.call(request).await
}

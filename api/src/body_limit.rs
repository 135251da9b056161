//! Bodies of the JSON API are bounded, whether they say how long they are or not.

use poem::error::ReadBodyError;
use poem::http::{Method, header};
use poem::{Body, Endpoint, Request, Result};

/// Largest body of the JSON API, in bytes. Far more than any valid one, so that a client that sends too much is told by the
/// field's own rule first.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

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

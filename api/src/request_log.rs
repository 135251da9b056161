//! One line in the log and one figure in the metrics for each request. Never its query, its headers or its body: they may hold
//! tokens and personal data.

use std::time::Instant;

use poem::{Endpoint, Request, Response, Result};

/// Logs the request once it is answered.
pub(crate) async fn request_log<E: Endpoint<Output = Response>>(next: E, request: Request) -> Result<Response> {
    let method = request.method().clone();
    let path = request.original_uri().path().to_owned();
    let began = Instant::now();
    let response = next.call(request).await?;
    let took = began.elapsed();
    let status = response.status();
    metrics::histogram!("switchboard_http_request_seconds", "method" => method.to_string(), "status" => status.as_u16().to_string())
        .record(took.as_secs_f64());
    tracing::debug!(%method, path, status = status.as_u16(), took_us = took.as_micros(), "request");
    Ok(response)
}

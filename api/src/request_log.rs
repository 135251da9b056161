//! One line in the log and one figure in the metrics for each request. Never its query, its headers or its body: they may hold
//! tokens and personal data.

use std::time::Instant;

use poem::http::Method;
use poem::{Endpoint, Request, Response, Result};

/// Logs the request once it is answered.
pub(crate) async fn request_log<E: Endpoint<Output = Response>>(next: E, request: Request) -> Result<Response> {
    let method = request.method().clone();
    let path = request.original_uri().path().to_owned();
    let began = Instant::now();
    let response = next.call(request).await?;
    let took = began.elapsed();
    let status = response.status();
    metrics::histogram!("switchboard_http_request_seconds", "method" => label(&method), "status" => status.as_u16().to_string())
        .record(took.as_secs_f64());
    tracing::debug!(%method, path, status = status.as_u16(), took_us = took.as_micros(), "request");
    Ok(response)
}

/// The method, if it is one that means anything: clients may send any word, and a figure is kept for each.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

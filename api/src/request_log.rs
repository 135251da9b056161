//! One line in the log and one figure in the metrics for each request. Never its query, its headers or its body: they may hold
//! tokens and personal data.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use metrics::Histogram;
use poem::http::{Method, StatusCode};
use poem::{Request, Response};

/// Data of a request until it is answered.
pub(crate) struct Asked {
    method: Method,
    pub(crate) path: String,
    began: Instant,
}

impl Asked {
    /// A request that begins now.
    pub(crate) fn of(request: &Request) -> Self {
        Self { method: request.method().clone(), path: request.uri().path().to_owned(), began: Instant::now() }
    }
}

/// Log of requests.
#[derive(Default)]
pub(crate) struct RequestLog {
    /// To find a figure by its labels takes longer than to add to it.
    figures: RwLock<HashMap<(&'static str, StatusCode), Histogram>>,
}

impl RequestLog {
    /// Notes a request that is answered.
    pub(crate) fn note(&self, Asked { method, path, began }: &Asked, response: &Response) {
        let (took, status) = (began.elapsed(), response.status());
        self.figure(label(method), status).record(took.as_secs_f64());
        tracing::debug!(%method, path, status = status.as_u16(), took_us = took.as_micros(), "request");
    }

    fn figure(&self, method: &'static str, status: StatusCode) -> Histogram {
        let known = self.figures.read().unwrap_or_else(PoisonError::into_inner).get(&(method, status)).cloned();
        known.unwrap_or_else(|| {
            let status_label = status.as_u16().to_string();
            let figure =
                metrics::histogram!("switchboard_http_request_seconds", "method" => method, "status" => status_label);
            self.figures.write().unwrap_or_else(PoisonError::into_inner).insert((method, status), figure.clone());
            figure
        })
    }
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

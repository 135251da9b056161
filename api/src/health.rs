//! For operators and their machines: is it alive, is it ready, how is it doing?

use std::sync::Arc;
use std::time::Duration;

use poem::http::StatusCode;
use poem::web::{Data, Json};
use poem::{IntoResponse, Response, handler};
use serde_json::json;

use crate::Api;

/// How long the log may take to answer before the node counts as not ready.
const PATIENCE: Duration = Duration::from_secs(2);
/// Events that a projection may be behind before the node counts as degraded.
const TOLERATED_LAG: u64 = 100_000;

/// The process runs.
#[handler]
pub(crate) fn healthz() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// The log answers and the projections follow it.
#[handler]
pub(crate) async fn readyz(api: Data<&Arc<Api>>) -> Response {
    let Ok(Ok(head)) = tokio::time::timeout(PATIENCE, api.store.head()).await else {
        return Json(json!({"status": "unavailable", "reason": "the event log doesn't answer"}))
            .with_status(StatusCode::SERVICE_UNAVAILABLE)
            .into_response();
    };
    let projections: serde_json::Map<_, _> = [("people", &api.people.1), ("messaging", &api.messaging.1)]
        .into_iter()
        .map(|(name, checkpoint)| {
            let position = checkpoint.position();
            (name.to_owned(), json!({"position": position, "lag": head.saturating_sub(position)}))
        })
        .collect();
    let lags = projections.values().any(|projection| projection["lag"].as_u64() > Some(TOLERATED_LAG));
    let (status, code) = if lags { ("degraded", StatusCode::SERVICE_UNAVAILABLE) } else { ("ready", StatusCode::OK) };
    Json(json!({"status": status, "head": head, "projections": projections})).with_status(code).into_response()
}

/// Figures in Prometheus' text format.
#[handler]
#[expect(clippy::needless_pass_by_value, reason = "extractors are passed by value")]
pub(crate) fn metrics(api: Data<&Arc<Api>>) -> Response {
    api.metrics.render().with_content_type("text/plain; version=0.0.4").into_response()
}

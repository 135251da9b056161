//! For operators and their machines: is it alive, is it ready, how is it doing?

use std::sync::Arc;
use std::time::Duration;

use poem::http::StatusCode;
use poem::web::{Data, Json};
use poem::{IntoResponse, Response, handler};
use serde_json::json;

use crate::Api;

/// Time that the log may take to answer before the node is not ready.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time for which a projection with a lag may stall before the node is degraded.
const STALL_PATIENCE: Duration = Duration::from_secs(5);

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
    let mut followers = serde_json::Map::new();
    let mut is_degraded = false;
    for (name, checkpoint) in api.read_models.checkpoints() {
        let is_stalled = checkpoint.is_stalled(head, STALL_PATIENCE);
        let position = checkpoint.position();
        let lag = head.saturating_sub(position);
        is_degraded |= is_stalled;
        followers.insert(name.to_owned(), json!({"position": position, "lag": lag, "stalled": is_stalled}));
    }
    let (status, code) =
        if is_degraded { ("degraded", StatusCode::SERVICE_UNAVAILABLE) } else { ("ready", StatusCode::OK) };
    Json(json!({"status": status, "head": head, "projections": followers})).with_status(code).into_response()
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and exact up to 2^53")]
fn gauge(figure: &'static str, projection: &'static str, value: u64) {
    metrics::gauge!(figure, "projection" => projection).set(value as f64);
}

/// Figures in Prometheus' text format.
#[handler]
pub(crate) async fn figures(api: Data<&Arc<Api>>) -> Response {
    if let Ok(Ok(head)) = tokio::time::timeout(PATIENCE, api.store.head()).await {
        for (name, checkpoint) in api.read_models.checkpoints() {
            let position = checkpoint.position();
            gauge("switchboard_projection_position", name, position);
            gauge("switchboard_projection_lag_positions", name, head.saturating_sub(position));
        }
    }
    api.metrics.render().with_content_type("text/plain; version=0.0.4").into_response()
}

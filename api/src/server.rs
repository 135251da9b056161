//! All routes and the layers around them.

use std::sync::Arc;

use poem::middleware::CatchPanic;
use poem::{Endpoint, EndpointExt, Response, get};

use crate::allow::Allow;
use crate::audit::{LiveAuditStream, LiveAuditWebSocket};
use crate::client_address::count_anonymous;
use crate::error::{ErrorBody, ErrorCode, respond, standard_error};
use crate::limits::limit_headers;
use crate::origin::CheckOrigin;
use crate::paths::Paths;
use crate::realtime::Realtime;
use crate::request_checks::{BodyLimit, clear_headers};
use crate::request_log::request_log;
use crate::security_headers::security_headers;
use crate::{Api, health, openapi};

/// Everything that Switchboard serves.
pub fn server(api: &Arc<Api>, realtime: &Realtime) -> impl Endpoint<Output = Response> + 'static {
    let body_limit = Arc::new(BodyLimit::new());
    let body_limit = move |next, request| {
        let body_limit = body_limit.clone();
        async move { body_limit.check(next, request).await }
    };
    let rest = openapi::routes().around(body_limit).around(clear_headers).around(count_anonymous);
    Paths::to(rest)
        .at("/healthz", get(health::healthz))
        .at("/readyz", get(health::readyz))
        .at("/metrics", get(health::figures))
        .under("/socket.io", realtime.socket_io())
        .at("/api/messenger/events", get(realtime.event_stream()))
        .at("/api/messenger/events/ws", get(realtime.websocket()))
        .at("/api/audit/events/stream", get(LiveAuditStream(realtime.shared())))
        .at("/api/audit/events/ws", get(LiveAuditWebSocket(realtime.shared())))
        .data(api.clone())
        .data(realtime.shared())
        .with(CatchPanic::new().with_handler(|_| respond(ErrorBody::new(ErrorCode::InternalError, "Internal error"))))
        .catch_all_error(standard_error)
        .with(CheckOrigin(api.allowed_origins.clone()))
        .map_to_response()
        .with(Allow::of_document(&openapi::document()))
        .around(security_headers)
        .around(limit_headers)
        .around(request_log)
        .catch_all_error(standard_error)
        .map_to_response()
}

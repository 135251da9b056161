//! All routes and the layers around them.

use std::sync::Arc;

use poem::middleware::{CatchPanic, SetHeader};
use poem::{Endpoint, EndpointExt, Response, Route, get};

use crate::error::{ErrorBody, ErrorCode, respond, standard_error};
use crate::origin::CheckOrigin;
use crate::realtime::Realtime;
use crate::request_checks::{body_limit, clear_headers};
use crate::request_log::request_log;
use crate::{Api, health, openapi};

/// Everything that Switchboard serves.
pub fn server(api: &Arc<Api>, realtime: &Realtime) -> impl Endpoint<Output = Response> + 'static {
    let rest = openapi::routes().around(body_limit).around(clear_headers);
    Route::new()
        .at("/healthz", get(health::healthz))
        .at("/readyz", get(health::readyz))
        .at("/metrics", get(health::figures))
        .nest_no_strip("/socket.io", realtime.socket_io())
        .at("/api/messenger/events", get(realtime.event_stream()))
        .at("/api/messenger/events/ws", get(realtime.websocket()))
        .nest_no_strip("/", rest)
        .data(api.clone())
        .data(realtime.shared())
        .with(CatchPanic::new().with_handler(|_| respond(ErrorBody::new(ErrorCode::InternalError, "Internal error"))))
        .catch_all_error(standard_error)
        .with(CheckOrigin(api.allowed_origins.clone()))
        .with(SetHeader::new().appending("x-content-type-options", "nosniff"))
        .map_to_response()
        .around(request_log)
        .catch_all_error(standard_error)
        .map_to_response()
}

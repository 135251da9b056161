//! All paths, and what every request goes through on its way in and on its way out.
//!
//! Each thing that is done to all of them is a function in a file of its own; here they are in their order. They are no layers of the
//! framework's: each of those keeps a copy of the request, and twenty of them took a tenth of what a message costs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use poem::{Endpoint, Request, Response, Result, get};

use crate::allow::Allow;
use crate::audit::{LiveAuditStream, LiveAuditWebSocket};
use crate::error::{ErrorBody, ErrorCode, respond, standard_error};
use crate::identity::{Identity, identify};
use crate::large_answers::LargeAnswers;
use crate::limits::counted;
use crate::origin::Origins;
use crate::paths::Paths;
use crate::realtime::{Realtime, Shared};
use crate::request_checks::{BodyLimit, Sender, must_be_clear};
use crate::request_log::{Asked, RequestLog};
use crate::security_headers::security_headers;
use crate::{Api, health, openapi};

/// Everything that Switchboard serves.
pub fn server(api: &Arc<Api>, realtime: &Realtime) -> impl Endpoint<Output = Response> + 'static {
    let (body_limit, large_answers) = (BodyLimit::new(), LargeAnswers::new());
    let rest = Rest { api: api.clone(), body_limit, large_answers, paths: openapi::paths() };
    let paths = Paths::to(rest)
        .at("/healthz", get(health::healthz))
        .at("/readyz", Counted { api: api.clone(), endpoint: get(health::readyz) })
        .at("/metrics", Counted { api: api.clone(), endpoint: get(health::figures) })
        .under("/socket.io", realtime.socket_io())
        .at("/api/messenger/events", get(realtime.event_stream()))
        .at("/api/messenger/events/ws", get(realtime.websocket()))
        .at("/api/audit/events/stream", get(LiveAuditStream(realtime.shared())))
        .at("/api/audit/events/ws", get(LiveAuditWebSocket(realtime.shared())));
    let answers = Answers { api: api.clone(), realtime: realtime.shared(), paths };
    Server {
        origins: Origins::of(answers, api.own_pages.clone()),
        allow: Allow::of_document(&openapi::document()),
        log: RequestLog::default(),
    }
}

/// From a request to its answer, whatever becomes of it.
struct Server<E> {
    origins: Origins<E>,
    allow: Allow,
    log: RequestLog,
}

impl<E: Endpoint<Output = Response>> Endpoint for Server<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let asked = Asked::of(&request);
        let (answer, limit_headers) = counted(self.origins.call(request)).await;
        let mut response = answer.unwrap_or_else(standard_error);
        limit_headers.set(&mut response);
        security_headers(&mut response);
        self.allow.tell(&asked.path, &mut response);
        self.log.note(&asked, &response);
        Ok(response)
    }
}

/// The answers of all paths: none of them is an error any more, or a panic.
struct Answers<E> {
    api: Arc<Api>,
    realtime: Arc<Shared>,
    paths: Paths<E>,
}

impl<E: Endpoint<Output = Response>> Endpoint for Answers<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        request.set_data(self.api.clone());
        request.set_data(self.realtime.clone());
        let answer = AssertUnwindSafe(self.paths.call(request)).catch_unwind().await;
        Ok(match answer {
            Ok(answer) => answer.unwrap_or_else(standard_error),
            Err(_) => respond(ErrorBody::new(ErrorCode::InternalError, "Internal error")),
        })
    }
}

/// Anonymous requests that cost something to answer.
struct Counted<E> {
    api: Arc<Api>,
    endpoint: E,
}

impl<E: Endpoint> Endpoint for Counted<E> {
    type Output = E::Output;

    async fn call(&self, request: Request) -> Result<E::Output> {
        self.api.limits.count_address(self.api.trusted_proxies.client_of(&request))?;
        self.endpoint.call(request).await
    }
}

/// The REST API with its documents, and what a request must be like to get there.
struct Rest<E> {
    api: Arc<Api>,
    body_limit: BodyLimit,
    large_answers: LargeAnswers,
    paths: E,
}

impl<E: Endpoint<Output = Response>> Endpoint for Rest<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        identify(&self.api, &mut request).await?;
        must_be_clear(request.headers())?;
        let sender = Sender::of(&request, self.api.trusted_proxies.client_of(&request));
        let user = request.data::<Identity>().and_then(|identity| Some(identity.caller().ok()?.user_id));
        let held = self.body_limit.hold(&mut request, &sender).await?;
        let answer = self.paths.call(request).await;
        held.let_go().await;
        match user {
            Some(user) => Ok(self.large_answers.hold(user, answer?).await?),
            None => answer,
        }
    }
}

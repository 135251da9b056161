//! Socket.IO inside poem: the streams of upgrades are handed over, everything else goes to the service as it is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engineioxide::service::EngineIoService;
use headers::SecWebsocketKey;
use http_body_util::{BodyExt, Full};
use hyper::service::Service;
use poem::error::ReadBodyError;
use poem::http::{Method, Request as HttpRequest, StatusCode, Uri};
use poem::{Body, Endpoint, Request, Response, Result};

use super::{ClientAddress, SocketIo, Unknown};
use crate::error::{ApiError, ErrorBody, ErrorCode, respond};
use crate::limits::network_of;
use crate::realtime::MAX_MESSAGE_BYTES;
use crate::realtime::stream::{Cutter, Streams};
use crate::realtime::upgrade::{accept_upgrade, wants_websocket};

/// Maximum time of a polling client's body: far less than its ping time-out.
const READING: Duration = Duration::from_secs(10);

/// Serves `/socket.io`.
#[derive(Clone)]
pub(crate) struct SocketIoEndpoint {
    service: EngineIoService<SocketIo>,
    socket_io: Arc<SocketIo>,
    streams: Streams,
}

impl SocketIoEndpoint {
    pub(in crate::realtime) fn new(socket_io: Arc<SocketIo>) -> Self {
        let (service, streams) = (socket_io.service(), socket_io.shared.streams.clone());
        let closing = service.clone();
        streams.when_lost(move |id| {
            // A server that is stopping has closed them all.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(close_session(closing.clone(), id));
            }
        });
        Self { service, socket_io, streams }
    }

    fn client_of(&self, request: &Request) -> ClientAddress {
        ClientAddress(self.socket_io.shared.api.trusted_proxies.client_of(request))
    }

    /// Counts a handshake, and takes the place of a connection that has not said yet who it is.
    fn count_handshake(&self, client: ClientAddress) -> Result<Unknown, ApiError> {
        let ClientAddress(address) = client;
        self.socket_io.shared.api.limits.count_handshake(address)?;
        let share = match address {
            Some(address) => Some(self.socket_io.unknown.take(&network_of(address)).ok_or_else(|| {
                ApiError::too_many("Too many connections of this address that have not said who they are: try again")
            })?),
            None => None,
        };
        Ok(Unknown(Arc::new(Mutex::new(share))))
    }

    /// Answers 101 and hands the stream over once it is there.
    fn upgrade(&self, request: &Request, key: &SecWebsocketKey, unknown: Option<Unknown>) -> Result<Response> {
        let cutter = self.streams.cutter();
        let connection = parameter(request.uri(), "sid").map(str::to_owned);
        let handshake = handshake(request.uri(), cutter.clone(), self.client_of(request), unknown);
        let (service, streams) = (self.service.clone(), self.streams.clone());
        accept_upgrade(request, key, move |stream| async move {
            let stream = streams.cuttable(stream, cutter, connection);
            if let Err(error) = service.call((stream, handshake)).await {
                tracing::debug!(%error, "handshake refused after the upgrade");
            }
        })
    }

    /// Reads what a client says by polling, which the service would read for as long as it comes.
    async fn read_whole(&self, request: &mut Request) -> Result<(), ApiError> {
        let ClientAddress(address) = self.client_of(request);
        let share = address.map(|address| self.socket_io.read.take(&network_of(address)));
        if matches!(share, Some(None)) {
            return Err(ApiError::too_many("Too many requests of this address are being read: try again"));
        }
        let reading = tokio::time::timeout(READING, request.take_body().into_bytes_limit(MAX_MESSAGE_BYTES)).await;
        let too_slow = |_| ErrorBody::new(ErrorCode::ValidationError, "The body takes too long to come");
        let body = reading.map_err(too_slow)?.map_err(|error| match error {
            ReadBodyError::PayloadTooLarge => ErrorBody::new(ErrorCode::PayloadTooLarge, "The body is too large"),
            error => ErrorBody::new(ErrorCode::ValidationError, error.to_string()),
        })?;
        request.set_body(body);
        Ok(())
    }

    /// Polling, and whatever is wrong enough for the service to say so.
    async fn pass_on(&self, mut request: Request, unknown: Option<Unknown>) -> Response {
        request.set_data(self.client_of(&request));
        if let Some(unknown) = unknown {
            request.set_data(unknown);
        }
        let request: HttpRequest<_> = request.into();
        let Ok(response) = self.service.call(request).await;
        let (parts, body) = response.into_parts();
        let mut answer =
            Response::builder().status(parts.status).body(Body::from(body.map_err(std::io::Error::other).boxed()));
        *answer.headers_mut() = parts.headers;
        answer
    }
}

impl Endpoint for SocketIoEndpoint {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let sid = parameter(request.uri(), "sid");
        match sid {
            // As the library says of connections that it doesn't know: the client begins anew.
            Some(id) if self.streams.has_ended(id) => {
                let unknown = r#"{"code":1,"message":"Session ID unknown"}"#;
                return Ok(Response::builder()
                    .status(StatusCode::BAD_REQUEST)
                    .content_type("application/json")
                    .body(unknown));
            }
            None if self.streams.is_closing() => {
                return Ok(respond(ApiError::stopping().body().clone()));
            }
            _ => {}
        }
        let unknown = sid.is_none().then(|| self.count_handshake(self.client_of(&request))).transpose()?;
        match wants_websocket(request.headers()) {
            Some(key) if is_handshake(request.uri()) => self.upgrade(&request, &key, unknown),
            _ => {
                if request.method() == Method::POST {
                    self.read_whole(&mut request).await?;
                }
                Ok(self.pass_on(request, unknown).await)
            }
        }
    }
}

/// Returns true if the service will accept the connection; after the 101 it could only cut it.
fn is_handshake(uri: &Uri) -> bool {
    let sid_is_one = parameter(uri, "sid").is_none_or(|sid| {
        sid.len() == 16 && sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    });
    parameter(uri, "EIO") == Some("4") && parameter(uri, "transport") == Some("websocket") && sid_is_one
}

/// Closes a connection as its client would by polling. The library does so itself once an upgrade is complete; one that breaks off
/// half-way it would wait for, for ever.
async fn close_session(service: EngineIoService<SocketIo>, id: String) {
    let mut request = HttpRequest::new(Full::new(Bytes::from_static(b"1")));
    *request.method_mut() = Method::POST;
    if let Ok(uri) = format!("/socket.io/?EIO=4&transport=polling&sid={id}").parse() {
        *request.uri_mut() = uri;
        let Ok(answer) = service.call(request).await;
        tracing::trace!(status = %answer.status(), "a connection has lost its stream");
    }
}

fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// What the service keeps of the request for as long as the connection lives: a copy of its own, since the original is a slice
/// that pins the buffer it was read into. With it goes what cuts the stream, and where it comes from.
fn handshake(uri: &Uri, cutter: Cutter, client: ClientAddress, unknown: Option<Unknown>) -> HttpRequest<()> {
    let mut handshake = HttpRequest::new(());
    *handshake.uri_mut() = uri.to_string().parse().unwrap_or_default();
    handshake.extensions_mut().insert(cutter);
    handshake.extensions_mut().insert(client);
    if let Some(unknown) = unknown {
        handshake.extensions_mut().insert(unknown);
    }
    handshake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_handshake_that_the_service_will_take_is_upgraded() {
        let taken = |query: &str| is_handshake(&format!("/socket.io/?{query}").parse().unwrap());
        assert!(taken("EIO=4&transport=websocket"));
        assert!(taken("EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAA"));
        for refused in
            ["", "EIO=3&transport=websocket", "EIO=4&transport=polling", "EIO=4", "EIO=4&transport=websocket&sid=a"]
        {
            assert!(!taken(refused), "{refused}");
        }
    }
}

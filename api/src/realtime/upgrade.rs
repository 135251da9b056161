//! Turning a request into a WebSocket's stream. The framework's own bridge to tower services drops the handle that upgrades need,
//! so upgrades are answered here.

use headers::{Connection, HeaderMapExt, SecWebsocketAccept, SecWebsocketKey, Upgrade};
use poem::http::{HeaderMap, StatusCode, header};
use poem::{Request, Response, Result, Upgraded};

/// The key of a client that wants a WebSocket; none when it doesn't.
pub(crate) fn wants_websocket(headers: &HeaderMap) -> Option<SecWebsocketKey> {
    let names_websocket =
        headers.get(header::UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let is_version_13 = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let wants_upgrade = headers.typed_get::<Connection>().is_some_and(|connection| connection.contains("upgrade"));
    headers.typed_get().filter(|_| names_websocket && is_version_13 && wants_upgrade)
}

/// Answers 101, and has the stream served once it is there: in a task of its own, since the one that waits for it would keep room for
/// what it began with.
pub(crate) fn accept_upgrade<F>(
    request: &Request,
    key: &SecWebsocketKey,
    serve: impl FnOnce(Upgraded) -> F + Send + 'static,
) -> Result<Response>
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgrade = request.take_upgrade()?;
    tokio::spawn(async move {
        match upgrade.await {
            Ok(stream) => drop(tokio::spawn(serve(stream))),
            Err(error) => tracing::debug!(%error, "connection upgrade failed"),
        }
    });
    let mut response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).finish();
    response.headers_mut().typed_insert(Connection::upgrade());
    response.headers_mut().typed_insert(Upgrade::websocket());
    response.headers_mut().typed_insert(SecWebsocketAccept::from(key.clone()));
    Ok(response)
}

//! What guards the routes that are no operations of the API.

use std::collections::BTreeSet;

use reqwest::Method;

use super::cast::Cast;
use crate::support::{anonymous, http_client};

/// What guards a route that no row of the table is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Guard {
    /// Nothing: it says nothing about anybody.
    Nothing,
    /// The token that is sent in the head, for this API.
    Token(Audience),
    /// The token that is sent in the first packet; see `hostile_sockets`.
    TokenInItsFirstPacket,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Audience {
    Admin,
    Messenger,
}

/// Every route that is served, as the sources have them. Every other path leads to the operations of the OpenAPI document, which have
/// rows.
const ROUTES: [(&str, Guard); 12] = [
    ("/healthz", Guard::Nothing),
    ("/readyz", Guard::Nothing),
    ("/metrics", Guard::Nothing),
    ("/socket.io", Guard::TokenInItsFirstPacket),
    ("/api/messenger/events", Guard::Token(Audience::Messenger)),
    ("/api/messenger/events/ws", Guard::Token(Audience::Messenger)),
    ("/api/audit/events/stream", Guard::Token(Audience::Admin)),
    ("/api/audit/events/ws", Guard::Token(Audience::Admin)),
    ("/openapi.json", Guard::Nothing),
    ("/docs", Guard::Nothing),
    ("/asyncapi.json", Guard::Nothing),
    ("/docs/events", Guard::Nothing),
];

#[tokio::test]
async fn nothing_is_served_that_no_row_and_no_guard_is_known_of() {
    let sources = [include_str!("../../../api/src/server.rs"), include_str!("../../../api/src/openapi.rs")];
    let served = sources.iter().flat_map(|source| {
        [".at(", ".under("].into_iter().flat_map(|call| {
            source.split(call).skip(1).map(|after| after.split('"').nth(1).expect("a path that is written out"))
        })
    });
    let served: BTreeSet<&str> = served.collect();
    assert_eq!(served, ROUTES.iter().map(|(path, _)| *path).collect(), "what guards a route stands in the list");

    let cast = Cast::assemble().await;
    let url = &cast.world.server.url;
    for (path, guard) in ROUTES {
        let handshake = async |token: Option<&str>| status_of_handshake(url, path, token).await;
        match guard {
            Guard::Nothing => drop(anonymous(url, Method::GET, path, None).await.expect(200)),
            Guard::Token(audience) => {
                let (own, other) = match audience {
                    Audience::Admin => (&cast.admin, &cast.colleague_admin),
                    Audience::Messenger => (&cast.colleague_admin, &cast.admin),
                };
                for token in [None, Some("nonsense"), Some(other.token.as_str())] {
                    assert_eq!(handshake(token).await, 401, "{path} with {token:?}");
                }
                assert!(matches!(handshake(Some(&own.token)).await, 101 | 200), "{path}");
            }
            Guard::TokenInItsFirstPacket => {}
        }
    }
}

/// The status with which a live stream is answered that is asked for with this token: 101 or 200, if it is opened.
async fn status_of_handshake(url: &str, path: &str, token: Option<&str>) -> u16 {
    let mut request = http_client().get(format!("{url}{path}"));
    if path.ends_with("/ws") {
        request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
        request = request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap().status().as_u16()
}

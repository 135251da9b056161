//! Memory for connections that do nothing, with the real product's state on them: the resident memory of the server before they
//! are opened, while they stand, after each has been told the largest messages there are, and after they have gone. The kernel's
//! memory is not in it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::http;
use crate::people::{Pair, prepare};
use crate::socket::{Socket, config};
use crate::switchboard::Switchboard;
use crate::target::Target;

/// People whom the connections belong to.
const PEOPLE: usize = 100;
/// Connections that are opened at the same time.
const OPENING: usize = 64;
/// Large messages that each connection is told, each of as many characters as one may have, of four bytes.
const LARGE_MESSAGES: usize = 5;
const LARGE_CHARACTERS: usize = 10_000;
/// How long memory may take to settle.
const SETTLING: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug)]
enum Transport {
    WebSocket,
    EventStream,
    SocketIo,
}

pub(crate) async fn measure(connections: usize) {
    println!(
        "{:>12} {:>12} {:>14} {:>14} {:>14} {:>14}",
        "transport", "connections", "KiB each", "after a burst", "MiB before", "MiB after"
    );
    for transport in [Transport::WebSocket, Transport::EventStream, Transport::SocketIo] {
        let server = Switchboard::start().await;
        let server = &server.target;
        let people = prepare(server, PEOPLE).await;
        // Whatever is set up once is no part of a connection.
        drop(open(server, &people, transport, OPENING).await);
        tokio::time::sleep(SETTLING).await;
        let before = server.memory();
        let open = open(server, &people, transport, connections).await;
        tokio::time::sleep(SETTLING).await;
        let during = server.memory();
        burst(server, &people).await;
        tokio::time::sleep(SETTLING).await;
        let after_burst = server.memory();
        drop(open);
        tokio::time::sleep(SETTLING * 2).await;
        row(transport, connections, before, [during, after_burst], server.memory());
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn row(transport: Transport, connections: usize, before: u64, during: [u64; 2], after: u64) {
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    let [each, burst] = during.map(|bytes| bytes.saturating_sub(before) as f64 / 1024.0 / connections as f64);
    let transport = format!("{transport:?}");
    println!("{transport:>12} {connections:>12} {each:>14.1} {burst:>14.1} {:>14.1} {:>14.1}", mib(before), mib(after));
}

/// Has everybody who is connected told large messages.
async fn burst(server: &Target, people: &[Pair]) {
    let mut connection = http::Connection::open(server.address()).await;
    let content = "\u{1F4E3}".repeat(LARGE_CHARACTERS);
    for pair in people.iter().cycle().take(people.len() * LARGE_MESSAGES) {
        let message = json!({"recipientId": pair.recipient_id, "content": content, "type": "text"}).to_string();
        let request = http::request("POST", server.address(), "/api/messenger/messages", &pair.sender_token, &message);
        assert_eq!(connection.call(&request).await.status, 201);
    }
}

/// Opens connections, each held by a task that answers pings.
async fn open(server: &Target, people: &[Pair], transport: Transport, count: usize) -> JoinSet<()> {
    let mut opened = futures_util::stream::iter(0..count)
        .map(async |n| {
            let token = people[n % people.len()].recipient_token.clone();
            connect(server.address().to_owned(), token, transport).await
        })
        .buffer_unordered(OPENING);
    let mut held = JoinSet::new();
    while let Some(connection) = opened.next().await {
        held.spawn(connection.0);
    }
    held
}

/// What holds a connection, for as long as it is polled.
struct Held(BoxFuture<'static, ()>);

async fn connect(address: String, token: String, transport: Transport) -> Held {
    let mut stream = TcpStream::connect(&address).await.expect("the server listens");
    match transport {
        Transport::SocketIo => {
            let mut socket = Socket::over(stream, &address, &token, None).await;
            Held(Box::pin(async move {
                loop {
                    socket.next_packet("4").await;
                }
            }))
        }
        Transport::WebSocket => {
            let url = format!("ws://{address}/api/messenger/events/ws");
            let mut request = url.into_client_request().expect("it is an address");
            let bearer = format!("Bearer {token}").parse().expect("it is plain");
            request.headers_mut().insert("authorization", bearer);
            let upgraded = client_async_with_config(request, stream, Some(config())).await;
            let (mut socket, _) = upgraded.expect("the server takes connections");
            Held(Box::pin(async move {
                while let Some(Ok(message)) = socket.next().await {
                    if let Message::Ping(_) = message {
                        let _ = socket.flush().await;
                    }
                }
            }))
        }
        Transport::EventStream => {
            let request = format!(
                "GET /api/messenger/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.expect("the connection works");
            let mut buffer = [0; 256];
            let read = stream.read(&mut buffer).await.expect("the server answers");
            assert!(buffer[..read].starts_with(b"HTTP/1.1 200"), "the server takes connections");
            Held(Box::pin(async move { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} }))
        }
    }
}

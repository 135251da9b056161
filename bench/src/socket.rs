//! A Socket.IO connection over WebSocket: just enough of the protocol to send messages and receive them.

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use uuid::Uuid;

/// Small buffers: there may be ten thousand of them.
pub(crate) fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(512).write_buffer_size(0)
}

/// Somebody's connection.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    emits: u64,
}

/// A message, as far as it is looked at.
#[derive(Deserialize)]
struct MessageId {
    id: Uuid,
}

/// An answer that a message was sent.
#[derive(Deserialize)]
struct Sent {
    message: MessageId,
}

/// The id in the answer to a message that was sent.
pub(crate) fn sent_id(answer: &[u8]) -> Uuid {
    let sent: Sent = serde_json::from_slice(answer)
        .unwrap_or_else(|_| panic!("a message was sent: {}", String::from_utf8_lossy(answer)));
    sent.message.id
}

impl Socket {
    pub(crate) async fn open(address: &str, token: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("it is a TCP connection");
        Self::over(stream, address, token, None).await
    }

    /// Connects over a stream; as somebody who has been here, up to a position.
    pub(crate) async fn over(stream: TcpStream, address: &str, token: &str, since: Option<u64>) -> Self {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let upgraded = client_async_with_config(url, stream, Some(config())).await;
        let (stream, _) = upgraded.expect("the server takes connections");
        let mut socket = Self { stream, emits: 0 };
        socket.next_packet("0").await;
        let auth = since.map_or_else(|| json!({"token": token}), |since| json!({"token": token, "since": since}));
        socket.write(format!("40{auth}")).await;
        socket.next_packet("40").await;
        socket
    }

    /// Sends a message, and waits until it is on disk. Its id.
    pub(crate) async fn send(&mut self, message: &str) -> Uuid {
        let id = self.emits;
        self.emits += 1;
        self.write(format!("42{id}[\"message:send\",{message}]")).await;
        let prefix = format!("43{id}[");
        let packet = self.next_packet(&prefix).await;
        sent_id(packet[prefix.len()..].trim_end_matches(']').as_bytes())
    }

    /// Waits for the next message. Its id.
    pub(crate) async fn receive(&mut self) -> Uuid {
        let packet = self.next_packet("42[\"message:received\",").await;
        let (_, message): (IgnoredAny, MessageId) = serde_json::from_str(&packet[2..]).expect("events are JSON");
        message.id
    }

    /// The next packet that begins so; pings are answered.
    pub(crate) async fn next_packet(&mut self, prefix: &str) -> Utf8Bytes {
        loop {
            let message = self.stream.next().await.expect("the connection stands").expect("the connection works");
            let Message::Text(text) = message else { continue };
            if text.starts_with(prefix) {
                return text;
            }
            if text.starts_with('2') {
                self.write("3".to_owned()).await;
            }
        }
    }

    async fn write(&mut self, packet: String) {
        self.stream.send(Message::text(packet)).await.expect("the connection works");
    }
}

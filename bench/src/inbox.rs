//! A Socket.IO connection over WebSocket: just enough of the protocol to receive.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Small buffers: there may be ten thousand of them.
pub(crate) fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(512).write_buffer_size(0)
}

/// Somebody's connection.
pub(crate) struct Inbox(WebSocketStream<TcpStream>);

impl Inbox {
    pub(crate) async fn open(url: &str, token: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).await.expect("the server listens");
        Self::over(stream, url, token).await
    }

    pub(crate) async fn over(stream: TcpStream, url: &str, token: &str) -> Self {
        let url = format!("{}/socket.io/?EIO=4&transport=websocket", url.replace("http", "ws"));
        let upgraded = client_async_with_config(url, stream, Some(config())).await;
        let (stream, _) = upgraded.expect("the server takes connections");
        let mut inbox = Self(stream);
        inbox.next_packet('0').await;
        inbox.write(format!("40{}", json!({"token": token}))).await;
        inbox.next_packet('4').await;
        inbox
    }

    pub(crate) async fn next_message(&mut self) -> Value {
        loop {
            let packet = self.next_packet('4').await;
            let mut event: Value = serde_json::from_str(&packet[2..]).expect("events are JSON");
            if event[0] == "message:received" {
                return event[1].take();
            }
        }
    }

    /// The next packet of this Engine.IO type; pings are answered.
    pub(crate) async fn next_packet(&mut self, kind: char) -> String {
        loop {
            let message = self.0.next().await.expect("the connection stands").expect("the connection works");
            let Message::Text(text) = message else { continue };
            match text.chars().next() {
                Some('2') => self.write("3".to_owned()).await,
                Some(found) if found == kind => return text.as_str().to_owned(),
                _ => {}
            }
        }
    }

    async fn write(&mut self, packet: String) {
        self.0.send(Message::text(packet)).await.expect("the connection works");
    }
}

//! The live streams: what clients send over them, and what the log has for them.

mod connections;
mod endpoint;
mod feed;
mod payloads;
mod socket;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use event_store::Position;
use socketioxide::SocketIo;

use self::connections::Connections;
use self::endpoint::SocketIoEndpoint;
use self::stream::Streams;
use crate::Api;

/// Largest message that a client may send over a live stream, in bytes: room for the longest text, escaped.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// Packets that may wait for a client before it counts as too slow.
const SEND_BUFFER_PACKETS: usize = 256;
/// How long clients have to take notice when the server closes their connections.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a client may take from connecting to saying who it is.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The Socket.IO server and what feeds it.
pub struct Realtime {
    api: Arc<Api>,
    io: SocketIo,
    endpoint: SocketIoEndpoint,
    connections: Arc<Connections>,
    streams: Streams,
}

impl Realtime {
    /// Live streams over this API.
    #[must_use]
    pub fn new(api: Arc<Api>) -> Self {
        let (service, io) = SocketIo::builder()
            .req_path("/socket.io")
            .max_payload(MAX_MESSAGE_BYTES as u64)
            .ws_max_message_size(MAX_MESSAGE_BYTES)
            .ws_max_frame_size(MAX_MESSAGE_BYTES)
            .ws_read_buffer_size(4096)
            .max_buffer_size(SEND_BUFFER_PACKETS)
            .connect_timeout(CONNECT_TIMEOUT)
            .build_svc();
        let streams = Streams::default();
        let connections = Arc::new(Connections::new(streams.clone()));
        socket::register(&io, &api, &connections);
        let endpoint = SocketIoEndpoint::new(service, streams.clone());
        Self { api, io, endpoint, connections, streams }
    }

    /// Serves handshakes and polling.
    pub(crate) fn endpoint(&self) -> SocketIoEndpoint {
        self.endpoint.clone()
    }

    /// Delivers what is appended to the log after a position to those who are connected. Never returns.
    pub async fn deliver(&self, after: Position) -> Infallible {
        feed::deliver(&self.api, &self.connections, after).await
    }

    /// Closes all connections. The HTTP server doesn't wait for those that were upgraded.
    pub async fn close(&self) {
        // Whoever is closed comes back at once, and is to find another node or this one's successor.
        self.streams.close();
        if tokio::time::timeout(CLOSE_PATIENCE, self.io.close()).await.is_err() {
            tracing::debug!("clients that read nothing are cut");
        }
        self.streams.cut_all();
    }
}

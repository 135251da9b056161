//! The plain WebSocket: `GET /api/messenger/events/ws`. Frames of JSON text, `{position, type, data}`; clients say
//! `{id, emit, data}` and are answered with `{id, ack}`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt, future};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WireFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::closing::Closing;
use super::emits::{Client, Outcome, Payload};
use super::frames::{Frame, Promise};
use super::opening::Opened;
use super::{MAX_MESSAGE_BYTES, Shared};
use crate::error::{ErrorBody, ErrorCode};

/// Interval of pings.
const PING: Duration = Duration::from_secs(25);
/// Maximum silence of a client.
const SILENCE: Duration = Duration::from_mins(1);
/// Most of what is written fits into one frame of this size. A frame has a head too, and memory comes in steps of 128 bytes here.
const PIECE_BYTES: usize = 880;

/// The smallest buffers: the default ones are 128 KiB a connection, filled with zeroes.
fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(256)
        .write_buffer_size(0)
        // Answers to pings, which the library makes by itself: whoever doesn't read gets no more of them.
        .max_write_buffer_size(MAX_MESSAGE_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
}

/// Frame of a client.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Emit {
    /// Names it in the answer; without one there is none, unless something is wrong.
    id: Option<Value>,
    emit: String,
    data: Payload,
}

/// Answer to an emit.
#[derive(Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    ack: Box<RawValue>,
}

/// Serves one connection until it ends. No `async fn`: that would keep what it begins with for as long as it lasts.
pub(super) fn serve<S>(
    shared: Arc<Shared>,
    Opened { caller, since, listed }: Opened,
    stream: S,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (frames, connection) = (listed.frames.clone(), listed.connection.clone());
    let client = Arc::new(Client::new(shared.clone(), caller));
    // In a box for the same reason.
    let begun = Box::pin(async move {
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await;
        shared.welcome(connection, since).await;
        Socket(socket)
    });
    async move {
        let _listed = listed;
        let mut socket = begun.await;
        // Nothing is listened to that there would be no room to answer.
        let mut room = None;
        let mut ping = tokio::time::interval(PING);
        let mut last_heard = Instant::now();
        loop {
            room = room.or_else(|| frames.promise());
            let written = tokio::select! {
                frame = frames.next() => match frame {
                    Some(Frame::Event(event)) => socket.text(event.frame()).await,
                    Some(Frame::Answer(answer)) => socket.text(answer).await,
                    Some(Frame::Close(why)) => return socket.close(why).await,
                    None => Ok(()),
                },
                message = socket.0.next(), if room.is_some() => {
                    last_heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => {
                            if let Some(room) = room.take() {
                                listen(&client, room, &text);
                            }
                            Ok(())
                        }
                        Some(Ok(Message::Binary(_))) => socket.text(malformed("frames must be text")).await,
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    }
                }
                _ = ping.tick() => {
                    if last_heard.elapsed() > SILENCE {
                        return;
                    }
                    socket.0.send(Message::Ping(vec![].into())).await
                }
            };
            if written.is_err() {
                return;
            }
        }
    }
}

/// Works on what a client says, and has it answered where there is room for it.
fn listen(client: &Arc<Client>, room: Promise, text: &str) {
    let Emit { id, emit, data } = match serde_json::from_str(text) {
        Ok(emit) => emit,
        Err(error) => {
            room.keep(malformed(&format!("a frame must be {{id, emit, data}}: {error:.100}")));
            return;
        }
    };
    let answer = move |outcome: Outcome| {
        let ack = match outcome {
            Ok(success) => id.is_some().then_some(success),
            Err(error) => Some(to_raw_value(error.body()).unwrap_or_default()),
        };
        if let Some(ack) = ack {
            room.keep(serde_json::to_string(&Answer { id, ack }).unwrap_or_default());
        }
        future::ready(()).boxed()
    };
    // There is room for no more answers than a client may have waiting.
    let _ = client.hear(emit, data, Box::new(answer));
}

fn malformed(reason: &str) -> String {
    let ack = ErrorBody::new(ErrorCode::ValidationError, reason);
    let ack = to_raw_value(&ack).unwrap_or_default();
    serde_json::to_string(&Answer { id: None, ack }).unwrap_or_default()
}

struct Socket<S>(WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Writes a message, in pieces: the library keeps a buffer as large as the largest frame that it has ever written.
    async fn text(&mut self, text: String) -> Result<(), Error> {
        let mut rest = Bytes::from(text);
        let mut opcode = Data::Text;
        loop {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            let is_last = rest.is_empty();
            self.0.feed(Message::Frame(WireFrame::message(piece, OpCode::Data(opcode), is_last))).await?;
            if is_last {
                return self.0.flush().await;
            }
            opcode = Data::Continue;
        }
    }

    /// The codes of applications begin at 4000; these end like the HTTP statuses.
    async fn close(&mut self, why: Closing) {
        let body = why.body();
        let code = CloseCode::from(4000 + body.status_code);
        let frame = CloseFrame { code, reason: body.error.into() };
        let _ = self.0.send(Message::Close(Some(frame))).await;
    }
}

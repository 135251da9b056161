//! A live stream without a client library: it says whatever it is told to, also what no client would.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{DEADLINE, Person};

/// What is spoken over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Socket.IO, from the first packet over WebSocket.
    SocketIo,
    /// The plain WebSocket.
    Plain,
}

/// A stream as it is, before anything is said over it.
type Naked = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A live stream. It is cut when this is dropped.
pub(crate) struct RawStream {
    pub(crate) protocol: Protocol,
    to_write: mpsc::UnboundedSender<Message>,
    heard: mpsc::UnboundedReceiver<String>,
    waiting: Vec<Heard>,
    emits: u64,
    _halves: JoinSet<()>,
}

/// What has been heard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Event(String, Value),
    Ack(Value, Value),
    /// Anything else, as it came.
    Other(String),
}

impl Protocol {
    pub(crate) const BOTH: [Self; 2] = [Self::SocketIo, Self::Plain];

    /// Opens a stream with these headers.
    pub(crate) async fn open(self, url: &str, headers: &[(&'static str, &str)]) -> Result<Naked, Error> {
        let path = match self {
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
            Self::Plain => "/api/messenger/events/ws",
        };
        let mut request = format!("{}{path}", url.replace("http", "ws")).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let opening = tokio_tungstenite::connect_async_with_config(request, None, true);
        let (stream, _) = tokio::time::timeout(DEADLINE, opening).await.expect("a handshake is answered")?;
        Ok(stream)
    }

    fn parse(self, text: String) -> Heard {
        let heard = match self {
            Self::SocketIo => socket_io(&text),
            Self::Plain => plain(&text),
        };
        heard.unwrap_or(Heard::Other(text))
    }

    /// An emit that wants to be acknowledged, as text.
    pub(crate) fn emit(self, id: u64, event: &str, payload: &Value) -> String {
        match self {
            Self::SocketIo => format!("42{id}{}", json!([event, payload])),
            Self::Plain => json!({"id": id, "emit": event, "data": payload}).to_string(),
        }
    }
}

fn socket_io(text: &str) -> Option<Heard> {
    let (kind, rest) = text.split_at_checked(2)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let mut data: Vec<Value> = serde_json::from_str(&rest[digits..]).ok()?;
    match kind {
        "42" if data.len() == 2 => Some(Heard::Event(data[0].as_str()?.to_owned(), data.pop()?)),
        "43" => Some(Heard::Ack(json!(rest[..digits].parse::<u64>().ok()?), data.pop()?)),
        _ => None,
    }
}

fn plain(text: &str) -> Option<Heard> {
    let mut frame: Value = serde_json::from_str(text).ok()?;
    if let Some(ack) = frame.get_mut("ack").map(Value::take) {
        return Some(Heard::Ack(frame["id"].take(), ack));
    }
    Some(Heard::Event(frame["type"].as_str()?.to_owned(), frame["data"].take()))
}

impl RawStream {
    /// Connects somebody, and waits until nothing is missed any more.
    pub(crate) async fn connect(person: &Person, protocol: Protocol) -> Self {
        let bearer = format!("Bearer {}", person.token);
        let stream = protocol.open(&person.url, &[("authorization", &bearer)]).await.unwrap();
        let mut stream = Self::over(stream, protocol);
        if protocol == Protocol::SocketIo {
            stream.say(format!("40{}", json!({"token": person.token})));
        }
        stream.expect("feed:caught-up").await;
        stream
    }

    /// Reads and writes over this stream.
    pub(crate) fn over(stream: Naked, protocol: Protocol) -> Self {
        let (mut sink, mut stream) = stream.split();
        let (to_write, mut next) = mpsc::unbounded_channel();
        let (hear, heard) = mpsc::unbounded_channel();
        let mut halves = JoinSet::new();
        halves.spawn(async move {
            while let Some(message) = next.recv().await {
                if sink.send(message).await.is_err() {
                    break;
                }
            }
        });
        let pong = to_write.clone();
        halves.spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let Message::Text(text) = message else { continue };
                let is_fine = match (protocol, text.as_str()) {
                    (Protocol::SocketIo, "2") => pong.send(Message::text("3")).is_ok(),
                    _ => hear.send(text.to_string()).is_ok(),
                };
                if !is_fine {
                    break;
                }
            }
        });
        Self { protocol, to_write, heard, waiting: vec![], emits: 0, _halves: halves }
    }

    pub(crate) fn say(&self, text: impl Into<String>) {
        self.send(Message::text(text.into()));
    }

    /// Says something, whatever it is. It goes nowhere once the stream is over.
    pub(crate) fn send(&self, message: Message) {
        let _ = self.to_write.send(message);
    }

    /// Emits, and doesn't wait. By what the acknowledgement is named.
    pub(crate) fn emit_ahead(&mut self, event: &str, payload: &Value) -> Value {
        self.emits += 1;
        self.say(self.protocol.emit(self.emits, event, payload));
        json!(self.emits)
    }

    /// Emits, and waits for the acknowledgement.
    pub(crate) async fn emit(&mut self, event: &str, payload: &Value) -> Value {
        let emitted = self.emit_ahead(event, payload);
        self.acknowledged(&emitted).await.1
    }

    /// Waits for the acknowledgement of this name.
    async fn acknowledged(&mut self, emitted: &Value) -> (Value, Value) {
        let is_it = |heard: &Heard| matches!(heard, Heard::Ack(id, _) if id == emitted);
        match self.wait_for(&format!("acknowledgement {emitted}"), is_it).await {
            Heard::Ack(id, ack) => (id, ack),
            other => unreachable!("{other:?} is no acknowledgement"),
        }
    }

    /// Waits for an acknowledgement, whatever of.
    pub(crate) async fn any_ack(&mut self) -> (Value, Value) {
        match self.wait_for("acknowledgement", |heard| matches!(heard, Heard::Ack(..))).await {
            Heard::Ack(id, ack) => (id, ack),
            other => unreachable!("{other:?} is no acknowledgement"),
        }
    }

    /// Waits for an event of this name; others that come before it are kept.
    pub(crate) async fn expect(&mut self, event: &str) -> Value {
        let is_it = |heard: &Heard| matches!(heard, Heard::Event(name, _) if name == event);
        match self.wait_for(&format!("event {event}"), is_it).await {
            Heard::Event(_, data) => data,
            other => unreachable!("{other:?} is no event"),
        }
    }

    /// The next thing that is heard; none when the stream is over.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        if !self.waiting.is_empty() {
            return Some(self.waiting.remove(0));
        }
        let text = tokio::time::timeout(DEADLINE, self.heard.recv()).await.expect("nothing is heard");
        text.map(|text| self.protocol.parse(text))
    }

    /// Waits until the stream is over. What was heard before that.
    pub(crate) async fn end(&mut self) -> Vec<Heard> {
        let mut heard = vec![];
        while let Some(next) = self.next().await {
            heard.push(next);
        }
        heard
    }

    async fn wait_for(&mut self, what: &str, is_it: impl Fn(&Heard) -> bool) -> Heard {
        if let Some(at) = self.waiting.iter().position(&is_it) {
            return self.waiting.remove(at);
        }
        loop {
            let text = tokio::time::timeout(DEADLINE, self.heard.recv()).await;
            let text = text.unwrap_or_else(|_| panic!("no {what}, only {:?}", self.waiting));
            let heard = self.protocol.parse(text.unwrap_or_else(|| panic!("the stream ended before {what}")));
            if is_it(&heard) {
                return heard;
            }
            self.waiting.push(heard);
        }
    }
}

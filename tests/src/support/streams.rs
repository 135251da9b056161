//! The plain WebSocket and the event stream, as clients of their own kind.

use std::time::Instant;

use futures_util::stream::BoxStream;
use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{DEADLINE, Person};

/// An event as the streams of ours carry it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) position: Option<u64>,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// A plain WebSocket.
pub(crate) struct PlainSocket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    waiting: Vec<Value>,
    emits: u64,
}

impl PlainSocket {
    /// Connects somebody, from a position on. Without one it waits until what happens from now on will be told: a connection that
    /// is open may not be listed yet.
    pub(crate) async fn connect(person: &Person, since: Option<u64>) -> Self {
        let query = since.map(|since| format!("?since={since}")).unwrap_or_default();
        let mut socket = Self::open(&person.url, &query, Some(&person.token)).await.unwrap();
        while since.is_none() && socket.is_quiet_about("feed:caught-up") {
            let frame = socket.frame().await.expect("it stands").unwrap();
            socket.waiting.push(frame);
        }
        socket
    }

    /// Tries to connect; the status of the answer, if it is refused.
    pub(crate) async fn open(url: &str, query: &str, token: Option<&str>) -> Result<Self, StatusCode> {
        let url = format!("{}/api/messenger/events/ws{query}", url.replace("http", "ws"));
        let mut request = url.into_client_request().unwrap();
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self { socket, waiting: vec![], emits: 0 }),
            Err(Error::Http(answer)) => Err(answer.status()),
            Err(error) => panic!("{error}"),
        }
    }

    /// The next frame; none when the connection is over.
    async fn frame(&mut self) -> Option<Result<Value, (u16, String)>> {
        loop {
            let message = tokio::time::timeout(DEADLINE, self.socket.next()).await.expect("a frame in time")?.ok()?;
            match message {
                Message::Text(text) => return Some(Ok(serde_json::from_str(&text).unwrap())),
                Message::Close(Some(frame)) => return Some(Err((frame.code.into(), frame.reason.to_string()))),
                _ => {}
            }
        }
    }

    /// Waits for an event of this name. Others that come before it are kept.
    pub(crate) async fn expect(&mut self, name: &str) -> Event {
        if let Some(at) = self.waiting.iter().position(|frame| frame["type"] == name) {
            return event(&self.waiting.remove(at));
        }
        let began = Instant::now();
        // Heartbeats come for ever.
        while began.elapsed() < 4 * DEADLINE {
            let frame = self.frame().await.unwrap_or_else(|| panic!("no {name}, only {:?}", self.waiting)).unwrap();
            if frame["type"] == name {
                return event(&frame);
            }
            self.waiting.push(frame);
        }
        panic!("no {name} in time, only {:?}", self.waiting)
    }

    /// The next event, whatever it is.
    pub(crate) async fn next(&mut self) -> Event {
        if !self.waiting.is_empty() {
            return event(&self.waiting.remove(0));
        }
        event(&self.frame().await.expect("an event").unwrap())
    }

    /// Whether nothing of this name has come so far that wasn't asked for.
    pub(crate) fn is_quiet_about(&self, name: &str) -> bool {
        self.waiting.iter().all(|frame| frame["type"] != name)
    }

    /// Emits, and waits for the answer.
    pub(crate) async fn emit(&mut self, name: &str, data: Value) -> Value {
        self.try_emit(name, data).await.expect("an answer")
    }

    /// Emits, and waits for the answer; the code with which the socket was closed, if that came first.
    pub(crate) async fn try_emit(&mut self, name: &str, data: Value) -> Result<Value, u16> {
        self.emits += 1;
        let id = self.emits;
        let text = json!({"id": id, "emit": name, "data": data}).to_string();
        // It may be closed already, which the next frame tells.
        let _ = self.socket.send(Message::text(text)).await;
        loop {
            match self.frame().await {
                Some(Ok(mut frame)) if frame["id"] == id => return Ok(frame["ack"].take()),
                Some(Ok(frame)) => self.waiting.push(frame),
                Some(Err((code, _))) => return Err(code),
                None => return Err(0),
            }
        }
    }

    /// Waits until the server closes it; the code and the reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Some(Ok(frame)) => self.waiting.push(frame),
                Some(Err(reason)) => return reason,
                None => return (0, String::new()),
            }
        }
    }
}

fn event(frame: &Value) -> Event {
    let name = frame["type"].as_str().unwrap().to_owned();
    Event { position: frame["position"].as_u64(), name, data: frame["data"].clone() }
}

/// A stream of server-sent events.
pub(crate) struct EventStream {
    chunks: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    /// Not text yet: a chunk may end in the middle of a character.
    bytes: Vec<u8>,
    waiting: Vec<Event>,
}

impl EventStream {
    /// Connects somebody, from a position on.
    pub(crate) async fn connect(person: &Person, since: Option<u64>) -> Self {
        let query = since.map(|since| format!("?since={since}")).unwrap_or_default();
        let request = person.http.get(format!("{}/api/messenger/events{query}", person.url)).bearer_auth(&person.token);
        Self::of(request.send().await.unwrap())
    }

    pub(crate) fn of(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        let chunks = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec())).boxed();
        Self { chunks, bytes: vec![], waiting: vec![] }
    }

    /// The next event; none when the stream is over.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
                let block = std::str::from_utf8(&block).unwrap();
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                    let position = field("id: ").map(|id| id.parse().unwrap());
                    return Some(Event { position, name, data: serde_json::from_str(&data).unwrap() });
                }
            }
            let chunk = tokio::time::timeout(DEADLINE, self.chunks.next()).await.expect("an event in time")?.ok()?;
            self.bytes.extend_from_slice(&chunk);
        }
    }

    /// Waits for an event of this name. Others that come before it are kept.
    pub(crate) async fn expect(&mut self, name: &str) -> Event {
        if let Some(at) = self.waiting.iter().position(|event| event.name == name) {
            return self.waiting.remove(at);
        }
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("no {name}, only {:?}", self.waiting));
            if event.name == name {
                return event;
            }
            self.waiting.push(event);
        }
    }
}

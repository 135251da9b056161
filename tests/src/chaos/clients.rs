//! Clients that go on from where they were, whatever happens to their connections. They throw nothing away that they get twice.

use std::fmt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{Person, Random, Transports, http_client, node};

/// Longest wait for an answer, after which a client of ours asks again. Once, two requests of reqwest were seen to wait for ever,
/// without a socket, after their connections had been broken.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest silence of a stream before a client of ours connects again. Streams are pinged more often.
const SILENCE: Duration = Duration::from_secs(45);

/// How a client is connected.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// The official client.
    SocketIo(Transports),
    /// The plain WebSocket.
    WebSocket,
    /// Server-sent events.
    EventStream,
    /// Asking again and again what there is.
    Polling,
}

impl Way {
    pub(super) const ALL: [Self; 6] = [
        Self::SocketIo(Transports::Polling),
        Self::SocketIo(Transports::WebSocket),
        Self::SocketIo(Transports::Upgrade),
        Self::WebSocket,
        Self::EventStream,
        Self::Polling,
    ];
}

/// Something durable that a person is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) position: u64,
    pub(super) event: String,
    /// Of the message or the call that it is about.
    pub(super) id: String,
}

/// What a client has seen.
#[derive(Clone)]
pub(super) enum Seen {
    Told(Told),
    /// It connected, and said that it has got everything up to here.
    Connected {
        since: u64,
    },
    /// It was told that this is as far as it has got.
    Place {
        event: String,
        position: u64,
    },
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(Told { position, event, id }) => write!(f, "{position} {event} of {id}"),
            Self::Connected { since } => write!(f, "connects since {since}"),
            Self::Place { event, position } => write!(f, "{position} {event}"),
        }
    }
}

/// Everything that a client has seen, in order.
pub(super) struct Inbox(watch::Sender<Vec<Seen>>);

impl Inbox {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(vec![])))
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.0.borrow().clone()
    }

    /// How often it connected.
    pub(super) fn connections(&self) -> usize {
        self.0.borrow().iter().filter(|seen| matches!(seen, Seen::Connected { .. })).count()
    }

    /// Waits until the client has been told something; false when that takes too long.
    pub(super) async fn has_reached(&self, position: u64, patience: Duration) -> bool {
        let mut seen = self.0.subscribe();
        let is_it = |seen: &Seen| matches!(seen, Seen::Told(told) if told.position >= position);
        timeout(patience, seen.wait_for(|seen| seen.iter().rev().any(is_it))).await.is_ok()
    }

    fn connected(&self, since: u64) {
        self.0.send_modify(|all| all.push(Seen::Connected { since }));
    }

    /// Takes in what the client got. Its place in the feed after that; none when it is only of the moment.
    fn take(&self, event: &str, data: &Value) -> Option<u64> {
        let position = data["position"].as_u64()?;
        let seen = if event.starts_with("feed:") {
            Seen::Place { event: event.to_owned(), position }
        } else {
            let id = ["id", "messageId", "callId"].iter().find_map(|key| data[key].as_str()).unwrap_or_default();
            Seen::Told(Told { position, event: event.to_owned(), id: id.to_owned() })
        };
        self.0.send_modify(|all| all.push(seen));
        Some(position)
    }
}

/// Somebody's client.
pub(super) struct Device {
    pub(super) way: Way,
    /// With the address of the proxy.
    pub(super) person: Person,
    /// The place that it goes on from when it connects first.
    pub(super) since: u64,
    pub(super) random: Random,
    pub(super) inbox: Arc<Inbox>,
}

/// Runs clients for as long as the tasks are kept.
pub(super) async fn run(devices: Vec<Device>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let mut official = vec![];
    for device in devices {
        match device.way {
            Way::SocketIo(transports) => official.push((transports, device)),
            Way::WebSocket => drop(tasks.spawn(websocket(device))),
            Way::EventStream => drop(tasks.spawn(event_stream(device))),
            Way::Polling => drop(tasks.spawn(polling(device))),
        }
    }
    run_official(official, &mut tasks).await;
    tasks
}

/// All official clients are one process.
async fn run_official(clients: Vec<(Transports, Device)>, tasks: &mut JoinSet<()>) {
    let settings = clients.iter().map(|(transports, Device { person, since, .. })| {
        json!({"url": person.url, "transports": transports.names(), "token": person.token, "since": since})
    });
    let settings: Value = settings.collect();
    let mut node = node().arg("chaos.mjs").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(format!("{settings}\n").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    tasks.spawn(async move {
        // It ends with either of them.
        let _running = (node, stdin);
        while let Some(line) = lines.next_line().await.unwrap() {
            let (client, event, data): (usize, String, Value) = serde_json::from_str(&line).unwrap();
            let inbox = &clients[client].1.inbox;
            match event.as_str() {
                "connect" => inbox.connected(data["position"].as_u64().unwrap()),
                event => drop(inbox.take(event, &data)),
            }
        }
        panic!("the official clients have ended");
    });
}

async fn websocket(Device { person, since: mut cursor, mut random, inbox, .. }: Device) {
    loop {
        let address = person.url.replace("http", "ws");
        let mut request = format!("{address}/api/messenger/events/ws?since={cursor}").into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", person.token).parse().unwrap());
        if let Ok(Ok((mut socket, _))) = timeout(ANSWER, tokio_tungstenite::connect_async(request)).await {
            inbox.connected(cursor);
            while let Ok(Some(Ok(message))) = timeout(SILENCE, socket.next()).await {
                let Message::Text(text) = message else { continue };
                let frame: Value = serde_json::from_str(&text).unwrap();
                let (event, data) = (frame["type"].as_str().unwrap(), &frame["data"]);
                if let Some(position) = inbox.take(event, data) {
                    assert!(frame["position"].is_null() || frame["position"] == position, "{frame}");
                    cursor = position;
                }
            }
        }
        a_moment(&mut random).await;
    }
}

async fn event_stream(Device { person, since: mut cursor, mut random, inbox, .. }: Device) {
    let http = http_client();
    loop {
        let request = http.get(format!("{}/api/messenger/events", person.url)).bearer_auth(&person.token);
        let response = timeout(ANSWER, request.header("Last-Event-ID", cursor.to_string()).send()).await;
        if let Ok(Ok(response)) = response
            && response.status() == 200
        {
            inbox.connected(cursor);
            let mut chunks = response.bytes_stream();
            let mut text = vec![];
            while let Ok(Some(Ok(chunk))) = timeout(SILENCE, chunks.next()).await {
                text.extend_from_slice(&chunk);
                // What is left at the end is no event: its connection broke in the middle of it.
                while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                    let event: Vec<u8> = text.drain(..end + 2).collect();
                    cursor = server_sent(&inbox, std::str::from_utf8(&event).unwrap()).unwrap_or(cursor);
                }
            }
        }
        a_moment(&mut random).await;
    }
}

/// Takes in one event of an event stream. Its id, if it has one.
fn server_sent(inbox: &Inbox, text: &str) -> Option<u64> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let id = field("id").map(|id| id.parse().unwrap());
    // Otherwise it is a comment.
    if let (Some(event), Some(data)) = (field("event"), field("data")) {
        let position = inbox.take(event, &serde_json::from_str(data).unwrap());
        assert_eq!(position, id, "{text}");
    }
    id
}

async fn polling(Device { person, since: mut cursor, mut random, inbox, .. }: Device) {
    loop {
        let limit = 1 + random.below(50);
        let path = format!("/api/messenger/events/since?position={cursor}&limit={limit}");
        match timeout(ANSWER, person.try_request(Method::GET, &path, None, &[])).await {
            Ok(Ok(answer)) if answer.status == 200 && answer.body["position"].is_u64() => {
                for event in answer.body["events"].as_array().unwrap() {
                    let position = inbox.take(event["type"].as_str().unwrap(), &event["data"]);
                    assert_eq!(position, event["position"].as_u64(), "{event}");
                }
                cursor = answer.body["position"].as_u64().unwrap();
                if answer.body["caughtUp"] == true {
                    sleep(Duration::from_millis(100 + random.below(500))).await;
                }
            }
            _ => {
                inbox.connected(cursor);
                a_moment(&mut random).await;
            }
        }
    }
}

/// Before one tries again.
async fn a_moment(random: &mut Random) {
    sleep(Duration::from_millis(10 + random.below(90))).await;
}

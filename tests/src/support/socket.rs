//! The official Socket.IO client, as a process of its own.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::node::node;
use super::{DEADLINE, Person};

/// Which transports the client may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Transports {
    /// Long polling only.
    Polling,
    /// WebSocket only.
    WebSocket,
    /// What the client does by default: polling, then an upgrade.
    Upgrade,
}

impl Transports {
    pub(crate) const ALL: [Self; 3] = [Self::Polling, Self::WebSocket, Self::Upgrade];

    pub(crate) fn names(self) -> Value {
        match self {
            Self::Polling => json!(["polling"]),
            Self::WebSocket => json!(["websocket"]),
            Self::Upgrade => json!(["polling", "websocket"]),
        }
    }
}

/// A client.
pub(crate) struct Socket {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What was received and not asked for yet.
    waiting: Vec<Value>,
    acks: u64,
}

impl Socket {
    /// Connects somebody, and waits until they are connected.
    pub(crate) async fn connect(person: &Person, transports: Transports) -> Self {
        let mut socket = Self::open(&person.url, transports, json!({"token": person.token}), json!({}));
        socket.expect("connect").await;
        socket
    }

    /// Tries to connect with these credentials and options.
    pub(crate) fn open(url: &str, transports: Transports, auth: Value, mut options: Value) -> Self {
        options["auth"] = auth;
        options["transports"] = transports.names();
        options["reconnectionDelay"] = json!(50);
        let mut child = node()
            .args(["client.mjs", url, &options.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, stdin, lines, waiting: vec![], acks: 0 }
    }

    /// Waits for an event of this name; returns its argument. Others that come before it are kept.
    pub(crate) async fn expect(&mut self, event: &str) -> Value {
        let mut line = self.wait_for(&format!("event {event}"), |line| line["event"] == event).await;
        line["args"][0].take()
    }

    /// Emits, and waits for the acknowledgement.
    pub(crate) async fn emit(&mut self, event: &str, payload: Value) -> Value {
        self.acks += 1;
        let ack = self.acks;
        self.write(&json!({"emit": event, "args": [payload], "ack": ack})).await;
        let mut line = self.wait_for(&format!("acknowledgement of {event}"), |line| line["ack"] == ack).await;
        line["args"][0].take()
    }

    /// Emits, and wants no acknowledgement.
    pub(crate) async fn emit_without_ack(&mut self, event: &str, payload: Value) {
        self.write(&json!({"emit": event, "args": [payload]})).await;
    }

    /// Everything of this name that has been received and not asked for yet.
    pub(crate) fn received(&self, event: &str) -> Vec<&Value> {
        self.waiting.iter().filter(|line| line["event"] == event).collect()
    }

    async fn write(&mut self, line: &Value) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.waiting.iter().position(&is_it) {
            return self.waiting.remove(at);
        }
        loop {
            let line = tokio::time::timeout(DEADLINE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("no {what}, only {:?}", self.waiting)).unwrap();
            let line: Value =
                serde_json::from_str(&line.unwrap_or_else(|| panic!("the client ended before {what}"))).unwrap();
            if is_it(&line) {
                return line;
            }
            self.waiting.push(line);
        }
    }
}

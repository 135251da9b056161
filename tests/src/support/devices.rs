//! A person's devices: a live stream of each kind.

use serde_json::json;

use super::{EventStream, Person, PlainSocket, Socket, Transports};

/// A stream of each kind, all of one person.
pub(crate) struct Devices {
    socket: PlainSocket,
    stream: EventStream,
    client: Socket,
}

impl Devices {
    pub(crate) async fn connect(person: &Person) -> Self {
        // The first streams would time out while the packages are installed.
        super::js_dir();
        let mut devices = Self {
            socket: PlainSocket::connect(person, None).await,
            stream: EventStream::connect(person, None).await,
            client: Socket::connect(person, Transports::WebSocket).await,
        };
        devices.socket.expect("feed:caught-up").await;
        devices.stream.expect("feed:caught-up").await;
        devices.client.expect("feed:caught-up").await;
        devices
    }

    /// Waits until all are closed, with this reason.
    pub(crate) async fn expect_closed(mut self, reason: &str) {
        let (code, said) = self.socket.closed().await;
        assert_eq!((code, said.as_str()), (4401, reason));
        let last = self.stream.expect("error").await;
        assert_eq!((&last.data["error"], &last.data["errorCode"]), (&json!(reason), &json!("UNAUTHORIZED")));
        while self.stream.next().await.is_some() {}
        assert_eq!(self.client.expect("error").await["error"], reason);
        self.client.expect("disconnect").await;
    }

    /// Makes sure that all of them hear what is going on: somebody writes to whose devices they are.
    pub(crate) async fn expect_to_be_open(&mut self, from: &Person, to: &Person) {
        from.send_text(to, "are you there?").await.expect(201);
        self.socket.expect("message:received").await;
        self.stream.expect("message:received").await;
        self.client.expect("message:received").await;
    }
}

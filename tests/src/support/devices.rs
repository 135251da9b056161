//! A person's devices: a live stream of each kind.

use serde_json::json;

use super::{EventStream, Person, PlainSocket, Requirement, Socket, Transports, is_installed};

/// A stream of each kind, all of one person.
pub(crate) struct Devices {
    socket: PlainSocket,
    stream: EventStream,
    /// None where the official client isn't installed.
    client: Option<Socket>,
}

impl Devices {
    pub(crate) async fn connect(person: &Person) -> Self {
        let mut devices = Self {
            socket: PlainSocket::connect(person, None).await,
            stream: EventStream::connect(person, None).await,
            client: None,
        };
        devices.socket.expect("feed:caught-up").await;
        devices.stream.expect("feed:caught-up").await;
        if is_installed(Requirement::SocketIoClient) {
            let mut client = Socket::connect(person, Transports::WebSocket).await;
            client.expect("feed:caught-up").await;
            devices.client = Some(client);
        }
        devices
    }

    /// Waits until all are closed, with this reason.
    pub(crate) async fn expect_closed(mut self, reason: &str) {
        let (code, said) = self.socket.closed().await;
        assert_eq!((code, said.as_str()), (4401, reason));
        let last = self.stream.expect("error").await;
        assert_eq!((&last.data["error"], &last.data["errorCode"]), (&json!(reason), &json!("UNAUTHORIZED")));
        while self.stream.next().await.is_some() {}
        if let Some(client) = &mut self.client {
            assert_eq!(client.expect("error").await["error"], reason);
            client.expect("disconnect").await;
        }
    }

    /// Makes sure that all of them hear what is going on: somebody writes to whose devices they are.
    pub(crate) async fn expect_to_be_open(&mut self, from: &Person, to: &Person) {
        from.send_text(to, "are you there?").await.expect(201);
        self.socket.expect("message:received").await;
        self.stream.expect("message:received").await;
        if let Some(client) = &mut self.client {
            client.expect("message:received").await;
        }
    }
}

//! When streams end, and why.

use std::time::Duration;

use serde_json::json;

use crate::support::{EventStream, Person, PlainSocket, Requirement, Socket, Transports, World, is_installed};

/// A stream of each kind, all of one person.
struct Devices {
    socket: PlainSocket,
    stream: EventStream,
    client: Socket,
}

impl Devices {
    async fn connect(person: &Person) -> Self {
        let mut devices = Self {
            socket: PlainSocket::connect(person, None).await,
            stream: EventStream::connect(person, None).await,
            client: Socket::connect(person, Transports::WebSocket).await,
        };
        devices.stream.expect("feed:caught-up").await;
        devices.client.expect("feed:caught-up").await;
        devices
    }

    /// Waits until all are closed, with this reason.
    async fn expect_closed(mut self, reason: &str) {
        let (code, said) = self.socket.closed().await;
        assert_eq!((code, said.as_str()), (4401, reason));
        let last = self.stream.expect("error").await;
        assert_eq!((&last.data["error"], &last.data["errorCode"]), (&json!(reason), &json!("UNAUTHORIZED")));
        while self.stream.next().await.is_some() {}
        assert_eq!(self.client.expect("error").await["error"], reason);
        self.client.expect("disconnect").await;
    }
}

#[tokio::test]
async fn streams_end_when_their_token_does() {
    if !is_installed(Requirement::SocketIoClient) {
        return;
    }
    let world = World::with(vec![("SWITCHBOARD_TOKEN_LIFE", "6s".to_owned())]).await;
    let acme = world.business("Acme").await;
    let bob = world.person(&acme, "Bob").await;
    let issued = tokio::time::Instant::now();
    Devices::connect(&bob).await.expect_closed("The token has expired").await;
    let lasted = issued.elapsed();
    assert!(lasted > Duration::from_secs(4) && lasted < Duration::from_secs(9), "{lasted:?}");
}

#[tokio::test]
async fn streams_end_when_somebody_may_not_be_here_any_longer() {
    if !is_installed(Requirement::SocketIoClient) {
        return;
    }
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let devices = Devices::connect(&bob).await;
    let began = tokio::time::Instant::now();
    bob.post("/api/messenger/auth/logout", json!(null)).await.expect(200);
    devices.expect_closed("The session is over").await;

    let bob = world.log_in(&bob.business, "Bob").await;
    let devices = Devices::connect(&bob).await;
    world.admin.post(&format!("/api/admin/users/{}/suspend", bob.id), json!(null)).await.expect(200);
    devices.expect_closed("The account or its business is suspended").await;

    let devices = Devices::connect(&alice).await;
    let path = format!("/api/admin/businesses/{}/suspend", alice.business.id);
    world.admin.post(&path, json!(null)).await.expect(200);
    devices.expect_closed("The account or its business is suspended").await;
    assert!(began.elapsed() < Duration::from_secs(15));
}

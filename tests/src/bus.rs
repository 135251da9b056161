//! What nodes tell each other, over NATS. Over Postgres, all other tests of two nodes do.

use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{DEADLINE, Database, NatsServer, PlainSocket, Server, Settings, World, free_port};

/// A NATS server of the test's own.
struct Nats {
    child: Child,
    port: u16,
}

impl Nats {
    fn start(nats: &NatsServer, port: u16) -> Self {
        let mut command = nats.command();
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, port }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn nodes_tell_each_other_over_nats_even_after_it_was_away() {
    let Some(program) = NatsServer::find() else { return };
    let nats = Nats::start(&program, free_port());
    let env = || {
        vec![
            ("SWITCHBOARD_BUS", format!("nats://127.0.0.1:{}", nats.port)),
            ("SWITCHBOARD_PRESENCE_GRACE", "200ms".to_owned()),
        ]
    };
    let database = Database::create().await;
    let one = Server::start_with(&database, Settings { env: env(), ..Settings::default() }).await;
    let other = Server::start_with(&database, Settings { env: env(), ..Settings::default() }).await;
    let world = World::around(database, one).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let mut alices = PlainSocket::connect(&alice, None).await;
    let mut bobs = PlainSocket::connect(&bob.at(&other.url), None).await;
    assert_eq!(alices.expect("user:online").await.data, json!(bob.id));
    types_until_seen(&mut alices, &mut bobs, &bob.id).await;

    let port = nats.port;
    drop(nats);
    // It isn't heard, and does no harm.
    assert_eq!(alices.emit("typing:start", json!({"recipientId": bob.id})).await["success"], true);
    let _nats = Nats::start(&program, port);
    types_until_seen(&mut alices, &mut bobs, &bob.id).await;
    drop(bobs);
    assert_eq!(alices.expect("user:offline").await.data, json!(bob.id));
}

/// Types, again and again: what is said while nobody listens is lost.
async fn types_until_seen(from: &mut PlainSocket, to: &mut PlainSocket, to_id: &str) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        for what in ["typing:start", "typing:stop"] {
            assert_eq!(from.emit(what, json!({"recipientId": to_id})).await["success"], true);
        }
        if tokio::time::timeout(Duration::from_millis(700), to.expect("typing:stopped")).await.is_ok() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "it is never seen");
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_the_start() {
    let database = Database::create().await;
    let env = vec![("DATABASE_URL", database.url()), ("SWITCHBOARD_BUS", "redis://localhost:x".to_owned())];
    let Err(lines) = Server::run(&Settings { env, ..Settings::default() }).await else { panic!("it starts") };
    assert!(lines.iter().any(|line| line.contains("SWITCHBOARD_BUS can't be used")), "{lines:?}");
}

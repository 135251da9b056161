//! Credentials for TURN servers, judged by a real one: coturn.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::browsers::{for_scripts, in_a_browser};
use crate::support::{Chromium, Coturn, DEADLINE, Database, Person, Server, Settings, World};

/// What coturn and the server share.
const SECRET: &str = "a secret of the tests";

/// A TURN server on this machine, for UDP. It ends when this is dropped.
struct TurnServer {
    child: Child,
    port: u16,
    // Dropped last: its database and its log are in there.
    _dir: TempDir,
}

impl TurnServer {
    async fn start(_: &Coturn) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let in_dir = |name: &str| dir.path().join(name).display().to_string();
        // Free now, and nobody else takes it in the moment until it is taken again.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(in_dir("log")).unwrap();
        let child = Command::new(Coturn::SERVER)
            .args(["-n", "--no-cli", "--no-tcp", "--no-tls", "--no-dtls", "--log-file=stdout"])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--allow-loopback-peers"])
            .args(["--use-auth-secret", "--realm=switchboard.test"])
            .arg(format!("--static-auth-secret={SECRET}"))
            .arg(format!("--listening-port={port}"))
            .arg(format!("--pidfile={}", in_dir("pid")))
            .arg(format!("--userdb={}", in_dir("db")))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self { child, port, _dir: dir };
        server.wait_until_it_answers().await;
        server
    }

    /// Asks it how it sees us, as STUN does, until it answers.
    async fn wait_until_it_answers(&mut self) {
        const BINDING_REQUEST: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(("127.0.0.1", self.port)).await.unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            assert!(self.child.try_wait().unwrap().is_none(), "coturn has ended");
            assert!(Instant::now() < deadline, "coturn doesn't answer");
            // Refused while nobody listens.
            let _ = socket.send(&BINDING_REQUEST).await;
            let mut answer = [0; 1500];
            let heard = tokio::time::timeout(Duration::from_millis(100), socket.recv(&mut answer)).await;
            match heard {
                Ok(Ok(_)) if answer[..2] == [1, 1] => return,
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=udp", self.port)
    }

    /// Whether it relays for somebody with these credentials: coturn's own client makes two allocations and sends a packet from each
    /// to the other.
    async fn relays_for(&self, credentials: &Credentials) -> bool {
        let client = tokio::process::Command::new(Coturn::CLIENT)
            .args(["-u", &credentials.username, "-w", &credentials.credential])
            .args(["-p", &self.port.to_string(), "-n", "1", "-c", "-y", "127.0.0.1"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(DEADLINE, client).await.expect("the client of coturn ends").unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let (relayed, refused) =
            (said.contains("tot_send_msgs=2, tot_recv_msgs=2"), said.contains("Cannot complete Allocation"));
        assert!(relayed != refused && relayed == output.status.success(), "{said}");
        relayed
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Credentials {
    username: String,
    credential: String,
    expires_at: OffsetDateTime,
}

impl Credentials {
    /// As the server issues them.
    async fn of(person: &Person, turn: &TurnServer) -> Self {
        let answer = person.get("/api/messenger/ice-servers").await.expect(200).body;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        assert_eq!(answer["iceServers"][0]["urls"], json!([turn.url()]));
        Self {
            username: text(&answer["iceServers"][0]["username"]),
            credential: text(&answer["iceServers"][0]["credential"]),
            expires_at: OffsetDateTime::parse(answer["expiresAt"].as_str().unwrap(), &Rfc3339).unwrap(),
        }
    }
}

/// A server whose TURN server this is, and Alice and Bob.
async fn world_with(turn: &TurnServer, secret: &str, ttl: &str) -> (World, Person, Person) {
    let database = Database::create().await;
    let env = vec![
        ("SWITCHBOARD_TURN_URLS", turn.url()),
        ("SWITCHBOARD_TURN_SECRET", secret.to_owned()),
        ("SWITCHBOARD_TURN_TTL", ttl.to_owned()),
    ];
    let server = Server::start_with(&database, Settings { env, ..Settings::default() }).await;
    let world = World::around(database, server).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    (world, alice, bob)
}

#[tokio::test]
async fn a_turn_server_relays_for_those_who_have_credentials_of_ours_and_for_nobody_else() {
    let Some(coturn) = Coturn::find() else { return };
    let turn = TurnServer::start(&coturn).await;
    let (_world, alice, bob) = world_with(&turn, SECRET, "1h").await;
    let good = Credentials::of(&alice, &turn).await;
    assert!(turn.relays_for(&good).await);

    let later = good.username.replacen(
        &good.expires_at.unix_timestamp().to_string(),
        &(good.expires_at.unix_timestamp() + 3600).to_string(),
        1,
    );
    assert_ne!(later, good.username);
    let of_bob = Credentials::of(&bob, &turn).await;
    for (why, username, credential) in [
        ("a longer life", later, good.credential.clone()),
        ("somebody else's name", of_bob.username, good.credential.clone()),
        ("another credential", good.username.clone(), flipped(&good.credential)),
        ("none", good.username.clone(), String::new()),
    ] {
        let tampered = Credentials { username, credential, expires_at: good.expires_at };
        assert!(!turn.relays_for(&tampered).await, "{why}");
    }
}

/// The same but for one letter.
fn flipped(credential: &str) -> String {
    let other = if credential.starts_with('A') { "B" } else { "A" };
    format!("{other}{}", &credential[1..])
}

#[tokio::test]
async fn credentials_of_another_secret_are_worth_nothing() {
    let Some(coturn) = Coturn::find() else { return };
    let turn = TurnServer::start(&coturn).await;
    let (_world, alice, _) = world_with(&turn, "another secret", "1h").await;
    assert!(!turn.relays_for(&Credentials::of(&alice, &turn).await).await);
}

#[tokio::test]
async fn credentials_are_worth_nothing_once_they_have_run_out() {
    let Some(coturn) = Coturn::find() else { return };
    let turn = TurnServer::start(&coturn).await;
    let (_world, alice, _) = world_with(&turn, SECRET, "1s").await;
    let credentials = Credentials::of(&alice, &turn).await;
    // coturn counts whole seconds.
    let over = SystemTime::from(credentials.expires_at) + Duration::from_secs(1);
    tokio::time::sleep(over.duration_since(SystemTime::now()).unwrap_or_default()).await;
    assert!(!turn.relays_for(&credentials).await);
}

#[tokio::test]
async fn two_browsers_that_cannot_meet_talk_through_the_turn_server() {
    let (Some(coturn), Some(chromium)) = (Coturn::find(), Chromium::find()) else { return };
    let turn = TurnServer::start(&coturn).await;
    let (world, alice, bob) = world_with(&turn, SECRET, "1h").await;
    let args = json!({
        "url": world.server.url, "alice": for_scripts(&alice), "bob": for_scripts(&bob), "iceTransportPolicy": "relay",
    });
    let found = in_a_browser(&chromium, "call.mjs", args).await;
    assert_eq!(found["candidateTypes"], json!(["relay", "relay"]), "{found}");
    assert_eq!(found["heardByBob"], "Hello Bob, from Alice");
    assert_eq!(found["heardByAlice"], "Hello Alice, from Bob");
}

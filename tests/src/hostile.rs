//! Clients that don't behave.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{DEADLINE, Person, PlainSocket, World, anonymous, http_client};

/// More messages than fit into all the buffers on the way.
const MANY: usize = 450;

/// A Socket.IO connection over WebSocket with next to no room for what isn't read.
async fn connect_with_little_room(person: &Person) -> WebSocketStream<TcpStream> {
    let address = person.url.trim_start_matches("http://").parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(address).await.unwrap();
    let url = format!("{}/socket.io/?EIO=4&transport=websocket", person.url.replace("http", "ws"));
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    socket.next().await.unwrap().unwrap();
    socket.send(Message::text(format!("40{}", json!({"token": person.token})))).await.unwrap();
    // A ping may come first.
    while !socket.next().await.unwrap().unwrap().to_text().unwrap().starts_with("40") {}
    // The answer to the next ping, in advance.
    socket.send(Message::text("3")).await.unwrap();
    socket
}

/// Sends messages of 40 kB each, one after the other.
async fn flood(from: &Person, to: &Person, count: usize) {
    let text = "👋".repeat(9_990);
    let sends = (0..count).map(|n| {
        let text = format!("{n} {text}");
        async move { from.send_text(to, &text).await.expect(201) }
    });
    futures_util::stream::iter(sends).buffered(1).count().await;
}

/// The numbers of the messages that arrive, until nothing more does.
async fn numbers_received(socket: &mut WebSocketStream<TcpStream>, enough: usize) -> Vec<usize> {
    let mut numbers = vec![];
    while numbers.len() < enough
        && let Ok(Some(Ok(message))) = tokio::time::timeout(DEADLINE, socket.next()).await
    {
        let text = message.to_text().unwrap();
        if text == "2" {
            socket.send(Message::text("3")).await.unwrap();
        }
        let Some(event) = text.strip_prefix("42") else { continue };
        let event: Value = serde_json::from_str(event).unwrap();
        if event[0] == "message:received" {
            numbers.push(event[1]["content"].as_str().unwrap().split_once(' ').unwrap().0.parse().unwrap());
        }
    }
    numbers
}

async fn figures(world: &World) -> String {
    let figures = anonymous(&world.server.url, Method::GET, "/metrics", None).await.expect(200).body;
    figures.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_that_fits_nowhere_falls_behind_and_arrives_whole() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let mut slow = connect_with_little_room(&bob).await;
    // More than all buffers hold, and sent before a connection that takes nothing in is cut.
    let count = MANY / 2;
    flood(&alice, &bob, count).await;
    assert!(world.server.figure("switchboard_connections_fell_behind_total").await > 0);
    assert_eq!(numbers_received(&mut slow, count).await, (0..count).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_in_is_cut_after_a_while_and_resumes_and_others_do_not_notice() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let since = bob.feed_position().await;
    let mut stuck = connect_with_little_room(&bob).await;
    let mut healthy = connect_with_little_room(&alice).await;
    let reading = tokio::spawn(async move {
        let mut sent = 0;
        while sent < MANY {
            let message = healthy.next().await.unwrap().unwrap();
            match message.to_text().unwrap() {
                "2" => healthy.send(Message::text("3")).await.unwrap(),
                packet => sent += usize::from(packet.contains("message:sent")),
            }
        }
    });
    flood(&alice, &bob, MANY).await;
    tokio::time::timeout(DEADLINE, reading).await.expect("others get everything meanwhile").unwrap();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !figures(&world).await.contains("switchboard_connections_stalled_total 1") {
        assert!(tokio::time::Instant::now() < deadline, "it is given up");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let before = numbers_received(&mut stuck, MANY).await;
    assert!(before.len() < MANY, "the connection has ended before everything was sent");
    assert_eq!(before, (0..before.len()).collect::<Vec<_>>(), "nothing is left out");
    let mut resumed = PlainSocket::connect(&bob, Some(since)).await;
    for n in 0..MANY {
        let content = resumed.expect("message:received").await.data["content"].as_str().unwrap().to_owned();
        assert!(content.starts_with(&format!("{n} ")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_does_not_keep_the_server_from_stopping() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let _stuck = connect_with_little_room(&bob).await;
    // More than the buffers of the kernel hold, and less than the server's.
    flood(&alice, &bob, 200).await;
    let began = std::time::Instant::now();
    let World { server, database: _database, .. } = world;
    assert!(server.stop().await);
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
}

/// Polls as the protocol says, and no more often than it is told to.
struct Poller {
    http: Client,
    url: String,
}

impl Poller {
    async fn connect(person: &Person) -> Self {
        let http = http_client();
        let url = format!("{}/socket.io/?EIO=4&transport=polling", person.url);
        let open = http.get(&url).send().await.unwrap().text().await.unwrap();
        let open: Value = serde_json::from_str(&open[1..]).unwrap();
        let poller = Self { http, url: format!("{url}&sid={}", open["sid"].as_str().unwrap()) };
        let connect = format!("40{}", json!({"token": person.token}));
        poller.http.post(&poller.url).body(connect).send().await.unwrap().error_for_status().unwrap();
        // A ping may come first.
        while !poller.poll().await.unwrap().contains("40{") {}
        poller
    }

    /// What waits; none when the connection is over.
    async fn poll(&self) -> Option<String> {
        let response = tokio::time::timeout(DEADLINE, self.http.get(&self.url).send()).await.ok()?.unwrap();
        if !response.status().is_success() {
            return None;
        }
        response.text().await.ok()
    }
}

#[tokio::test]
async fn who_polls_seldom_gets_everything_in_order_all_the_same() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let poller = Poller::connect(&bob).await;
    for n in 0..400 {
        alice.send_text(&bob, &n.to_string()).await.expect(201);
    }
    let mut received: Vec<String> = vec![];
    while received.len() < 400 {
        let packets = poller.poll().await.expect("more");
        for packet in packets.split('\u{1e}') {
            let Some(event) = packet.strip_prefix("42") else { continue };
            let event: Value = serde_json::from_str(event).unwrap();
            if event[0] == "message:received" {
                received.push(event[1]["content"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(received, (0..400).map(|n: u32| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_logs_out_with_a_full_buffer_gets_nothing_more() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let poller = Poller::connect(&bob).await;
    for n in 0..300 {
        alice.send_text(&bob, &n.to_string()).await.expect(201);
    }
    bob.post("/api/messenger/auth/logout", json!(null)).await.expect(200);
    let before = poller.poll().await;
    world.log_in(&bob.business, "Bob").await;
    alice.send_text(&bob, "a secret").await.expect(201);
    assert!(before.is_none_or(|packets| !packets.contains("a secret")));
    for _ in 0..5 {
        let Some(packets) = poller.poll().await else { break };
        assert!(!packets.contains("a secret"), "{packets}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_connected_misses_nothing_from_the_first_moment() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (alice, bob) = (alice.clone(), bob.clone());
        clients.spawn(async move {
            for _ in 0..3 {
                let mut socket = connect_with_little_room(&bob).await;
                // At once, as the server is told by the very client that has just been connected.
                let sent = alice.send_text(&bob, "the first").await.expect(201);
                let id = sent.body["message"]["id"].as_str().unwrap();
                let arrival = async { while !socket.next().await.unwrap().unwrap().to_text().unwrap().contains(id) {} };
                tokio::time::timeout(DEADLINE, arrival).await.expect("the message has not arrived");
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test]
async fn figures_do_not_grow_with_methods_that_nobody_knows() {
    let (world, _, _) = World::with_alice_and_bob().await;
    for n in 0..50 {
        let method = Method::from_bytes(format!("M{n}").as_bytes()).unwrap();
        anonymous(&world.server.url, method, "/healthz", None).await.expect_error(405, "METHOD_NOT_ALLOWED");
    }
    let figures = anonymous(&world.server.url, Method::GET, "/metrics", None).await.expect(200).body;
    assert!(!figures.as_str().unwrap().contains("\"M"), "{figures}");
}

#[tokio::test]
async fn what_would_be_taken_by_accident_is_refused() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let before = world.all_events().await;
    let path = "/api/messenger/messages";
    for body in [
        json!([bob.id, "hi", null, null, null]),
        json!({"recipientId": bob.id, "content": "hi", "type": {"text": null}}),
    ] {
        alice.post(path, body).await.expect_error(422, "VALIDATION_ERROR");
    }
    let login = json!([alice.email, crate::support::PASSWORD, alice.business.id]);
    let answer = anonymous(&world.server.url, Method::POST, "/api/messenger/auth/login", Some(login)).await;
    answer.expect_error(422, "VALIDATION_ERROR");
    let body = json!({"recipientId": bob.id, "content": "once"});
    for keys in [vec!["caf\u{e9}"], vec!["one", "two"]] {
        let headers: Vec<(&str, &str)> = keys.into_iter().map(|key| ("Idempotency-Key", key)).collect();
        alice.request(Method::POST, path, Some(body.clone()), &headers).await.expect_error(422, "VALIDATION_ERROR");
    }
    assert_eq!(world.all_events().await, before);
    let huge = json!({"x".repeat(100_000): 1});
    assert!(alice.post(path, huge).await.expect_error(422, "VALIDATION_ERROR").len() < 1000);
}

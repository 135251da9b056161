//! Connections that say nothing, or not yet who they are.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{
    Answer, Database, Person, Server, Settings, World, anonymous, eventually, full_scale, http_client, http_client_from,
};

async fn connect_from(address: &str, url: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(url.trim_start_matches("http://").parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn idle_connections_beyond_the_soft_limit_of_descriptors_keep_nobody_out() {
    let database = Database::create().await;
    let settings = Settings { soft_descriptors: Some(256), ..Settings::default() };
    let server = Server::start_with(&database, settings).await;
    let count = if full_scale() { 1_100 } else { 400 };
    let mut held = vec![];
    for _ in 0..count {
        held.push(connect_from("127.0.0.1", &server.url).await);
    }
    anonymous(&server.url, Method::GET, "/healthz", None).await.expect(200);
    Person::log_in_as_admin(&server.url, crate::support::ADMIN.0, crate::support::ADMIN.1).await;
    assert!(server.lines().iter().all(|line| !line.contains("accepting connections failed")), "{:?}", server.lines());
}

/// Whether the other side has closed a connection, of which nothing is expected.
async fn is_closed(stream: &mut TcpStream) -> bool {
    tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await.is_ok()
}

#[tokio::test]
async fn an_address_holds_so_many_connections_and_another_one_is_let_in_all_the_same() {
    let world = World::with_limits(vec![("SWITCHBOARD_ADDRESS_CONNECTIONS", "50".to_owned())]).await;
    let url = &world.server.url;
    let mut held = vec![];
    for _ in 0..120 {
        held.push(connect_from("127.0.0.3", url).await);
    }
    let mut open = 0;
    for stream in &mut held {
        open += u32::from(!is_closed(stream).await);
    }
    assert_eq!(open, 50);
    let answer = http_client_from("127.0.0.2").get(format!("{url}/healthz")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let complaints = world.server.lines().iter().filter(|line| line.contains("too many connections")).count();
    assert!((1..=3).contains(&complaints), "{complaints} log lines");
    drop(held);
    eventually("whoever leaves makes room", async || {
        let mut stream = connect_from("127.0.0.3", url).await;
        !is_closed(&mut stream).await
    })
    .await;
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place() {
    let world = World::with_limits(vec![("SWITCHBOARD_ADDRESS_CONNECTIONS", "3".to_owned())]).await;
    let upgrade = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut held = vec![];
    for _ in 0..3 {
        let mut stream = connect_from("127.0.0.2", &world.server.url).await;
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        held.push(stream);
    }
    let one_more = async || is_closed(&mut connect_from("127.0.0.2", &world.server.url).await).await;
    eventually("three are all", one_more).await;
    held.pop();
    eventually("one has gone", async || !one_more().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_by_polling_and_never_comes_is_bounded_for_an_address() {
    let world = World::with_limits(vec![]).await;
    let url = &world.server.url;
    let session = async |http: &reqwest::Client| {
        let open = http.get(format!("{url}/socket.io/?EIO=4&transport=polling")).send().await.unwrap();
        let open: Value = serde_json::from_str(open.text().await.unwrap().trim_start_matches('0')).unwrap();
        format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap())
    };
    let (one, other) = (http_client_from("127.0.0.2"), http_client_from("127.0.0.3"));
    let path = session(&one).await;
    let mut held = vec![];
    for _ in 0..300 {
        let mut stream = connect_from("127.0.0.2", url).await;
        let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n4");
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let say = async |http: &reqwest::Client, path: &str| {
        http.post(format!("{url}{path}")).body("3").send().await.unwrap().status().as_u16()
    };
    eventually("as many are read as may be", async || say(&one, &path).await == 429).await;
    assert_eq!(say(&other, &session(&other).await).await, 200);
}

/// Begins a Socket.IO connection, and says nothing more.
async fn handshake(http: &reqwest::Client, url: &str) -> Answer {
    let request = http.get(format!("{url}/socket.io/?EIO=4&transport=polling"));
    Answer::of(request.send().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn handshakes_are_counted_and_so_are_those_who_have_not_said_who_they_are() {
    let world = World::with_limits(vec![("SWITCHBOARD_ADDRESS_HANDSHAKE_LIMIT", "120".to_owned())]).await;
    let url = &world.server.url;
    let (one, other) = (http_client_from("127.0.0.2"), http_client_from("127.0.0.3"));
    let mut passed = 0;
    let refused = loop {
        let answer = handshake(&one, url).await;
        if answer.status != 200 {
            break answer;
        }
        passed += 1;
    };
    refused.expect_error(429, "RATE_LIMIT");
    // A sixth of them may be open at the same time.
    assert_eq!(passed, 20);
    handshake(&other, url).await.expect(200);
    // After ten seconds they are closed, and others may come, until there were 120 within the minute.
    let mut last = None;
    eventually("the limit of the minute", async || handshake(&one, url).await.status == 200).await;
    for _ in 0..200 {
        let answer = handshake(&one, url).await;
        if answer.status == 429 {
            last = Some(answer);
        }
    }
    let last = last.expect("it is limited");
    let why = last.body["error"].as_str().unwrap();
    assert!(!why.contains("have not said who they are"), "{why}: it is the limit of the minute");
    last.expect_error(429, "RATE_LIMIT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_handshakes_takes_little_memory() {
    let world = World::with_limits(vec![]).await;
    let url = world.server.url.clone();
    let http = http_client();
    handshake(&http, &url).await;
    let storm = async {
        let mut statuses = std::collections::BTreeMap::new();
        for _ in 0..if full_scale() { 8_000 } else { 2_000 } {
            *statuses.entry(handshake(&http, &url).await.status.as_u16()).or_insert(0) += 1;
        }
        println!("{statuses:?}");
        assert!(statuses[&200] >= 400, "{statuses:?}");
    };
    let growth = world.server.growth_kib(storm).await;
    assert!(growth < 24 * 1024, "{growth} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_head_takes_little_memory_however_long_it_is() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let count = 100;
    let mut held = vec![];
    let attack = async {
        for _ in 0..count {
            let mut stream = connect_from("127.0.0.1", &world.server.url).await;
            let beginning = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(400_000));
            // The server may have hung up before the end.
            let _ = tokio::time::timeout(Duration::from_millis(200), stream.write_all(beginning.as_bytes())).await;
            held.push(stream);
        }
    };
    let growth = world.server.growth_kib(attack).await;
    // 400 kB of each would be 40 MB.
    assert!(growth < 20 * 1024, "{growth} KiB for {count} connections");
    alice.send_text(&bob, "hi").await.expect(201);
}

//! Live connections: how many there are, what waits for them, and what they say without listening.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{flood, is_too_many, neighbour};
use crate::support::{
    DEADLINE, Heard, Person, PlainSocket, Protocol, RawStream, Socket, Transports, World, assert_is_standard_error,
    eventually, full_scale, http_client,
};

/// A ping of 125 bytes, masked with nothing.
fn ping() -> Vec<u8> {
    [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'x'; 125]].concat()
}

/// Sends frames as fast as they are taken, until none are for a while. How many bytes were, about.
async fn push(stream: &mut MaybeTlsStream<TcpStream>, frames: &[u8], most: usize) -> usize {
    let mut sent = 0;
    while sent < most {
        match timeout(Duration::from_secs(2), stream.write_all(frames)).await {
            Ok(Ok(())) => sent += frames.len(),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pings_and_reads_nothing_takes_no_memory_and_is_cut() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let bearer = format!("Bearer {}", alice.token);
    let mut streams = vec![];
    for (protocol, headers) in
        [(Protocol::SocketIo, vec![]), (Protocol::Plain, vec![("authorization", bearer.as_str())])]
    {
        streams.push(protocol.open(&alice.url, &headers).await.unwrap());
    }
    let pings = ping().repeat(500);
    let most = if full_scale() { 1_000_000_000 } else { 100_000_000 };
    let flooding = async {
        let sent = join_all(streams.iter_mut().map(|stream| push(stream.get_mut(), &pings, most))).await;
        println!("{sent:?} bytes were taken");
    };
    let growth = world.server.growth_kib(flooding).await;
    assert!(growth < 16 * 1024, "{growth} KiB");
    // An anonymous client is closed for not saying who it is, one with a token for not waiting for its answers.
    for stream in &mut streams {
        timeout(2 * DEADLINE, until_cut(stream.get_mut())).await.expect("both are cut");
    }
}

/// Goes on sending until the connection is no more.
async fn until_cut(stream: &mut MaybeTlsStream<TcpStream>) {
    let ping = ping();
    // What is not taken in waits here: that is no end.
    while !matches!(timeout(Duration::from_millis(100), stream.write_all(&ping)).await, Ok(Err(_))) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_binary_is_refused_and_nothing_of_it_is_kept() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let count = if full_scale() { 150 } else { 30 };
    let announcement = r#"451000-["message:send",{"_placeholder":true,"num":0}]"#;
    let attachment = || Message::binary(vec![0xff; 100_000]);
    let anonymous = async {
        for _ in 0..count {
            let mut stream =
                RawStream::over(Protocol::SocketIo.open(&alice.url, &[]).await.unwrap(), Protocol::SocketIo);
            stream.say(announcement);
            (0..9).for_each(|_| stream.send(attachment()));
            // Nobody is listened to who hasn't said who they are.
            stream.end().await;
        }
    };
    let growth = world.server.growth_kib(anonymous).await;
    assert!(growth < 16 * 1024, "{growth} KiB for anonymous clients");
    let mut held = vec![];
    let known = async {
        for _ in 0..count {
            let mut stream = RawStream::connect(&alice, Protocol::SocketIo).await;
            stream.say(announcement);
            (0..9).for_each(|_| stream.send(attachment()));
            assert_eq!(stream.expect("error").await["errorCode"], "VALIDATION_ERROR");
            // What comes after it is listened to.
            assert_eq!(stream.emit("no:such:event", &json!({})).await["statusCode"], 422);
            held.push(stream);
        }
    };
    let growth = world.server.growth_kib(known).await;
    assert!(growth < 16 * 1024, "{growth} KiB for {count} connections");
}

/// Why a client over Socket.IO was not let in.
async fn refusal(person: &Person) -> Value {
    let stream = Protocol::SocketIo.open(&person.url, &[]).await.unwrap();
    let mut stream = RawStream::over(stream, Protocol::SocketIo);
    stream.say(format!("40{}", json!({"token": person.token})));
    loop {
        match stream.next().await.expect("an answer") {
            Heard::Other(text) if text.starts_with("44") => return serde_json::from_str(&text[2..]).unwrap(),
            Heard::Other(text) => assert!(!text.starts_with("40"), "let in"),
            heard => panic!("{heard:?}"),
        }
    }
}

#[tokio::test]
async fn a_session_and_a_user_have_so_many_live_connections() {
    let world = World::with_limits(vec![]).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let mut held = vec![];
    for n in 0..10 {
        held.push(RawStream::connect(&alice, Protocol::BOTH[n % 2]).await);
    }
    let refused = refusal(&alice).await;
    assert!(is_too_many(&refused["data"]), "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("session"), "{refused}");
    assert_eq!(PlainSocket::open(&alice.url, "", Some(&alice.token)).await.err().unwrap(), 429);
    alice.get("/api/messenger/events").await.expect_error(429, "RATE_LIMIT");
    for _ in 0..2 {
        let another = world.log_in(&acme, "Alice").await;
        for _ in 0..10 {
            held.push(RawStream::connect(&another, Protocol::Plain).await);
        }
    }
    let fourth = world.log_in(&acme, "Alice").await;
    assert!(refusal(&fourth).await["message"].as_str().unwrap().contains("user"));
    for _ in 0..10 {
        held.push(RawStream::connect(&bob, Protocol::Plain).await);
    }
    drop(held);
    eventually("whoever leaves makes room", async || {
        PlainSocket::open(&alice.url, "", Some(&alice.token)).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn an_address_has_so_many_live_connections_whoever_they_are_of() {
    let limits = vec![
        ("SWITCHBOARD_ADDRESS_CONNECTIONS", "5".to_owned()),
        // Behind a proxy of ours, so that only those count that are live.
        ("SWITCHBOARD_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ];
    let world = World::with_limits(limits).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let open = async |person: &Person, address: &str| {
        let bearer = format!("Bearer {}", person.token);
        let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", address)];
        Protocol::Plain.open(&person.url, &headers).await
    };
    let mut held = vec![];
    for n in 0..5 {
        held.push(open([&alice, &bob][n % 2], "192.0.2.1").await.unwrap());
    }
    let Err(Error::Http(refused)) = open(&bob, "192.0.2.1").await else { panic!("let in") };
    assert_eq!(refused.status(), 429);
    open(&bob, "192.0.2.2").await.unwrap();
}

#[tokio::test]
async fn the_official_client_is_told_the_standard_error_when_it_is_refused() {
    let (_world, alice, _) = World::with_alice_and_bob().await;
    for transports in Transports::ALL {
        let credentials = json!({"token": "nonsense"});
        let mut socket = Socket::open(&alice.url, transports, credentials, json!({"reconnection": false}));
        assert_eq!(socket.expect("connect_error").await, "Missing or invalid auth token");
        let data = socket.expect("connect_error:data").await;
        assert_is_standard_error(&data, 401, "UNAUTHORIZED");
    }
}

/// Opens a connection that polls, says who it is, and never polls again.
async fn open_and_never_poll(person: &Person) {
    let http = http_client();
    let url = format!("{}/socket.io/?EIO=4&transport=polling", person.url);
    let open = http.get(&url).send().await.unwrap().text().await.unwrap();
    let open: Value = serde_json::from_str(&open[1..]).unwrap();
    let url = format!("{url}&sid={}", open["sid"].as_str().unwrap());
    let connect = format!("40{}", json!({"token": person.token}));
    http.post(url).body(connect).send().await.unwrap().error_for_status().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_client_that_does_not_fetch_it_is_bounded_by_bytes() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let (connections, messages) = if full_scale() { (100, 200) } else { (20, 100) };
    flood(&alice, &bob, 2).await;
    let attack = async {
        for _ in 0..connections {
            open_and_never_poll(&bob).await;
        }
        flood(&alice, &bob, messages).await;
    };
    let growth = world.server.growth_kib(attack).await;
    // 40 kB each: all of it would be 80 MB, or 800.
    assert!(growth < connections * 1536, "{growth} KiB for {connections} connections");
}

#[tokio::test]
async fn who_connects_and_leaves_over_and_over_is_not_there_afterwards() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let before = world.server.figure("switchboard_connections").await;
    let mut watching = RawStream::connect(&alice, Protocol::Plain).await;
    let stream = Protocol::SocketIo.open(&bob.url, &[]).await.unwrap();
    let mut stream = RawStream::over(stream, Protocol::SocketIo);
    for _ in 0..20 {
        stream.say(format!("40{}", json!({"token": bob.token})));
        loop {
            match stream.next().await.expect("an answer") {
                Heard::Other(text) if text.starts_with("40") => break,
                _ => {}
            }
        }
        stream.say("41");
    }
    eventually("nobody is connected but Alice", async || {
        world.server.figure("switchboard_connections").await == before + 1
    })
    .await;
    assert_eq!(watching.expect("user:online").await, json!(bob.id));
    assert_eq!(watching.expect("user:offline").await, json!(bob.id));
    // And it may connect again.
    stream.say(format!("40{}", json!({"token": bob.token})));
    stream.expect("feed:caught-up").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_user_has_relayed_to_another_is_bounded_by_bytes() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let connections = 10;
    for _ in 0..connections {
        open_and_never_poll(&bob).await;
    }
    let call = alice.call(&bob).await;
    let mut caller = RawStream::connect(&alice, Protocol::Plain).await;
    let signal = json!({"callId": call, "kind": "offer", "payload": "x".repeat(60_000)});
    caller.emit("call:signal", &signal).await;
    let attack = async {
        for _ in 0..300 {
            assert_eq!(caller.emit("call:signal", &signal).await["success"], true);
        }
    };
    let growth = world.server.growth_kib(attack).await;
    // 300 of 60 kB for each would be 180 MB.
    assert!(growth < connections * 2048 + 8 * 1024, "{growth} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emits_that_wait_are_bounded_by_bytes() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let streams = if full_scale() { 30 } else { 10 };
    let text = "👋".repeat(9_990);
    let attack = async {
        let sending = (0..streams).map(async |_| {
            let mut stream = RawStream::connect(&alice, Protocol::SocketIo).await;
            for n in 0..64 {
                stream.emit_ahead("message:send", &json!({"recipientId": bob.id, "content": format!("{n} {text}")}));
            }
            let mut sent = 0;
            for _ in 0..64 {
                let (_, ack) = stream.any_ack().await;
                assert!(ack["success"] == true || is_too_many(&ack), "{ack}");
                sent += u32::from(ack["success"] == true);
            }
            sent
        });
        let sent: u32 = join_all(sending).await.into_iter().sum();
        println!("{sent} were sent");
        // 64 of 40 kB are five times as much as may wait; some are done while others come.
        assert!(sent >= 10 * u32::try_from(streams).unwrap());
    };
    let growth = world.server.growth_kib(attack).await;
    assert!(growth < streams * 2048 + 16 * 1024, "{growth} KiB for {streams} connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_namespaces_that_are_not_there_takes_no_memory() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let mut stream = Protocol::SocketIo.open(&alice.url, &[]).await.unwrap();
    // Masked with nothing, as a client library would send it.
    let name = format!("40/{},", "n".repeat(100));
    let length = u8::try_from(name.len()).unwrap();
    let frame = [&[0x81, 0x80 + length, 0, 0, 0, 0][..], name.as_bytes()].concat();
    let attack = async {
        push(stream.get_mut(), &frame.repeat(500), 50_000_000).await;
    };
    let growth = world.server.growth_kib(attack).await;
    assert!(growth < 16 * 1024, "{growth} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenant_is_told_at_once_while_a_client_floods() {
    let (world, alice, _) = World::with_alice_and_bob().await;
    let (nina, ned) = neighbour(&world).await;
    let mut neds = RawStream::connect(&ned, Protocol::Plain).await;
    let flood = tokio::spawn({
        let pings = ping().repeat(500);
        async move {
            // One that isn't listened to any more begins anew.
            loop {
                let mut flooding = Protocol::SocketIo.open(&alice.url, &[]).await.unwrap();
                push(flooding.get_mut(), &pings, 1_000_000).await;
            }
        }
    });
    for n in 0..20 {
        let sent = nina.send_text(&ned, &n.to_string()).await.expect(201);
        let told = timeout(DEADLINE / 6, neds.expect("message:received")).await.expect("at once");
        assert_eq!(told["id"], sent.body["message"]["id"]);
    }
    assert!(!flood.is_finished());
    flood.abort();
}

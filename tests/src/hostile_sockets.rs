//! Live streams in the wrong hands: whatever is said over one of them, everybody else is served as before.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::{
    DEADLINE, Heard, Person, Protocol, RawStream, Server, Settings, World, anonymous, assert_is_standard_error,
    full_scale,
};

/// What clients may say.
const EVENTS: [&str; 8] = [
    "message:send",
    "message:read",
    "call:accept",
    "call:reject",
    "call:end",
    "call:signal",
    "typing:start",
    "typing:stop",
];
/// How much more memory the server may have, in KiB, once its bad clients are gone: an allocator keeps what it was given for a
/// while, and these servers are built without optimisation. What is kept by mistake, with so many bad clients, is more.
const ROOM_KIB: u64 = 64 * 1024;
/// How long a message takes at most, also on a machine that does something else besides.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Longer than it takes a Socket.IO server to find out that nobody polls.
const PATIENCE: Duration = Duration::from_mins(1);

/// So many, or a tenth of it where time is short.
fn scaled(count: usize) -> usize {
    if full_scale() { count } else { count / 10 }
}

/// A server with people who are connected all along and do nothing wrong, and Mallory, who works there too.
struct Scene {
    // Dropped first.
    phones: Vec<RawStream>,
    alice: Person,
    bob: Person,
    mallory: Person,
    before: Condition,
    world: World,
}

/// How a server is.
#[derive(Debug)]
struct Condition {
    /// How many [`events`] there are.
    events: usize,
    /// Live streams that are open.
    connections: u64,
    resident_kib: u64,
}

impl Scene {
    async fn start() -> Self {
        let (world, alice, bob) = World::with_alice_and_bob().await;
        let mallory = world.person(&bob.business, "Mallory").await;
        let mut phones = vec![];
        for protocol in Protocol::BOTH {
            phones.push(RawStream::connect(&bob, protocol).await);
        }
        // Once, so that what the server makes when it is needed first is there already.
        for protocol in Protocol::BOTH {
            RawStream::connect(&mallory, protocol).await.emit("no:such:event", &json!({})).await;
        }
        reach(&alice, &bob, &mut phones).await;
        let before = Condition::of(&world).await;
        Self { phones, alice, bob, mallory, before, world }
    }

    async fn reach_bob(&mut self) -> Duration {
        reach(&self.alice, &self.bob, &mut self.phones).await
    }

    /// Checks that nothing has come of it: besides these events, if they were meant to be appended.
    async fn nothing_has_come_of_it(&mut self, appended: usize) {
        self.reach_bob().await;
        // The message that has just been sent.
        let expected = self.before.events + appended + 1;
        let deadline = Instant::now() + PATIENCE;
        let now = loop {
            let now = Condition::of(&self.world).await;
            let is_as_before =
                now.connections <= self.before.connections && now.resident_kib <= self.before.resident_kib + ROOM_KIB;
            if is_as_before || Instant::now() > deadline {
                break now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        println!("before {:?}, now {now:?}", self.before);
        let events = events(&self.world).await;
        assert_eq!(events.len(), expected, "new in the log: {:?}", &events[self.before.events..]);
        assert!(now.resident_kib <= self.before.resident_kib + ROOM_KIB, "{now:?}, before {:?}", self.before);
        let figures = figures(&self.world).await;
        let failed = figures.lines().find(|line| line.contains("status=\"5"));
        assert_eq!(failed, None, "a request was answered with 5xx");
        for line in self.world.server.lines() {
            assert!(!line.contains("panicked") && !line.contains("ERROR"), "{line}");
        }
        assert_eq!(now.connections, self.before.connections, "streams that are open");
        self.before.events = now.events;
    }
}

/// Alice writes to Bob, and all his phones get it. How long it took.
async fn reach(alice: &Person, bob: &Person, phones: &mut [RawStream]) -> Duration {
    let began = Instant::now();
    let sent = alice.send_text(bob, "Are you there?").await.expect(201);
    for phone in phones {
        assert_eq!(phone.expect("message:received").await["id"], sent.body["message"]["id"]);
    }
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
    began.elapsed()
}

/// The types of all events in the log, save that something was delivered: that is noted some time later.
async fn events(world: &World) -> Vec<String> {
    let pool = world.database.pool().await;
    let types = "SELECT event_type FROM log WHERE event_type <> 'MessagesDelivered' ORDER BY position";
    let types = sqlx::query_scalar(types).fetch_all(&pool).await.unwrap();
    pool.close().await;
    types
}

async fn figures(world: &World) -> String {
    let figures = anonymous(&world.server.url, Method::GET, "/metrics", None).await.expect(200).body;
    figures.as_str().unwrap().to_owned()
}

impl Condition {
    async fn of(world: &World) -> Self {
        let figures = figures(world).await;
        let connections = figures.lines().find_map(|line| line.strip_prefix("switchboard_connections "));
        let status = std::fs::read_to_string(format!("/proc/{}/status", world.server.pid())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            events: events(world).await.len(),
            connections: connections.unwrap().parse().unwrap(),
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

#[tokio::test]
async fn nobody_opens_a_stream_without_a_token_that_is_good() {
    let mut scene = Scene::start().await;
    let url = scene.world.server.url.clone();
    // A token of the same installation that has run out by itself.
    let hasty = ("SWITCHBOARD_TOKEN_LIFE", "1s".to_owned());
    let hasty = Server::start_with(&scene.world.database, Settings { env: vec![hasty], ..Settings::default() }).await;
    let login = json!({"email": scene.mallory.email, "password": crate::support::PASSWORD, "businessId": scene.mallory.business.id});
    let login = anonymous(&hasty.url, Method::POST, "/api/messenger/auth/login", Some(login)).await.expect(200);
    let expired = login.body["token"].as_str().unwrap().to_owned();
    let late = Person { token: expired.clone(), ..scene.mallory.clone() };
    let deadline = Instant::now() + DEADLINE;
    while late.get("/api/messenger/users").await.status != 401 {
        assert!(Instant::now() < deadline, "the token doesn't run out");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    hasty.kill();

    let good = scene.mallory.token.clone();
    for token in ["", "nonsense", &expired, &scene.world.admin.token, &good[..good.len() - 1]] {
        let bearer = format!("Bearer {token}");
        for headers in [&[][..], &[("authorization", bearer.as_str())][..]] {
            assert_eq!(refused(Protocol::Plain, &url, headers).await, 401, "{token}");
            let mut request = Client::new().get(format!("{url}/api/messenger/events"));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = crate::support::Answer::of(request.send().await.unwrap()).await.unwrap();
            answer.expect_error(401, "UNAUTHORIZED");
        }
        assert!(connect_error(&url, &json!({"token": token}).to_string()).await.starts_with("44{"), "{token}");
    }
    for credentials in ["", "null", "5", "\"x\"", "[]", "{}", "{\"token\":null}", "{\"token\":[\"x\"]}"] {
        assert!(connect_error(&url, credentials).await.starts_with("44{"), "{credentials}");
    }
    for since in [json!("x"), json!(-1), json!(1.5), json!([]), json!({})] {
        let credentials = json!({"token": good, "since": since}).to_string();
        assert!(connect_error(&url, &credentials).await.starts_with("44{"), "{credentials}");
    }
    assert!(connect_error(&url, &format!("/admin,{}", json!({"token": good}))).await.starts_with("44/admin,"));

    // Who hasn't connected isn't listened to.
    let stream = Protocol::SocketIo.open(&url, &[]).await.unwrap();
    let mut stream = RawStream::over(stream, Protocol::SocketIo);
    let message = json!({"recipientId": scene.bob.id, "content": "let me in"});
    stream.emit_ahead("message:send", &message);
    for heard in stream.end().await {
        assert!(!matches!(heard, Heard::Ack(..)), "{heard:?}");
    }
    // Mallory has logged in once more.
    scene.nothing_has_come_of_it(1).await;
}

/// The status with which a handshake is refused.
async fn refused(protocol: Protocol, url: &str, headers: &[(&'static str, &str)]) -> u16 {
    match protocol.open(url, headers).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

/// What Socket.IO answers to these credentials.
async fn connect_error(url: &str, credentials: &str) -> String {
    let stream = Protocol::SocketIo.open(url, &[]).await.unwrap();
    let mut stream = RawStream::over(stream, Protocol::SocketIo);
    stream.say(format!("40{credentials}"));
    loop {
        match stream.next().await.expect("an answer") {
            Heard::Other(text) if text.starts_with('4') => return text,
            // The engine's own.
            Heard::Other(_) => {}
            heard => panic!("{heard:?}"),
        }
    }
}

#[tokio::test]
async fn who_leaves_while_being_let_in_is_not_there() {
    let mut scene = Scene::start().await;
    let credentials = format!("40{}", json!({"token": scene.mallory.token}));
    for _ in 0..scaled(500) {
        let mut stream = Protocol::SocketIo.open(&scene.mallory.url, &[]).await.unwrap();
        stream.send(Message::text(credentials.clone())).await.unwrap();
        drop(stream);
    }
    // A session that polls, and is ended in the middle of what it posts.
    let http = Client::new();
    let endpoint = format!("{}/socket.io/?EIO=4&transport=polling", scene.mallory.url);
    for _ in 0..10 {
        let open = http.get(&endpoint).send().await.unwrap().text().await.unwrap();
        let open: Value = serde_json::from_str(&open[1..]).unwrap();
        let url = format!("{endpoint}&sid={}", open["sid"].as_str().unwrap());
        let nonsense_first = format!("42[\u{1e}{credentials}");
        assert!(http.post(url).body(nonsense_first).send().await.unwrap().status().as_u16() < 500);
    }
    scene.nothing_has_come_of_it(0).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let people = scene.bob.get("/api/messenger/users").await.expect(200).body;
        let mallory = people["users"].as_array().unwrap().iter().find(|user| user["id"] == scene.mallory.id).unwrap();
        if mallory["online"] == false {
            break;
        }
        // Who leaves is online for a moment longer.
        assert!(Instant::now() < deadline, "{mallory}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn pages_of_other_origins_open_no_stream() {
    let mut scene = Scene::start().await;
    let url = scene.world.server.url.clone();
    let bearer = format!("Bearer {}", scene.mallory.token);
    let near = url.replace("127.0.0.1", "127.0.0.2");
    for origin in ["https://evil.example", "null", "", "http://127.0.0.1", &near, "http://127.0.0.1@evil.example"] {
        let headers = [("authorization", bearer.as_str()), ("origin", origin)];
        for protocol in Protocol::BOTH {
            assert_eq!(refused(protocol, &url, &headers).await, 403, "{origin} over {protocol:?}");
        }
        for path in ["/api/messenger/events", "/socket.io/?EIO=4&transport=polling"] {
            let answer = scene.mallory.request(Method::GET, path, None, &[("origin", origin)]).await;
            answer.expect_error(403, "FORBIDDEN");
        }
    }
    scene.nothing_has_come_of_it(0).await;
}

/// Payloads that are none of any event.
fn wrong_payloads() -> Vec<Value> {
    let mut deep = json!({});
    for _ in 0..50 {
        deep = json!({"payload": deep});
    }
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1.5e300),
        json!("text"),
        json!([]),
        json!([{}]),
        json!([["x", "y"], "z"]),
        json!({}),
        json!({"": {}}),
        json!({"__proto__": {"x": 1}}),
        json!({"messageId": null, "callId": null, "recipientId": null}),
        json!({"messageId": 5}),
        json!({"callId": ["x"], "kind": "offer", "payload": {}}),
        json!({"callId": "x", "kind": "bye", "payload": {}}),
        json!({"recipientId": {"id": "x"}, "content": ["x"]}),
        json!({"recipientId": "x", "content": {"toString": "x"}}),
        json!({"recipientId": "x", "content": "x", "type": {"text": null}}),
        json!({"recipientId": "x", "content": "x", "attachments": "x"}),
        json!({"recipientId": "x", "extra": 1}),
        json!({"callId": "x", "messageId": "x"}),
        deep,
    ]
}

/// Payloads of the right form about what isn't there, in the order of [`EVENTS`].
fn about_nothing(id: &str) -> [Value; 8] {
    let call = json!({"callId": id});
    [
        json!({"recipientId": id, "content": "x"}),
        json!({"messageId": id}),
        call.clone(),
        call.clone(),
        call,
        json!({"callId": id, "kind": "offer", "payload": {"sdp": "x"}}),
        json!({"recipientId": id}),
        json!({"recipientId": id}),
    ]
}

#[tokio::test]
async fn whatever_is_emitted_wrongly_is_acknowledged_with_the_standard_error() {
    let mut scene = Scene::start().await;
    for protocol in Protocol::BOTH {
        let mut stream = RawStream::connect(&scene.mallory, protocol).await;
        for event in EVENTS {
            for payload in wrong_payloads() {
                let ack = stream.emit(event, &payload).await;
                assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
            }
        }
        for id in ["x", "", "00000000-0000-4000-8000-000000000000", "\0", "ä".repeat(1000).as_str()] {
            for (event, payload) in EVENTS.into_iter().zip(about_nothing(id)) {
                let ack = stream.emit(event, &payload).await;
                assert_is_standard_error(&ack, 404, "NOT_FOUND");
            }
        }
        for event in
            ["no:such:event", "", "connect", "disconnect", "error", "__proto__", "message:send ", "MESSAGE:SEND", "\0"]
        {
            if event == "\0" && protocol == Protocol::SocketIo {
                // The library ends connections over names that JSON writes with an escape.
                continue;
            }
            let ack = stream.emit(event, &json!({})).await;
            assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
        }
        let long = "x".repeat(100_000);
        let ack = stream.emit(&long, &json!({})).await;
        assert!(assert_is_standard_error(&ack, 422, "VALIDATION_ERROR").len() < 1000);
        // What a text may be, but for what Postgres has no room for, and for its length.
        for content in [json!("\0"), json!("x".repeat(20_000)), json!("")] {
            let ack = stream.emit("message:send", &json!({"recipientId": scene.bob.id, "content": content})).await;
            assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
        }
        let signal = json!({"callId": "x", "kind": "offer", "payload": "x".repeat(70_000)});
        assert_is_standard_error(&stream.emit("call:signal", &signal).await, 413, "PAYLOAD_TOO_LARGE");
    }
    scene.nothing_has_come_of_it(0).await;
}

/// Serde's own way takes `{"offer": null}` for `"offer"`.
#[tokio::test]
async fn a_signal_is_of_no_kind_that_only_looks_like_one() {
    let (_world, alice, _) = World::with_alice_and_bob().await;
    for protocol in Protocol::BOTH {
        let mut stream = RawStream::connect(&alice, protocol).await;
        let signal = json!({"callId": "x", "kind": {"offer": null}, "payload": {}});
        assert_is_standard_error(&stream.emit("call:signal", &signal).await, 422, "VALIDATION_ERROR");
    }
}

#[tokio::test]
async fn events_with_too_few_or_too_many_arguments_are_acknowledged_with_the_standard_error() {
    let mut scene = Scene::start().await;
    let mut stream = RawStream::connect(&scene.mallory, Protocol::SocketIo).await;
    for event in EVENTS {
        for arguments in ["", ",{},{}", ",null,null", ",[],{}", ",{\"x\":\"x\"},1,2,3"] {
            stream.say(format!("427[\"{event}\"{arguments}]"));
            let (id, ack) = stream.any_ack().await;
            assert_eq!(id, 7);
            assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
        }
        // With something binary in it.
        stream.say(format!("451-7[\"{event}\",{{\"_placeholder\":true,\"num\":0}}]"));
        stream.send(Message::binary(vec![0, 159, 146, 150]));
        assert_is_standard_error(&stream.any_ack().await.1, 422, "VALIDATION_ERROR");
    }
    drop(stream);
    let mut stream = RawStream::connect(&scene.mallory, Protocol::Plain).await;
    for frame in [
        "",
        "x",
        "null",
        "[]",
        "{}",
        "{\"emit\":5}",
        "{\"id\":1,\"data\":{}}",
        "{\"emit\":\"x\",\"extra\":1}",
        "{\"id\":",
    ] {
        stream.say(frame);
        let (id, ack) = stream.any_ack().await;
        assert_eq!(id, json!(null), "{frame}");
        assert_is_standard_error(&ack, 422, "VALIDATION_ERROR");
    }
    drop(stream);
    scene.nothing_has_come_of_it(0).await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_its_own_stream_only() {
    let mut scene = Scene::start().await;
    for protocol in Protocol::BOTH {
        for is_text in [true, false] {
            let mut stream = RawStream::connect(&scene.mallory, protocol).await;
            let huge = "x".repeat(20_000_000);
            stream.send(if is_text { Message::text(huge) } else { Message::binary(huge) });
            stream.end().await;
            scene.reach_bob().await;
            scene.before.events += 1;
        }
    }
    scene.nothing_has_come_of_it(0).await;
}

#[tokio::test]
async fn binary_frames_harm_nobody() {
    let mut scene = Scene::start().await;
    let mut stream = RawStream::connect(&scene.mallory, Protocol::Plain).await;
    stream.send(Message::binary(vec![0xff; 1000]));
    assert_is_standard_error(&stream.any_ack().await.1, 422, "VALIDATION_ERROR");
    assert_is_standard_error(&stream.emit("no:such:event", &json!({})).await, 422, "VALIDATION_ERROR");
    drop(stream);

    // Nobody has said that it would come.
    let mut stream = RawStream::connect(&scene.mallory, Protocol::SocketIo).await;
    for length in [0, 1, 1000] {
        stream.send(Message::binary(vec![0xff; length]));
    }
    stream.send(Message::Close(None));
    stream.end().await;
    scene.nothing_has_come_of_it(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_emits_as_fast_as_possible_keeps_nobody_else_from_writing() {
    let count = scaled(10_000);
    let mut scene = Scene::start().await;
    let mut alices_phone = RawStream::connect(&scene.alice, Protocol::SocketIo).await;
    for protocol in Protocol::BOTH {
        for is_valid in [false, true] {
            let events_before = events(&scene.world).await.len();
            let mut stream = RawStream::connect(&scene.mallory, protocol).await;
            let began = Instant::now();
            let bob = scene.bob.id.clone();
            let flood = tokio::spawn(async move {
                for n in 0..count {
                    let at = if is_valid { 0 } else { n % EVENTS.len() };
                    let id = if is_valid { &bob } else { "00000000-0000-4000-8000-000000000000" };
                    stream.emit_ahead(EVENTS[at], &about_nothing(id)[at]);
                }
                all_acks(stream).await
            });
            let (mut rounds, mut longest) = (0, Duration::ZERO);
            while !flood.is_finished() || rounds == 0 {
                let began = Instant::now();
                let message = json!({"recipientId": scene.alice.id, "content": "Here I am"});
                let ack = scene.phones[rounds % 2].emit("message:send", &message).await;
                assert_eq!(ack["success"], true, "{ack}");
                assert_eq!(alices_phone.expect("message:received").await["id"], ack["message"]["id"]);
                longest = longest.max(began.elapsed());
                let sent = scene.alice.send_text(&scene.bob, "Are you there?").await.expect(201);
                for phone in &mut scene.phones {
                    // Mallory's come as well.
                    while phone.expect("message:received").await["id"] != sent.body["message"]["id"] {}
                }
                longest = longest.max(began.elapsed());
                rounds += 1;
            }
            let acks = flood.await.unwrap();
            let done = acks.iter().filter(|ack| ack["success"] == true).count();
            for ack in &acks {
                match ack["statusCode"].as_u64() {
                    None => assert_eq!((is_valid, &ack["success"]), (true, &json!(true)), "{ack}"),
                    Some(404) => drop(assert_is_standard_error(ack, 404, "NOT_FOUND")),
                    _ => drop(assert_is_standard_error(ack, 429, "RATE_LIMIT")),
                }
            }
            println!(
                "{protocol:?}: {count} emits in {:?}, {} acknowledged, {done} of them done; {rounds} rounds of others \
                 meanwhile, the longest took {longest:?}",
                began.elapsed(),
                acks.len()
            );
            assert!(longest < AT_ONCE * 2, "{longest:?}");
            // Others have sent two messages in each round.
            let appended = events(&scene.world).await.len() - events_before - 2 * rounds;
            println!("{appended} appended");
            assert_eq!(acks.len(), count, "each is answered");
            assert_eq!(appended, if is_valid { done } else { 0 });
        }
    }
    drop(alices_phone);
    scene.before.events = events(&scene.world).await.len();
    scene.nothing_has_come_of_it(0).await;
}

/// All acknowledgements that come.
async fn all_acks(mut stream: RawStream) -> Vec<Value> {
    let mut acks = vec![];
    // The last one may be refused, and is repeated until it isn't.
    loop {
        let last = stream.emit_ahead("no:such:event", &json!({}));
        let until_the_last = async {
            loop {
                let (id, ack) = stream.any_ack().await;
                if id == last {
                    break ack;
                }
                acks.push(ack);
            }
        };
        if let Ok(ack) = tokio::time::timeout(Duration::from_secs(2), until_the_last).await
            && ack["statusCode"] == 422
        {
            acks.retain(|ack| ack["statusCode"] != 422);
            return acks;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_emits_and_reads_no_answers_keeps_nobody_else_from_writing() {
    let count = scaled(10_000);
    let mut scene = Scene::start().await;
    for protocol in Protocol::BOTH {
        let bearer = format!("Bearer {}", scene.mallory.token);
        let mut stream = protocol.open(&scene.mallory.url, &[("authorization", &bearer)]).await.unwrap();
        if protocol == Protocol::SocketIo {
            stream.send(Message::text(format!("40{}", json!({"token": scene.mallory.token})))).await.unwrap();
            while !stream.next().await.unwrap().unwrap().to_text().unwrap().starts_with("40") {}
        }
        let flood = tokio::spawn(async move {
            for n in 0..count as u64 {
                let emit = protocol.emit(n, &"x".repeat(100), &json!({"x": "x".repeat(1000)}));
                // The server may stop listening to who doesn't listen to it.
                let sending = tokio::time::timeout(Duration::from_secs(1), stream.send(Message::text(emit))).await;
                if !matches!(sending, Ok(Ok(()))) {
                    return (n, stream);
                }
            }
            (count as u64, stream)
        });
        let mut longest = Duration::ZERO;
        while !flood.is_finished() {
            longest = longest.max(scene.reach_bob().await);
            scene.before.events += 1;
        }
        println!("{protocol:?}: {} emits were taken; others took {longest:?} at most", flood.await.unwrap().0);
    }
    scene.nothing_has_come_of_it(0).await;
}

/// What connections may say, and then nothing more.
const HALVES: [&str; 6] = [
    "",
    "GET /hea",
    "GET /healthz HTTP/1.1\r\nHost: x\r\n",
    "POST /api/messenger/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_half_of_something_keep_nobody_out() {
    let mut scene = Scene::start().await;
    let address = scene.world.server.url.trim_start_matches("http://").to_owned();
    let mut held = vec![];
    for n in 0..scaled(1000) {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(HALVES[n % HALVES.len()].as_bytes()).await.unwrap();
        held.push(stream);
    }
    scene.reach_bob().await;
    scene.before.events += 1;
    for protocol in Protocol::BOTH {
        let mut newcomer = RawStream::connect(&scene.mallory, protocol).await;
        assert_is_standard_error(&newcomer.emit("no:such:event", &json!({})).await, 422, "VALIDATION_ERROR");
    }
    println!("with {} of them {:?}", held.len(), Condition::of(&scene.world).await);
    drop(held);
    scene.nothing_has_come_of_it(0).await;
}

#[tokio::test]
async fn connections_that_say_half_of_something_are_hung_up_on_in_the_end() {
    if !full_scale() {
        // The server is patient for 75 seconds.
        return;
    }
    let scene = Scene::start().await;
    let address = scene.world.server.url.trim_start_matches("http://").to_owned();
    let mut ends = JoinSet::new();
    for half in HALVES {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        ends.spawn(async move {
            let mut heard = vec![];
            let end = tokio::time::timeout(Duration::from_mins(2), stream.read_to_end(&mut heard)).await;
            end.is_err().then_some(half)
        });
    }
    let still_open: Vec<&str> = ends.join_all().await.into_iter().flatten().collect();
    assert!(still_open.is_empty(), "{still_open:?}");
}

/// Numbers that look like chance, and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.roll().to_le_bytes()[0]
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    fn bytes(&mut self, below: usize) -> Vec<u8> {
        (0..self.below(below)).map(|_| self.byte()).collect()
    }

    /// A packet that is wrong, most probably.
    fn packet(&mut self, valid: &[String]) -> Vec<u8> {
        const PIECES: [&str; 24] = [
            "0",
            "1",
            "2",
            "3",
            "4",
            "5",
            "6",
            "b",
            "-",
            "/",
            ",",
            "[",
            "]",
            "{",
            "}",
            "\"",
            ":",
            "\\u",
            "\\ud800",
            "\u{1e}",
            "null",
            "99999999999999999999",
            "_placeholder",
            "1e999",
        ];
        match self.below(10) {
            0 => self.bytes(64),
            1 => (0..self.below(40)).flat_map(|_| self.one_of(&PIECES).bytes()).collect(),
            // A list in a list in a list, and so on.
            2 if self.below(10) == 0 => format!("42[\"message:read\",{}", "[".repeat(self.below(5000))).into_bytes(),
            _ => {
                let mut packet = valid[self.below(valid.len())].clone().into_bytes();
                for _ in 0..=self.below(4) {
                    self.mutate(&mut packet, &PIECES);
                }
                packet
            }
        }
    }

    fn mutate(&mut self, packet: &mut Vec<u8>, pieces: &[&str]) {
        let from = self.below(packet.len());
        let to = from + self.below(packet.len() - from + 1).min(8);
        match self.below(6) {
            0 => packet.truncate(from),
            1 => drop(packet.drain(from..to)),
            2 => {
                let twice = packet[from..to].to_vec();
                packet.splice(from..from, twice);
            }
            3 => {
                let byte = self.byte();
                packet.splice(from..to, [byte]);
            }
            4 => {
                let piece = self.one_of(pieces);
                packet.splice(from..to, piece.bytes());
            }
            // The beginning is where packets say what they are.
            _ => {
                let piece = self.one_of(pieces);
                packet.splice(0..0, piece.bytes());
            }
        }
    }
}

/// Packets that are fine, and do nothing to the log.
fn valid_packets(protocol: Protocol, mallory: &Person) -> Vec<String> {
    let mut valid: Vec<String> = EVENTS
        .into_iter()
        .zip(about_nothing("00000000-0000-4000-8000-000000000000"))
        .map(|(event, payload)| protocol.emit(12, event, &payload))
        .collect();
    if protocol == Protocol::SocketIo {
        let token = json!({"token": mallory.token, "since": 1});
        valid.extend([format!("40{token}"), format!("40/admin,{token}"), format!("40{token}\u{1e}427[\"x\",{{}}]")]);
        for packet in [
            "0{\"sid\":\"x\"}",
            "1",
            "2",
            "2probe",
            "3",
            "3probe",
            "5",
            "6",
            "41",
            "41/admin,",
            "4312[{}]",
            "44{\"message\":\"x\"}",
            "451-12[\"message:read\",{\"_placeholder\":true,\"num\":0}]",
            "461-12[{\"_placeholder\":true,\"num\":0}]",
            "42/admin,12[\"message:read\",{}]",
            "b4AAEC",
            "42[\"message:read\",{\"messageId\":\"\\ud83d\\ude00\"}]",
        ] {
            valid.push(packet.to_owned());
        }
    }
    valid
}

/// The seed of this run: another one on request.
fn seed() -> u64 {
    let seed = std::env::var("SWITCHBOARD_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_251_122);
    println!("SWITCHBOARD_TEST_SEED={seed}");
    seed
}

/// Packets that one connection has to bear, at most. The first of them is always read; it may well be the last, since many end the
/// connection.
const PACKETS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_packets_over_websocket_harm_nobody() {
    let mut scene = Scene::start().await;
    let seed = seed();
    for protocol in Protocol::BOTH {
        let began = Instant::now();
        let connections = (0..scaled(10_000)).map(|n| {
            let dice = Dice(seed.wrapping_add(n as u64));
            say_nonsense(protocol, scene.mallory.clone(), dice)
        });
        let said: usize =
            futures_util::stream::iter(connections).buffer_unordered(8).collect::<Vec<_>>().await.iter().sum();
        println!("{protocol:?}: {said} packets over {} connections in {:?}", scaled(10_000), began.elapsed());
    }
    scene.nothing_has_come_of_it(0).await;
}

/// Opens a stream, says things over it that make no sense, and waits until the server is done with it. How many.
async fn say_nonsense(protocol: Protocol, mallory: Person, mut dice: Dice) -> usize {
    let valid = valid_packets(protocol, &mallory);
    let bearer = format!("Bearer {}", mallory.token);
    let mut stream = protocol.open(&mallory.url, &[("authorization", &bearer)]).await.unwrap();
    if protocol == Protocol::SocketIo && dice.below(4) > 0 {
        stream.send(Message::text(format!("40{}", json!({"token": mallory.token})))).await.unwrap();
        while !stream.next().await.unwrap().unwrap().to_text().unwrap().starts_with("40") {}
    }
    let mut said = 0;
    let packets = if dice.below(20) == 0 {
        // What isn't even a frame.
        let nonsense = dice.bytes(300);
        let _ = stream.get_mut().write_all(&nonsense).await;
        let _ = stream.get_mut().shutdown().await;
        said += 1;
        0
    } else {
        1 + dice.below(PACKETS)
    };
    for _ in 0..packets {
        let packet = dice.packet(&valid);
        let (is_text, is_final) = (dice.below(8) > 0, dice.below(30) > 0);
        let kind = OpCode::Data(if is_text { Data::Text } else { Data::Binary });
        if stream.feed(Message::Frame(Frame::message(packet, kind, is_final))).await.is_err() {
            break;
        }
        said += 1;
    }
    let _ = stream.send(Message::Close(None)).await;
    let answers = async {
        while let Some(Ok(message)) = stream.next().await {
            let text = message.into_text().unwrap_or_default();
            assert!(!text.contains("\"statusCode\":5"), "{text}");
        }
    };
    tokio::time::timeout(DEADLINE, answers).await.expect("the server lets go");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_packets_and_addresses_over_polling_harm_nobody() {
    let mut scene = Scene::start().await;
    let seed = seed();
    let began = Instant::now();
    let http = Client::new();
    let connections = (0..scaled(10_000)).map(|n| {
        let dice = Dice(seed.wrapping_add(n as u64));
        post_nonsense(http.clone(), scene.mallory.clone(), dice)
    });
    let said: usize =
        futures_util::stream::iter(connections).buffer_unordered(8).collect::<Vec<_>>().await.iter().sum();
    println!("polling: {said} requests over {} connections in {:?}", scaled(10_000), began.elapsed());
    scene.nothing_has_come_of_it(0).await;
}

async fn post_nonsense(http: Client, mallory: Person, mut dice: Dice) -> usize {
    let valid = valid_packets(Protocol::SocketIo, &mallory);
    let endpoint = format!("{}/socket.io/?EIO=4&transport=polling", mallory.url);
    let open = http.get(&endpoint).send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
    let open: Value = serde_json::from_str(&open[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    let url = format!("{endpoint}&sid={sid}");
    if dice.below(4) > 0 {
        let connect = format!("40{}", json!({"token": mallory.token}));
        http.post(&url).body(connect).send().await.unwrap().error_for_status().unwrap();
        while !http.get(&url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap().contains("40{") {}
    }
    let mut posted = 0;
    for _ in 0..=dice.below(PACKETS) {
        let mut packets = dice.packet(&valid);
        for _ in 0..dice.below(3) {
            packets.push(0x1e);
            packets.extend(dice.packet(&valid));
        }
        let request = if dice.below(5) == 0 {
            let mut query = format!("EIO=4&transport=polling&sid={}", &sid[1..]).into_bytes();
            for _ in 0..=dice.below(4) {
                dice.mutate(
                    &mut query,
                    &["EIO", "=", "&", "transport", "websocket", "polling", "sid", "%00", "%ff", "3", "4"],
                );
            }
            let method = dice.one_of(&[&Method::POST, &Method::GET, &Method::PUT, &Method::OPTIONS]).clone();
            http.request(method, format!("{}/socket.io/?{}", mallory.url, String::from_utf8_lossy(&query)))
        } else {
            http.post(&url)
        };
        let response = tokio::time::timeout(DEADLINE, request.body(packets).send()).await.expect("an answer").unwrap();
        assert!(response.status().as_u16() < 500, "{}", response.status());
        posted += 1;
    }
    // It says goodbye, if it is known still.
    http.post(&url).body("1").send().await.unwrap();
    posted
}

#[tokio::test]
async fn what_one_stream_says_is_done_in_the_order_in_which_it_is_said() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    for protocol in Protocol::BOTH {
        let mut alices = RawStream::connect(&alice, protocol).await;
        let mut bobs = RawStream::connect(&bob, protocol).await;
        let call = json!({"recipientId": bob.id, "callType": "audio"});
        let call = alice.post("/api/messenger/calls", call).await.expect(201).body["call"]["id"].clone();
        assert_eq!(bobs.emit("call:accept", &json!({"callId": call})).await["success"], true);
        // As a browser does: it says what it has found as soon as it has, and an answer to one isn't needed for the next. No more
        // at once than a stream may.
        for n in 0..15 {
            alices.emit_ahead("call:signal", &json!({"callId": call, "kind": "candidate", "payload": n}));
            alices.emit_ahead("message:send", &json!({"recipientId": bob.id, "content": n.to_string()}));
        }
        let (mut signals, mut messages, mut acks) = (vec![], vec![], vec![]);
        for n in 0..15 {
            signals.push(bobs.expect("call:signal").await["payload"].as_u64().unwrap());
            messages.push(bobs.expect("message:received").await["content"].as_str().unwrap().to_owned());
            for _ in 0..2 {
                let (id, ack) = alices.any_ack().await;
                assert_eq!(ack["success"], true, "{n}: {ack}");
                acks.push(id);
            }
        }
        println!("{protocol:?} {signals:?} {messages:?} {acks:?}");
        assert!(signals.is_sorted(), "{signals:?}");
        assert!(messages.iter().map(|n| n.parse::<u64>().unwrap()).is_sorted(), "{messages:?}");
        alice.post(&format!("/api/messenger/calls/{}/end", call.as_str().unwrap()), json!(null)).await.expect(200);
    }
    drop(world);
}

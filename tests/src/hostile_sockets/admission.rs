//! Getting in: without a right to, and by halves.

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::scene::{Condition, Scene, scaled};
use crate::support::{
    DEADLINE, Heard, Person, Protocol, RawStream, Server, Settings, anonymous, assert_is_standard_error, full_scale,
    http_client,
};

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
            let mut request = http_client().get(format!("{url}/api/messenger/events"));
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
    let http = http_client();
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

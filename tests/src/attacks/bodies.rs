//! Bodies that never come, and requests that aren't clear.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::neighbour;
use crate::support::{
    DEADLINE, PASSWORD, Person, Server, Settings, World, anonymous, assert_is_standard_error, eventually,
    http_client_from,
};

/// Begins a request and doesn't end it.
async fn stall(person: &Person, token: &str, length: usize) -> TcpStream {
    let address = person.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/messenger/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_that_never_come_keep_no_other_from_being_read() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let mallory = world.person(&alice.business, "Mallory").await;
    let gone = world.log_in(&alice.business, "Mallory").await;
    gone.post("/api/messenger/auth/logout", Value::Null).await.expect(200);
    let mut held = vec![];
    for token in [&gone.token, &mallory.token] {
        for _ in 0..32 {
            held.push(stall(&alice, token, 70_000).await);
        }
    }
    // 108 kB.
    let content = "👋".repeat(9_000);
    let body = json!({"recipientId": bob.id, "content": content, "type": "text"}).to_string();
    let padded = format!("{}{}", " ".repeat(72_000), body);
    let request = alice.http.post(format!("{}/api/messenger/messages", alice.url)).bearer_auth(&alice.token);
    let request = request.header("content-type", "application/json").body(padded);
    let answer = tokio::time::timeout(DEADLINE / 3, request.send()).await;
    assert_eq!(answer.expect("at once").unwrap().status(), 201);
    drop(held);
}

#[tokio::test]
async fn a_token_that_is_over_is_told_so_however_large_the_body_is() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    alice.post("/api/messenger/auth/logout", Value::Null).await.expect(200);
    let body = json!({"recipientId": bob.id, "content": "x".repeat(70_000)});
    alice.post("/api/messenger/messages", body).await.expect_error(401, "UNAUTHORIZED");
    drop(world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_bodies_that_never_come_are_bounded_for_an_address_and_a_session() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let (nina, ned) = neighbour(&world).await;
    let mut held = vec![];
    for _ in 0..400 {
        held.push(stall(&alice, &alice.token, 60_000).await);
    }
    eventually("as many are read as may be", async || alice.send_text(&bob, "one more").await.status == 429).await;
    alice.send_text(&bob, "one more").await.expect_error(429, "RATE_LIMIT");
    nina.send_text(&ned, "somebody else").await.expect(201);
    drop(held);
}

/// Sends a request as it is; the status and the body of the answer.
async fn raw(url: &str, request: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![];
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let world = World::start().await;
    for host in ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nHost: b\r\n", "Host: \u{e9}\r\n"] {
        let request = format!("GET /api/messenger/me HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        let (status, body) = raw(&world.server.url, &request).await;
        assert_eq!(status, 400, "{host:?}");
        assert_is_standard_error(&body, 400, "VALIDATION_ERROR");
    }
    let (status, _) = raw(&world.server.url, "GET /healthz HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status, 200);
    assert_eq!(raw(&world.server.url, "GET /healthz HTTP/1.0\r\n\r\n").await.0, 200);
}

/// A page at `http://evil.example:8080`, whose name leads here.
#[tokio::test]
async fn a_page_whose_name_leads_here_is_a_page_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        env: vec![("SWITCHBOARD_DATA_DIR", dir.path().join("data").display().to_string())],
        args: vec!["--demo"],
        ..Settings::default()
    };
    let demo = Server::run(&settings).await.unwrap_or_else(|lines| panic!("{lines:?}"));
    let port = demo.url.rsplit(':').next().unwrap();
    let evil = format!("evil.example:{port}");
    let ask = async |method: &str, host: &str, origin: &str| {
        let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let request = format!("{method} /healthz HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: close\r\n\r\n");
        raw(&demo.url, &request).await.0
    };
    assert_eq!(ask("GET", &evil, "").await, 400);
    assert_eq!(ask("GET", &evil, &format!("http://{evil}")).await, 400);
    for own in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        assert_eq!(ask("GET", &own, "").await, 200);
        assert_eq!(ask("GET", &own, &format!("http://{own}")).await, 200);
        assert_eq!(ask("GET", &own, &format!("http://{evil}")).await, 403);
    }
    let world = World::start().await;
    let port = world.server.url.rsplit(':').next().unwrap();
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: evil.example:{port}\r\nOrigin: http://evil.example:{port}\r\nConnection: close\r\n\r\n"
    );
    let (status, body) = raw(&world.server.url, &request).await;
    assert_eq!(status, 403);
    assert!(body["error"].as_str().unwrap().contains("SWITCHBOARD_ALLOWED_ORIGINS"), "{body}");
}

#[tokio::test]
async fn a_body_that_is_encoded_is_refused() {
    let (_world, alice, bob) = World::with_alice_and_bob().await;
    let body = json!({"recipientId": bob.id, "content": "hi"});
    for (encoding, status) in [("gzip", 415), ("br, gzip", 415), ("identity", 201)] {
        let headers = [("content-encoding", encoding)];
        let answer = alice.request(Method::POST, "/api/messenger/messages", Some(body.clone()), &headers).await;
        assert_eq!(answer.status, status, "{encoding}: {}", answer.body);
    }
}

#[tokio::test]
async fn paths_that_are_not_there_are_counted_too() {
    let world = World::with(vec![("SWITCHBOARD_API_RATE_LIMIT", "20".to_owned())]).await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let mut statuses = vec![];
    for n in 0..30 {
        statuses.push(alice.get(&format!("/api/nothing/{n}")).await.status.as_u16());
    }
    assert!(statuses.contains(&404) && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn what_operators_ask_is_counted_when_anybody_asks_it() {
    let world = World::with(vec![("SWITCHBOARD_ADDRESS_RATE_LIMIT", "60".to_owned())]).await;
    for path in ["/metrics", "/readyz"] {
        let mut statuses = vec![];
        for _ in 0..70 {
            statuses.push(anonymous(&world.server.url, Method::GET, path, None).await.status.as_u16());
        }
        assert!(statuses.contains(&429), "{path}: {statuses:?}");
    }
    anonymous(&world.server.url, Method::GET, "/healthz", None).await.expect(200);
}

#[tokio::test]
async fn whoever_may_not_open_a_stream_is_counted_for_asking() {
    let settings = vec![
        ("SWITCHBOARD_FORCE_PASSWORD_CHANGE", "true".to_owned()),
        ("SWITCHBOARD_ADDRESS_RATE_LIMIT", "30".to_owned()),
    ];
    let world = World::with(settings).await;
    let acme = world.business("Acme").await;
    world.create(&acme, "Alice", "BUSINESS_USER").await;
    let login = json!({"email": "alice@example.com", "password": PASSWORD, "businessId": acme.id});
    let alice = anonymous(&world.server.url, Method::POST, "/api/messenger/auth/login", Some(login)).await.expect(200);
    let http = http_client_from("127.0.0.2");
    let mut statuses = vec![];
    for _ in 0..40 {
        let asked = http.get(format!("{}/api/messenger/events", world.server.url));
        let asked = asked.bearer_auth(alice.body["token"].as_str().unwrap());
        statuses.push(asked.send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses[0], 403, "the password has to be changed first");
    assert!(statuses.contains(&429), "{statuses:?}");
}

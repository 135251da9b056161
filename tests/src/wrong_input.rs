//! Whatever comes in that is wrong gets the standard error, and nothing is appended.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, PASSWORD, Person, World, anonymous, http_client};

const MESSAGES: &str = "/api/messenger/messages";

async fn raw(
    person: &Person,
    method: Method,
    path: &str,
    content_type: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let mut request =
        http_client().request(method, format!("{}{path}", person.url)).bearer_auth(&person.token).body(body);
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    Answer::of(request.send().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn messages_that_are_wrong_are_refused_and_nothing_is_appended() {
    let world = World::start().await;
    let (acme, globex) = (world.business("Acme").await, world.business("Globex").await);
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let mallory = world.person(&globex, "Mallory").await;
    let suspended = world.person(&acme, "Sue").await;
    world.admin.post(&format!("/api/admin/users/{}/suspend", suspended.id), Value::Null).await.expect(200);
    let before = world.all_events().await;

    for (body, field) in [
        (json!({}), "recipientId"),
        (json!({"recipientId": bob.id}), "content"),
        (json!({"recipientId": bob.id, "content": ""}), "content"),
        (json!({"recipientId": bob.id, "content": " \n "}), "content"),
        (json!({"recipientId": bob.id, "content": "x".repeat(10_001)}), "content"),
        (json!({"recipientId": bob.id, "content": "x".repeat(1_000_000)}), "content"),
        (json!({"recipientId": bob.id, "content": "nul\0"}), "content"),
        (json!({"recipientId": bob.id, "content": "bell\u{7}"}), "content"),
        (json!({"recipientId": bob.id, "content": 5}), "content"),
        (json!({"recipientId": 5, "content": "x"}), "recipientId"),
        (json!({"recipientId": alice.id, "content": "to myself"}), "recipientId"),
        (json!({"recipientId": suspended.id, "content": "x"}), "recipientId"),
        (json!({"recipientId": bob.id, "content": "x", "type": "smell"}), "type"),
        (json!({"recipientId": bob.id, "content": "x", "attachments": "file"}), "attachments"),
        (json!({"recipientId": bob.id, "content": "x", "clientMessageId": ""}), "clientMessageId"),
        (json!({"recipientId": bob.id, "content": "x", "clientMessageId": "k".repeat(129)}), "clientMessageId"),
        (json!({"recipientId": bob.id, "content": "x", "colour": "red"}), "colour"),
    ] {
        let error = alice.post(MESSAGES, body.clone()).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.contains(field), "{field} should be named: {error}");
    }
    for stranger in [&mallory.id, "01900000-0000-7000-8000-000000000000", "nobody", ""] {
        let body = json!({"recipientId": stranger, "content": "x"});
        alice.post(MESSAGES, body).await.expect_error(404, "NOT_FOUND");
        let body = json!({"recipientId": bob.id, "content": "x", "attachments": [stranger]});
        alice.post(MESSAGES, body).await.expect_error(404, "NOT_FOUND");
        let body = json!({"recipientId": bob.id, "content": "x", "replyTo": stranger});
        alice.post(MESSAGES, body).await.expect_error(404, "NOT_FOUND");
    }
    let too_long = [("Idempotency-Key", "k".repeat(129))];
    let headers = [(too_long[0].0, too_long[0].1.as_str())];
    let fine = json!({"recipientId": bob.id, "content": "x"});
    alice.request(Method::POST, MESSAGES, Some(fine), &headers).await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(world.all_events().await, before);
    alice.post(MESSAGES, json!({"recipientId": bob.id, "content": "👋".repeat(10_000)})).await.expect(201);
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be_are_refused() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let before = world.all_events().await;
    let json_type = Some("application/json");
    for body in ["", "{", "[]", "null", "5", "\"x\"", "{\"recipientId\":}", "\u{feff}{}", "{\"a\":1,}", "\0"] {
        raw(&alice, Method::POST, MESSAGES, json_type, body).await.expect_error(422, "VALIDATION_ERROR");
    }
    raw(&alice, Method::POST, MESSAGES, json_type, b"\xff\xfe{}".to_vec()).await.expect_error(422, "VALIDATION_ERROR");
    let deep = "[".repeat(100_000);
    raw(&alice, Method::POST, MESSAGES, json_type, deep).await.expect_error(422, "VALIDATION_ERROR");
    for content_type in [None, Some("text/plain"), Some("application/xml"), Some("multipart/form-data"), Some("\"")] {
        raw(&alice, Method::POST, MESSAGES, content_type, "{}").await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let huge = vec![b' '; 3 * 1024 * 1024];
    raw(&alice, Method::POST, MESSAGES, json_type, huge.clone()).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    let chunks = huge.chunks(65_536).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    raw(&alice, Method::POST, MESSAGES, json_type, chunked).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(world.all_events().await, before);
}

#[tokio::test]
async fn large_bodies_are_for_those_who_have_a_token() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let before = world.all_events().await;
    // As long as it may be, and as long as it can be said.
    let long = format!(r#"{{"recipientId":"{}","content":"{}"}}"#, bob.id, r"\ud83d\udc4b".repeat(10_000));
    assert!(long.len() > 100 * 1024);
    let json_type = Some("application/json");
    let stranger = Person { token: "nonsense".to_owned(), ..alice.clone() };
    for path in [MESSAGES, "/api/messenger/auth/login", "/api/nowhere"] {
        raw(&stranger, Method::POST, path, json_type, long.clone()).await.expect_error(413, "PAYLOAD_TOO_LARGE");
        let chunks = long.as_bytes().chunks(10_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()));
        let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
        raw(&stranger, Method::POST, path, json_type, chunked).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    }
    let login = json!({"email": "a@example.com", "password": "x".repeat(100 * 1024)});
    let answer = anonymous(&world.server.url, Method::POST, "/api/admin/auth/login", Some(login)).await;
    answer.expect_error(413, "PAYLOAD_TOO_LARGE");
    raw(&stranger, Method::POST, MESSAGES, json_type, "{}").await.expect_error(401, "UNAUTHORIZED");
    assert_eq!(world.all_events().await, before);
    let sent = raw(&alice, Method::POST, MESSAGES, json_type, long).await.expect(201);
    assert_eq!(sent.body["message"]["content"], "👋".repeat(10_000));
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_get_the_standard_error() {
    let world = World::start().await;
    for path in ["/", "/nope", "/api", "/api/admin", "/api/messenger/messages/a/b", "/api/admin/users/x/y/z"] {
        world.admin.get(path).await.expect_error(404, "NOT_FOUND");
    }
    for (method, path) in [
        (Method::DELETE, "/api/messenger/messages"),
        (Method::PUT, "/api/admin/users"),
        (Method::GET, "/api/admin/auth/login"),
        (Method::POST, "/healthz"),
    ] {
        world.admin.request(method, path, None, &[]).await.expect_error(405, "METHOD_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn pages_that_do_not_exist_are_refused() {
    let world = World::start().await;
    for (query, field) in [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=x", "page"),
        ("page=99999999999", "page"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-5", "limit"),
    ] {
        for path in ["/api/admin/users", "/api/admin/businesses"] {
            let error = world.admin.get(&format!("{path}?{query}")).await.expect_error(422, "VALIDATION_ERROR");
            assert!(error.contains(field), "{error}");
        }
    }
    let beyond = world.admin.get("/api/admin/users?page=4294967295").await.expect(200);
    assert_eq!(beyond.body["users"], json!([]));
    let header = [("X-Min-Position", "soon")];
    world.admin.request(Method::GET, "/api/admin/users", None, &header).await.expect_error(422, "VALIDATION_ERROR");
}

#[tokio::test]
async fn people_and_businesses_that_are_wrong_are_refused_and_nothing_is_appended() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let before = world.all_events().await;
    let valid = json!({
        "email": "new@example.com", "name": "New", "password": PASSWORD, "role": "BUSINESS_USER", "businessId": acme.id,
    });
    for (field, value) in [
        ("email", json!("nobody")),
        ("email", json!("a@b\0")),
        ("email", json!(null)),
        ("name", json!("")),
        ("name", json!("two\nlines")),
        ("name", json!("x".repeat(201))),
        ("password", json!("short")),
        ("password", json!("x".repeat(129))),
        ("role", json!("KING")),
        ("role", json!("SYSTEM_AUDITOR")),
        ("avatar", json!("javascript:alert(1)")),
        ("isAdmin", json!(true)),
    ] {
        let mut body = valid.clone();
        body[field] = value;
        let error = world.admin.post("/api/admin/users", body).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.contains(field), "{field} should be named: {error}");
    }
    for field in ["email", "name", "password", "role", "businessId"] {
        let mut body = valid.clone();
        body.as_object_mut().unwrap().remove(field);
        let error = world.admin.post("/api/admin/users", body).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.contains(field), "{field} should be named: {error}");
    }
    for id in ["nowhere", "01900000-0000-7000-8000-000000000000"] {
        let mut body = valid.clone();
        body["businessId"] = json!(id);
        world.admin.post("/api/admin/users", body).await.expect_error(404, "NOT_FOUND");
    }
    for name in [json!(""), json!("x".repeat(201)), json!(5), json!(null)] {
        world.admin.post("/api/admin/businesses", json!({"name": name})).await.expect_error(422, "VALIDATION_ERROR");
    }
    let system = format!("/api/admin/businesses/{}/suspend", world.admin.business.id);
    world.admin.post(&system, Value::Null).await.expect_error(409, "CONFLICT");
    assert_eq!(world.all_events().await, before);
}

#[tokio::test]
async fn a_login_that_fails_says_the_same_whatever_is_wrong() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    world.create(&acme, "John", "BUSINESS_USER").await;
    let before = world.all_events().await;
    let log_in = async |email: &str, password: &str, business: &str| {
        let body = json!({"email": email, "password": password, "businessId": business});
        anonymous(&world.server.url, Method::POST, "/api/messenger/auth/login", Some(body)).await
    };
    let wrong_password = log_in("john@example.com", "wrong", &acme.id).await;
    wrong_password.clone().expect_error(401, "UNAUTHORIZED");
    for answer in [
        log_in("nobody@example.com", PASSWORD, &acme.id).await,
        log_in("john@example.com", PASSWORD, "nonsense").await,
        log_in("john@example.com", PASSWORD, &world.admin.business.id).await,
        log_in("john@example.com", "", &acme.id).await,
        log_in("john@example.com", &"x".repeat(50_000), &acme.id).await,
    ] {
        assert_eq!((answer.status, answer.body), (wrong_password.status, wrong_password.body.clone()));
    }
    let as_admin = async |email: &str, password: &str| {
        let body = json!({"email": email, "password": password});
        anonymous(&world.server.url, Method::POST, "/api/admin/auth/login", Some(body)).await
    };
    for (email, password) in [("john@example.com", PASSWORD), ("nobody@example.com", PASSWORD), (ADMIN.0, "wrong")] {
        assert_eq!(as_admin(email, password).await.body, wrong_password.body, "{email}");
    }
    for body in [
        json!({}),
        json!({"email": "a@b"}),
        json!({"email": "a", "password": "x"}),
        json!({"email": "a@b", "password": "x", "y": 1}),
    ] {
        anonymous(&world.server.url, Method::POST, "/api/admin/auth/login", Some(body))
            .await
            .expect_error(422, "VALIDATION_ERROR");
    }
    assert_eq!(world.all_events().await, before);
}

#[tokio::test]
async fn tokens_that_are_wrong_are_refused() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let before = world.all_events().await;
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&alice.token).unwrap().claims;
    let mut header = jsonwebtoken::decode_header(&alice.token).unwrap();
    let foreign_key = jsonwebtoken::EncodingKey::from_secret(&[9; 32]);
    let forged = jsonwebtoken::encode(&header, &claims, &foreign_key).unwrap();
    header.kid = Some("2".to_owned());
    let foreign_kid = jsonwebtoken::encode(&header, &claims, &foreign_key).unwrap();
    let (unsigned, _) = alice.token.rsplit_once('.').unwrap();
    let (_, payload) = unsigned.split_once('.').unwrap();
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoiMSJ9.{payload}.");
    let of_bob = format!("{}.{}", unsigned, bob.token.rsplit_once('.').unwrap().1);
    for token in
        [forged, foreign_kid, none, unsigned.to_owned(), of_bob, String::new(), "x".repeat(5000), "Bearer".to_owned()]
    {
        let impostor = Person { token, ..alice.clone() };
        impostor.send_text(&bob, "it's me").await.expect_error(401, "UNAUTHORIZED");
    }
    assert_eq!(world.all_events().await, before);
}

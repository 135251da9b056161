//! The examples of the promised API: every documented key is there, with the documented type and status.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN, Business, PASSWORD, Person, World, anonymous};

/// Checks that `actual` has every key of `documented`, each with the documented type, all the way down.
#[track_caller]
fn assert_has(actual: &Value, documented: &Value) {
    match (actual, documented) {
        (Value::Object(actual), Value::Object(documented)) => {
            for (key, value) in documented {
                assert_has(actual.get(key).unwrap_or_else(|| panic!("{key} is missing in {actual:?}")), value);
            }
        }
        (Value::Array(actual), Value::Array(documented)) => {
            if let (Some(actual), Some(documented)) = (actual.first(), documented.first()) {
                assert_has(actual, documented);
            }
        }
        (Value::String(_), Value::String(_)) | (Value::Number(_), Value::Number(_)) => {}
        (actual, documented) => assert_eq!(actual, documented),
    }
}

/// RFC 3339 in UTC with milliseconds.
#[track_caller]
fn assert_is_time(value: &Value) {
    let text = value.as_str().unwrap();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

#[tokio::test]
async fn an_administrator_logs_in() {
    let world = World::start().await;
    let body = json!({"email": ADMIN.0, "password": ADMIN.1});
    let answer = anonymous(&world.server.url, Method::POST, "/api/admin/auth/login", Some(body)).await.expect(200);
    let documented = json!({
        "success": true, "token": "...",
        "user": {"id": "user_id", "email": "admin@example.com", "role": "SYSTEM_SUPER_ADMIN", "businessId": "business_id"},
    });
    assert_has(&answer.body, &documented);
    assert_eq!(answer.body["user"]["role"], "SYSTEM_SUPER_ADMIN");
    assert!(answer.body["refreshToken"].is_string());
    assert_is_time(&answer.body["expiresAt"]);
}

#[tokio::test]
async fn a_person_logs_in_at_the_messenger() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    world.create(&acme, "John", "BUSINESS_USER").await;
    let body = json!({"email": "John@Example.com", "password": PASSWORD, "businessId": acme.id});
    let answer = anonymous(&world.server.url, Method::POST, "/api/messenger/auth/login", Some(body)).await.expect(200);
    let documented = json!({
        "success": true, "token": "...",
        "user": {"id": "user_id", "email": "user@business.com", "name": "John Doe", "businessId": "business_id"},
    });
    assert_has(&answer.body, &documented);
    assert_eq!(answer.body["user"]["email"], "john@example.com");
    assert_eq!(answer.body["user"]["name"], "John");
}

#[tokio::test]
async fn a_message_is_sent_and_read_back() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let body = json!({"recipientId": bob.id, "content": "Hello! How are you?", "type": "text", "attachments": []});
    let sent = alice.post("/api/messenger/messages", body).await.expect(201);
    let documented = json!({
        "success": true,
        "message": {
            "id": "msg_id", "senderId": "your_id", "recipientId": "user_id", "content": "Hello! How are you?",
            "type": "text", "timestamp": "2025-11-22T10:30:00Z", "read": false,
        },
    });
    assert_has(&sent.body, &documented);
    assert_is_time(&sent.body["message"]["timestamp"]);
    assert_eq!(sent.body["message"]["senderId"], *alice.id);
    let path = format!("/api/messenger/messages/{}", sent.body["message"]["id"].as_str().unwrap());
    for reader in [&alice, &bob] {
        assert_eq!(reader.get(&path).await.expect(200).body, sent.body);
    }
}

#[tokio::test]
async fn users_are_created_and_listed() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let body = json!({
        "email": "newuser@business.com", "name": "Jane Smith", "password": PASSWORD, "role": "BUSINESS_ADMIN",
        "businessId": acme.id,
    });
    let created = world.admin.post("/api/admin/users", body).await.expect(201);
    let user = json!({
        "id": "new_user_id", "email": "newuser@business.com", "name": "Jane Smith", "role": "BUSINESS_ADMIN",
        "businessId": "business_id",
    });
    assert_has(&created.body, &json!({"success": true, "user": user}));
    let listed = world.admin.get(&format!("/api/admin/users?businessId={}", acme.id)).await.expect(200);
    assert_has(&listed.body, &json!({"success": true, "users": [user], "total": 45, "page": 1}));
    let user = &listed.body["users"][0];
    assert_eq!(user["avatar"], Value::Null, "the field is always there");
    assert_eq!(user["status"], "active");
    assert_is_time(&user["createdAt"]);
    assert_eq!((&listed.body["total"], &listed.body["page"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn users_are_listed_page_by_page() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    for n in 0..5 {
        world.create(&acme, &format!("Person{n}"), "BUSINESS_USER").await;
    }
    let mut names = vec![];
    for page in 1..=3 {
        let path = format!("/api/admin/users?businessId={}&limit=2&page={page}", acme.id);
        let answer = world.admin.get(&path).await.expect(200);
        assert_eq!((&answer.body["total"], &answer.body["page"]), (&json!(5), &json!(page)));
        names.extend(
            answer.body["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(names, ["Person0", "Person1", "Person2", "Person3", "Person4"]);
}

#[tokio::test]
async fn businesses_are_registered_listed_renamed_suspended_and_reactivated() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let john = world.person(&acme, "John").await;
    let path = format!("/api/admin/businesses/{}", acme.id);
    let listed = world.admin.get("/api/admin/businesses").await.expect(200);
    assert_eq!(listed.body["total"], 2, "the system business is one too");
    let renamed = world.admin.request(Method::PATCH, &path, Some(json!({"name": "Acme Ltd"})), &[]).await.expect(200);
    assert_eq!(renamed.body["business"]["name"], "Acme Ltd");
    assert_eq!(world.admin.get(&path).await.expect(200).body, renamed.body);

    world.admin.post(&format!("{path}/suspend"), json!(null)).await.expect(200);
    john.send_text(&john, "hello?").await.expect_error(401, "UNAUTHORIZED");
    let body = json!({"email": john.email, "password": PASSWORD, "businessId": acme.id});
    let log_in =
        async || anonymous(&world.server.url, Method::POST, "/api/messenger/auth/login", Some(body.clone())).await;
    log_in().await.expect_error(401, "UNAUTHORIZED");
    assert_eq!(world.admin.get(&path).await.expect(200).body["business"]["status"], "suspended");

    world.admin.post(&format!("{path}/reactivate"), json!(null)).await.expect(200);
    log_in().await.expect(200);
}

#[tokio::test]
async fn every_write_can_be_read_by_whoever_names_its_position() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let sent = alice.send_text(&bob, "now").await.expect(201);
    let position = sent.headers["x-position"].to_str().unwrap();
    let path = format!("/api/messenger/messages/{}", sent.body["message"]["id"].as_str().unwrap());
    let read = bob.request(Method::GET, &path, None, &[("X-Min-Position", position)]).await.expect(200);
    let at: u64 = read.headers["x-position"].to_str().unwrap().parse().unwrap();
    assert!(at >= position.parse().unwrap());
    let future = bob.request(Method::GET, &path, None, &[("X-Min-Position", "999999")]).await;
    future.expect_error(503, "UNAVAILABLE");
}

#[tokio::test]
async fn who_logs_out_is_out() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    alice.post("/api/messenger/auth/logout", json!(null)).await.expect(200);
    alice.send_text(&bob, "still here?").await.expect_error(401, "UNAUTHORIZED");
    world.log_in(&acme, "Alice").await.send_text(&bob, "back").await.expect(201);
}

#[tokio::test]
async fn an_administrator_of_several_businesses_says_which() {
    let world = World::start().await;
    let (acme, globex) = (world.business("Acme").await, world.business("Globex").await);
    for business in [&acme, &globex] {
        world.create(business, "Ann", "BUSINESS_ADMIN").await;
    }
    let log_in = async |business: Option<&Business>, password: &str| {
        let mut body = json!({"email": "ann@example.com", "password": password});
        if let Some(business) = business {
            body["businessId"] = json!(business.id);
        }
        anonymous(&world.server.url, Method::POST, "/api/admin/auth/login", Some(body)).await
    };
    assert!(log_in(None, PASSWORD).await.expect_error(409, "CONFLICT").contains("businessId"));
    assert_eq!(log_in(Some(&globex), PASSWORD).await.expect(200).body["user"]["businessId"], *globex.id);
    log_in(None, "wrong password").await.expect_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_restart_changes_nothing_about_who_may_log_in_and_who_has() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let world = world.kill_and_restart().await;
    // Tokens of before are still good: their key is in the database.
    let bob = world.person(&acme, "Bob").await;
    alice.at(&world.server.url).send_text(&bob, "hello").await.expect(201);
    Person::log_in(&world.server.url, &acme, "alice@example.com", PASSWORD).await;
}

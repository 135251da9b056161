//! Staying logged in.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Business, PASSWORD, Person, Requirement, Server, Socket, Transports, World, anonymous, is_installed,
};

async fn log_in(url: &str, business: &Business) -> Value {
    let body = json!({"email": "alice@example.com", "password": PASSWORD, "businessId": business.id});
    anonymous(url, Method::POST, "/api/messenger/auth/login", Some(body)).await.expect(200).body
}

async fn refresh(url: &str, api: &str, token: &Value) -> Answer {
    anonymous(url, Method::POST, &format!("/api/{api}/auth/refresh"), Some(json!({"refreshToken": token}))).await
}

#[tokio::test]
async fn a_refresh_token_is_traded_in_for_the_next_one_on_any_node_and_after_a_restart() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let other_node = Server::start(&world.database).await;
    let mut last = log_in(&world.server.url, &acme).await;
    for url in [&world.server.url, &other_node.url, &world.server.url] {
        let next = refresh(url, "messenger", &last["refreshToken"]).await.expect(200).body;
        assert_eq!(next["user"], last["user"]);
        assert_ne!(next["refreshToken"], last["refreshToken"]);
        last = next;
    }
    let world = world.kill_and_restart().await;
    let last = refresh(&world.server.url, "messenger", &last["refreshToken"]).await.expect(200).body;
    let alice = Person { token: last["token"].as_str().unwrap().to_owned(), ..alice.at(&world.server.url) };
    alice.get("/api/messenger/messages/none").await.expect_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_session_and_its_connections() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let first = log_in(&world.server.url, &acme).await;
    let thief = Person { token: first["token"].as_str().unwrap().to_owned(), ..alice.clone() };
    let mut phone = None;
    if is_installed(Requirement::SocketIoClient) {
        phone = Some(Socket::connect(&thief, Transports::WebSocket).await);
    }
    let second = refresh(&world.server.url, "messenger", &first["refreshToken"]).await.expect(200).body;
    refresh(&world.server.url, "messenger", &first["refreshToken"]).await.expect_error(401, "UNAUTHORIZED");
    refresh(&world.server.url, "messenger", &second["refreshToken"]).await.expect_error(401, "UNAUTHORIZED");
    thief.get("/api/messenger/messages/none").await.expect_error(401, "UNAUTHORIZED");
    if let Some(phone) = &mut phone {
        phone.expect("disconnect").await;
    }
    alice.get("/api/messenger/messages/none").await.expect_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused_and_changes_nothing() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    world.person(&acme, "Alice").await;
    let login = log_in(&world.server.url, &acme).await;
    let good = login["refreshToken"].as_str().unwrap();
    let [session, generation, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let before = world.all_events().await;
    for forged in [
        String::new(),
        "nonsense".to_owned(),
        format!("{session}.2.{signature}"),
        format!("{session}.0.{signature}"),
        format!("{session}.{generation}.{}", "0".repeat(64)),
        format!("{session}.{generation}"),
        format!("{good}.x"),
        format!("{}.{generation}.{signature}", uuid::Uuid::nil().simple()),
        login["token"].as_str().unwrap().to_owned(),
    ] {
        refresh(&world.server.url, "messenger", &json!(forged)).await.expect_error(401, "UNAUTHORIZED");
    }
    refresh(&world.server.url, "admin", &json!(good)).await.expect_error(401, "UNAUTHORIZED");
    refresh(&world.server.url, "messenger", &json!(5)).await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(world.all_events().await, before);
    refresh(&world.server.url, "messenger", &json!(good)).await.expect(200);
}

#[tokio::test]
async fn who_is_suspended_or_logged_out_stays_out() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let login = log_in(&world.server.url, &acme).await;
    let device = Person { token: login["token"].as_str().unwrap().to_owned(), ..alice.clone() };
    device.post("/api/messenger/auth/logout", json!(null)).await.expect(200);
    refresh(&world.server.url, "messenger", &login["refreshToken"]).await.expect_error(401, "UNAUTHORIZED");
    let login = log_in(&world.server.url, &acme).await;
    world.admin.post(&format!("/api/admin/users/{}/suspend", alice.id), json!(null)).await.expect(200);
    refresh(&world.server.url, "messenger", &login["refreshToken"]).await.expect_error(401, "UNAUTHORIZED");
}

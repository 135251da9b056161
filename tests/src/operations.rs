//! For operators: health, figures, logs, and the documents that are generated.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN, DEADLINE, PASSWORD, Server, Settings, World, anonymous, command};

#[tokio::test]
async fn health_readiness_and_figures_are_there() {
    let world = World::start().await;
    let get = async |path: &str| anonymous(&world.server.url, Method::GET, path, None).await.expect(200).body;
    assert_eq!(get("/healthz").await, json!({"status": "ok"}));
    let ready = get("/readyz").await;
    assert_eq!(ready["status"], "ready");
    assert!(ready["projections"]["messaging"]["lag"].is_u64(), "{ready}");
    let figures = get("/metrics").await;
    for name in [
        "switchboard_projection_position",
        "switchboard_projection_lag_positions",
        "switchboard_http_request_seconds",
        "switchboard_log_batch_events",
    ] {
        assert!(figures.as_str().unwrap().contains(name), "{name}");
    }
}

#[tokio::test]
async fn a_projection_that_stands_still_is_an_alert() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let ready = async || anonymous(&world.server.url, Method::GET, "/readyz", None).await;
    let pool = world.database.pool().await;
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE").execute(&mut *transaction).await.unwrap();
    alice.send_text(&bob, "nobody can read this yet").await.expect(201);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while ready().await.status == 200 {
        assert!(tokio::time::Instant::now() < deadline, "nobody is told");
    }
    let degraded = ready().await.expect(503).body;
    assert_eq!(
        (&degraded["status"], &degraded["projections"]["messaging"]["stalled"]),
        (&json!("degraded"), &json!(true))
    );
    assert_eq!(degraded["projections"]["people"]["stalled"], false);
    transaction.rollback().await.unwrap();
    while ready().await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "it doesn't recover");
    }
    pool.close().await;
}

#[tokio::test]
async fn the_explorer_needs_nothing_from_elsewhere() {
    let world = World::start().await;
    let page = anonymous(&world.server.url, Method::GET, "/docs", None).await.expect(200).body;
    let page = page.as_str().unwrap();
    assert!(page.contains("SwaggerUIBundle"));
    for tag in ["src=\"http", "href=\"http", "@import"] {
        assert!(!page.contains(tag), "{tag}");
    }
}

#[test]
fn the_committed_openapi_document_is_fresh() {
    let output = command().arg("openapi").output().unwrap();
    assert!(output.status.success());
    let now: Value = serde_json::from_slice(&output.stdout).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi.json");
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(now == committed, "openapi.json is stale: run `cargo run -- openapi > openapi.json`");
}

#[tokio::test]
async fn every_operation_is_documented_with_examples_and_errors() {
    let output = command().arg("openapi").output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let has_example = |media: &Value| {
        // Files are what they are.
        let is_file =
            |schema: &Value| schema["format"] == "binary" || schema["properties"]["file"]["format"] == "binary";
        if is_file(&media["schema"]) {
            return true;
        }
        let name = media["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        !media["example"].is_null() || !document["components"]["schemas"][name]["example"].is_null()
    };
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{name} has no summary");
            assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{name}");
            if let Some(content) = operation["requestBody"]["content"].as_object() {
                assert!(content.values().all(has_example), "{name} has no example of a request");
            }
            let responses = operation["responses"].as_object().unwrap();
            for status in ["401", "422", "500", "503"] {
                assert!(responses.contains_key(status), "{name} doesn't say when it answers {status}");
            }
            for (status, response) in responses {
                let content = response["content"].as_object();
                assert!(
                    status == "304" || content.is_some_and(|content| content.values().all(has_example)),
                    "{name} has no example of a {status}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_log_holds_no_secret_and_no_personal_data() {
    let database = crate::support::Database::create().await;
    let loud = ("SWITCHBOARD_LOG", "trace".to_owned());
    let json_lines = ("SWITCHBOARD_LOG_FORMAT", "json".to_owned());
    let server = Server::start_with(&database, Settings { env: vec![loud, json_lines], ..Settings::default() }).await;
    let world = World::around(database, server).await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    alice.send_text(&bob, "the-content-of-it").await.expect(201);
    alice.get(&format!("/api/messenger/messages/x?token={}", alice.token)).await;
    let body = json!({"email": alice.email, "password": "the-wrong-password", "businessId": acme.id});
    anonymous(&world.server.url, Method::POST, "/api/messenger/auth/login", Some(body)).await.expect(401);
    world.server.signal("TERM");
    let mut lines = world.server.lines();
    while !lines.iter().any(|line| line.contains("stopping")) {
        tokio::task::yield_now().await;
        lines = world.server.lines();
    }
    let lines: Vec<String> = lines.into_iter().filter(|line| line.starts_with('{')).collect();
    assert!(lines.len() > 5, "the log is loud: {lines:?}");
    let secrets = [
        ADMIN.0,
        ADMIN.1,
        PASSWORD,
        "the-wrong-password",
        "the-content-of-it",
        &alice.token,
        &bob.token,
        &alice.email,
        "$argon2id",
    ];
    for line in &lines {
        for secret in secrets {
            assert!(!line.contains(secret), "{secret} is in the log: {line}");
        }
    }
}

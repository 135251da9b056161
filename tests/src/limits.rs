//! The contract's limits, at their real size.

use reqwest::Method;
use serde_json::json;

use crate::support::{Database, PASSWORD, Server, Settings, World, anonymous};

async fn limited() -> World {
    let database = Database::create().await;
    let env =
        vec![("SWITCHBOARD_AUTH_RATE_LIMIT", "100".to_owned()), ("SWITCHBOARD_API_RATE_LIMIT", "1000".to_owned())];
    let server = Server::start_with(&database, Settings { env, ..Settings::default() }).await;
    World::around(database, server).await
}

#[tokio::test]
async fn a_thousand_requests_of_a_session_pass_and_more_are_told_when_to_come_back() {
    let world = limited().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let path = "/api/messenger/messages/none";
    let began = std::time::Instant::now();
    let mut refused = None;
    for n in 0..2000 {
        let answer = alice.get(path).await;
        if answer.status == 429 {
            // What was refilled meanwhile passes too.
            let refilled = began.elapsed().as_secs_f64() * 1000.0 / 60.0;
            assert!(n >= 1000 && f64::from(n) <= 1001.0 + refilled, "{n} passed");
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    refused.expect_error(429, "RATE_LIMIT");
    bob.get(path).await.expect_error(404, "NOT_FOUND");
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    alice.get(path).await.expect_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_flood_on_one_account_locks_out_no_other() {
    let world = limited().await;
    let acme = world.business("Acme").await;
    for name in ["Alice", "Bob"] {
        world.create(&acme, name, "BUSINESS_USER").await;
    }
    let log_in = async |email: &str, password: &str| {
        let body = json!({"email": email, "password": password, "businessId": acme.id});
        anonymous(&world.server.url, Method::POST, "/api/messenger/auth/login", Some(body)).await
    };
    let mut passed = 0;
    // One account, whatever the case.
    loop {
        let answer = log_in(["alice@example.com", "ALICE@Example.com"][passed % 2], "wrong").await;
        if answer.status == 429 {
            answer.expect_error(429, "RATE_LIMIT");
            break;
        }
        answer.expect_error(401, "UNAUTHORIZED");
        passed += 1;
        assert!(passed < 1000, "the flood is not stopped");
    }
    assert!(passed >= 100, "{passed}");
    log_in("bob@example.com", PASSWORD).await.expect(200);
}

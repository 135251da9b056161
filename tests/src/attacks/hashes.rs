//! Passwords: each takes a processor for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::neighbour;
use crate::support::{Answer, PASSWORD, Person, World, eventually, full_scale, http_client_from};

const LOGIN: &str = "/api/messenger/auth/login";

async fn log_in(http: &reqwest::Client, url: &str, login: &Value) -> Answer {
    Answer::of(http.post(format!("{url}{LOGIN}")).json(login).send().await.unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logins_from_one_address_delays_nobody_at_another() {
    let world = World::start().await;
    let (nina, _) = neighbour(&world).await;
    let acme = world.business("Acme").await;
    let count = if full_scale() { 560 } else { 300 };
    let http = http_client_from("127.0.0.2");
    let (answered, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut flood = JoinSet::new();
    for n in 0..count {
        let login = json!({"email": format!("nobody{n}@example.com"), "password": "wrong", "businessId": acme.id});
        let (http, url, answered, refused) =
            (http.clone(), world.server.url.clone(), answered.clone(), refused.clone());
        flood.spawn(async move {
            let answer = log_in(&http, &url, &login).await;
            if answer.status == 429 {
                answer.expect_error(429, "RATE_LIMIT");
                refused.fetch_add(1, Ordering::Relaxed);
            } else {
                answer.expect_error(401, "UNAUTHORIZED");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    eventually("as many wait as may", async || refused.load(Ordering::Relaxed) > 0).await;
    let before = answered.load(Ordering::Relaxed);
    let right = json!({"email": nina.email, "password": PASSWORD, "businessId": nina.business.id});
    for address in ["127.0.0.3", "127.0.0.4"] {
        log_in(&http_client_from(address), &world.server.url, &right).await.expect(200);
    }
    let meanwhile = answered.load(Ordering::Relaxed) - before;
    assert!(meanwhile < 90, "{meanwhile} of the flood were answered before two others");
    flood.join_all().await;
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered >= 128, "{answered}: as many as may wait are answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn password_resets_by_one_administrator_delay_no_other_tenant_and_all_take_place() {
    let world = World::start().await;
    let (nina, _) = neighbour(&world).await;
    let acme = world.business("Acme").await;
    world.create(&acme, "Adam", "BUSINESS_ADMIN").await;
    let adam = Person::log_in_as_admin(&world.server.url, "adam@example.com", PASSWORD).await;
    let bob = world.create(&acme, "Bob", "BUSINESS_USER").await;
    let count = if full_scale() { 900 } else { 150 };
    let done = Arc::new(AtomicUsize::new(0));
    let mut resets = JoinSet::new();
    for n in 0..count {
        let (adam, path, done) = (adam.clone(), format!("/api/admin/users/{bob}/password"), done.clone());
        resets.spawn(async move {
            let answer = adam.post(&path, json!({"password": format!("another one {n}")})).await;
            done.fetch_add(1, Ordering::Relaxed);
            answer.status
        });
    }
    eventually("some are done", async || done.load(Ordering::Relaxed) > 5).await;
    let before = done.load(Ordering::Relaxed);
    let began = std::time::Instant::now();
    world.log_in(&nina.business, "Nina").await;
    println!("a login of another tenant took {:?}", began.elapsed());
    let meanwhile = done.load(Ordering::Relaxed) - before;
    assert!(meanwhile < 75, "{meanwhile} resets were done before a login of another tenant");
    let statuses = resets.join_all().await;
    // They contradict each other, but none is refused for being one of many.
    let allowed = |status: &StatusCode| matches!(status.as_u16(), 200 | 409);
    assert!(statuses.iter().all(allowed), "{statuses:?}");
}

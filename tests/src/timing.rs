//! What the time that an answer takes gives away: nothing about who has an account.

use std::time::Instant;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{World, anonymous, full_scale, http_client, ten_minutes};

/// How many of each kind are compared.
fn tries() -> u32 {
    if ten_minutes() {
        1000
    } else if full_scale() {
        200
    } else {
        50
    }
}

/// Times of two kinds of attempts, in milliseconds.
#[derive(Default)]
struct Times {
    known: Vec<f64>,
    unknown: Vec<f64>,
}

impl Times {
    /// Says how the two compare: their medians, and z of the rank test by Mann and Whitney. Below 2 or so it is chance.
    fn compare(&self, what: &str) -> (f64, f64) {
        let (known, unknown) = (median(&self.known), median(&self.unknown));
        let (z, n) = (z(&self.known, &self.unknown), self.known.len());
        eprintln!("{what}: {n} each, medians {known:.2} ms known and {unknown:.2} ms unknown, z = {z:.2}");
        (known, unknown)
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// How many standard deviations the sum of ranks of `one` is away from what it would be if both were alike. Ties don't matter
/// where times are measured in nanoseconds.
fn z(one: &[f64], other: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        one.iter().map(|time| (*time, true)).chain(other.iter().map(|t| (*t, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ranks = (1_u32..).zip(&all).filter(|(_, (_, is_one))| *is_one).map(|(rank, _)| f64::from(rank));
    let count = |times: &[f64]| f64::from(u32::try_from(times.len()).unwrap());
    let (n, m) = (count(one), count(other));
    let u = ranks.sum::<f64>() - n * (n + 1.0) / 2.0;
    (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

/// One attempt: what is answered, and after how long.
async fn attempt(http: &Client, url: &str, body: &Value) -> (StatusCode, String, f64) {
    let request = http.post(url).json(body);
    let began = Instant::now();
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    (status, text, began.elapsed().as_secs_f64() * 1000.0)
}

/// Accounts of each role that log in somewhere.
const ACCOUNTS: u32 = 10;

#[tokio::test]
async fn a_wrong_password_and_an_unknown_email_are_answered_alike_and_after_the_same_time() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    for n in 0..ACCOUNTS {
        world.create(&acme, &format!("User{n}"), "BUSINESS_USER").await;
        world.create(&acme, &format!("Admin{n}"), "BUSINESS_ADMIN").await;
    }
    let http = http_client();
    for (what, api, name, business) in [
        ("messenger", "messenger", "user", Some(&acme.id)),
        ("admin, of a business", "admin", "admin", Some(&acme.id)),
        ("admin, by the email alone", "admin", "admin", None),
        ("admin, somebody who may not administer", "admin", "user", None),
    ] {
        let url = format!("{}/api/{api}/auth/login", world.server.url);
        let body = |email: String| match business {
            Some(id) => json!({"email": email, "password": "a wrong one", "businessId": id}),
            None => json!({"email": email, "password": "a wrong one"}),
        };
        let known = |n| body(format!("{name}{}@example.com", n % ACCOUNTS));
        let unknown = |n| body(format!("{name}{}@example.net", n % ACCOUNTS));
        must_take_as_long(what, &http, &url, tries(), known, unknown).await;
    }
}

/// Measurements that must agree before two kinds of logins are said to take differently long: something else that the machine does
/// may slow one down, and a difference that gives something away is there each time.
const MEASUREMENTS: usize = 3;

/// Tries to log in to accounts that are there and others that aren't, by turns: both have to be answered in the same words, and
/// after the same time.
async fn must_take_as_long(
    what: &str,
    http: &Client,
    url: &str,
    tries: u32,
    known: impl Fn(u32) -> Value,
    unknown: impl Fn(u32) -> Value,
) {
    let mut ratios = vec![];
    for _ in 0..MEASUREMENTS {
        let (mut times, mut answers) = (Times::default(), vec![]);
        // The first ones are slower, whoever they are for.
        for n in 0..tries + 5 {
            let (known, unknown) = (known(n), unknown(n));
            // By turns, or whatever comes second would be the warmer one.
            let pairs =
                if n % 2 == 0 { [(true, &known), (false, &unknown)] } else { [(false, &unknown), (true, &known)] };
            for (is_known, body) in pairs {
                let (status, text, took) = attempt(http, url, body).await;
                answers.push((status, text));
                if n >= 5 {
                    if is_known { &mut times.known } else { &mut times.unknown }.push(took);
                }
            }
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "they are answered in different words: {answers:?}");
        assert_eq!(answers[0].0, 401, "{answers:?}");
        let (known, unknown) = times.compare(what);
        if (0.8..1.25).contains(&(known / unknown)) {
            return;
        }
        ratios.push(known / unknown);
    }
    panic!("{what}: whoever is known is answered after {ratios:.2?} times as long");
}

#[tokio::test]
async fn an_email_that_administers_several_businesses_is_not_given_away_by_the_time_it_takes() {
    let world = World::start().await;
    for n in 0..4 {
        let business = world.business(&format!("Business {n}")).await;
        world.create(&business, "Twin", "BUSINESS_ADMIN").await;
    }
    let http = http_client();
    let url = format!("{}/api/admin/auth/login", world.server.url);
    let body = |email: &str| json!({"email": email, "password": "a wrong one"});
    let (known, unknown) = (|_| body("twin@example.com"), |_| body("twin@example.net"));
    must_take_as_long("admin of four businesses", &http, &url, 50, known, unknown).await;
}

#[tokio::test]
async fn whoever_is_refused_at_login_is_refused_in_the_same_words() {
    let world = World::start().await;
    let (acme, closed) = (world.business("Acme").await, world.business("Closed").await);
    let sue = world.create(&acme, "Sue", "BUSINESS_ADMIN").await;
    world.create(&closed, "Carl", "BUSINESS_ADMIN").await;
    world.create(&acme, "Ann", "BUSINESS_ADMIN").await;
    world.create(&acme, "Uma", "BUSINESS_USER").await;
    world.admin.post(&format!("/api/admin/users/{sue}/suspend"), Value::Null).await.expect(200);
    world.admin.post(&format!("/api/admin/businesses/{}/suspend", closed.id), Value::Null).await.expect(200);
    let right = crate::support::PASSWORD;
    let nowhere = "01900000-0000-7000-8000-000000000000";
    let mut answers = vec![];
    for (api, email, password, business) in [
        ("messenger", "ann", "a wrong one", acme.id.as_str()),
        ("messenger", "nobody", right, &acme.id),
        ("messenger", "sue", right, &acme.id),
        ("messenger", "carl", right, &closed.id),
        ("messenger", "ann", right, &closed.id),
        ("messenger", "ann", right, nowhere),
        ("messenger", "ann", right, "nonsense"),
        ("messenger", "ann", right, ""),
        ("messenger", "ann", "", &acme.id),
        ("messenger", "ann", &"x".repeat(10_000), &acme.id),
        ("admin", "ann", "a wrong one", &acme.id),
        ("admin", "nobody", right, &acme.id),
        ("admin", "sue", right, &acme.id),
        ("admin", "carl", right, &closed.id),
        ("admin", "uma", right, &acme.id),
        ("admin", "ann", right, nowhere),
        ("admin", "ann", right, "nonsense"),
    ] {
        let body = json!({"email": format!("{email}@example.com"), "password": password, "businessId": business});
        let answer = anonymous(&world.server.url, Method::POST, &format!("/api/{api}/auth/login"), Some(body)).await;
        assert_eq!(answer.status, 401, "{email} at {api}: {}", answer.body);
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

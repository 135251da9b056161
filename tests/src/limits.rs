//! The contract's limits, at their real size.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::support::{
    Answer, Business, Heard, PASSWORD, Person, PlainSocket, Protocol, RawStream, Socket, Transports, World, anonymous,
    full_scale, http_client, ten_minutes,
};

const LOGIN: &str = "/api/messenger/auth/login";
const ME: &str = "/api/messenger/me";

async fn limited() -> World {
    limited_to("100", "0").await
}

/// A world with so many logins a minute for an account, and so many requests a minute from an address.
async fn limited_to(account: &str, address: &str) -> World {
    World::with(vec![
        ("SWITCHBOARD_AUTH_RATE_LIMIT", account.to_owned()),
        ("SWITCHBOARD_API_RATE_LIMIT", "1000".to_owned()),
        ("SWITCHBOARD_ADDRESS_RATE_LIMIT", address.to_owned()),
    ])
    .await
}

/// A password that is wrong, for an account that may exist or not.
fn attempt(business: &Business, email: &str) -> Value {
    json!({"email": email, "password": "a wrong one", "businessId": business.id})
}

/// Tries it, with these headers.
async fn try_to_log_in(http: &Client, url: &str, attempt: &Value, headers: &[(&str, &str)]) -> Answer {
    let mut request = http.post(format!("{url}{LOGIN}")).json(attempt);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await.unwrap()
}

/// How a client stands with a limit, as it is told: the limit, its quota, what is left of it, and the seconds until it is whole.
fn standing(answer: &Answer) -> (String, u64, u64, u64) {
    let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
    let (policy, limit) = (header("ratelimit-policy"), header("ratelimit"));
    let number = |text: &str, name: &str| -> u64 {
        text.split(';').find_map(|part| part.strip_prefix(name)).unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    };
    let name = limit.split(';').next().unwrap().to_owned();
    assert!(policy.starts_with(&name), "{policy} and {limit}");
    assert_eq!(number(&policy, "w="), 60);
    (name, number(&policy, "q="), number(&limit, "r="), number(&limit, "t="))
}

fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_thousand_requests_of_a_session_pass_and_more_are_told_when_to_come_back() {
    let world = limited().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let path = "/api/messenger/messages/none";
    let began = Instant::now();
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
    let wait = retry_after(&refused);
    refused.expect_error(429, "RATE_LIMIT");
    bob.get(path).await.expect_error(404, "NOT_FOUND");
    sleep(Duration::from_secs(wait)).await;
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

#[tokio::test]
async fn a_hundred_logins_of_an_account_pass_at_once_whatever_they_say() {
    let world = limited().await;
    let acme = world.business("Acme").await;
    world.create(&acme, "Alice", "BUSINESS_USER").await;
    let http = http_client();
    // The right password is counted as any other.
    let right = json!({"email": "alice@example.com", "password": PASSWORD, "businessId": acme.id});
    let tries = [right.clone(), attempt(&acme, "alice@example.com")];
    let began = Instant::now();
    let tries = iter(0..160).map(|n| try_to_log_in(&http, &world.server.url, &tries[n % 2], &[])).buffer_unordered(16);
    let answers: Vec<Answer> = tries.collect().await;
    // What was refilled meanwhile passes too.
    let refilled = began.elapsed().as_secs_f64() * 100.0 / 60.0;
    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 401 | 429)));
    let passed = u32::try_from(answers.len() - refused.len()).unwrap();
    assert!(passed >= 100 && f64::from(passed) <= 101.0 + refilled, "{passed} passed, {refilled:.1} were refilled");
    let wait = retry_after(refused.last().expect("some were too many"));
    sleep(Duration::from_secs(wait)).await;
    try_to_log_in(&http, &world.server.url, &right, &[]).await.expect(200);
}

#[tokio::test]
async fn who_waits_as_long_as_they_are_told_is_admitted_once_and_not_a_second_before() {
    // One in five seconds.
    let world = limited_to("12", "0").await;
    let acme = world.business("Acme").await;
    let http = http_client();
    let wrong = attempt(&acme, "alice@example.com");
    let mut refused = loop {
        let answer = try_to_log_in(&http, &world.server.url, &wrong, &[]).await;
        if answer.status == 429 {
            break answer;
        }
    };
    for _ in 0..2 {
        let told = Instant::now();
        let wait = retry_after(&refused);
        assert!((1..=5).contains(&wait), "{wait}");
        assert_eq!(standing(&refused), ("\"account\"".to_owned(), 12, 0, wait));
        refused.expect_error(429, "RATE_LIMIT");
        // Whole seconds: up to one too many.
        if wait > 2 {
            sleep_until(told + Duration::from_millis(wait * 1000 - 2000)).await;
            try_to_log_in(&http, &world.server.url, &wrong, &[]).await.expect_error(429, "RATE_LIMIT");
        }
        sleep_until(told + Duration::from_secs(wait)).await;
        try_to_log_in(&http, &world.server.url, &wrong, &[]).await.expect_error(401, "UNAUTHORIZED");
        refused = try_to_log_in(&http, &world.server.url, &wrong, &[]).await.clone();
        assert_eq!(refused.status, 429, "one, and no more: {}", refused.body);
    }
}

#[tokio::test]
async fn every_answer_says_how_its_client_stands() {
    let world = limited_to("12", "600").await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let http = http_client();
    let first = alice.get(ME).await.expect(200);
    let (name, quota, remaining, reset) = standing(&first);
    assert_eq!((name.as_str(), quota, remaining, reset), ("\"session\"", 1000, 999, 1));
    assert!(!first.headers.contains_key("retry-after"));
    // What is refused for another reason is counted all the same.
    let burst: Vec<_> = iter(0..99).map(|_| alice.get("/api/messenger/messages/none")).buffered(8).collect().await;
    let (_, _, remaining, reset) = standing(burst.last().unwrap());
    assert!((899..=999).contains(&remaining) && (1..=6).contains(&reset), "{remaining} in {reset} s");

    let mut last = u64::MAX;
    loop {
        let answer = try_to_log_in(&http, &world.server.url, &attempt(&acme, "nobody@example.com"), &[]).await;
        let (name, quota, remaining, reset) = standing(&answer);
        assert_eq!((name.as_str(), quota), ("\"account\"", 12));
        if answer.status == 429 {
            assert_eq!((remaining, reset), (0, retry_after(&answer)));
            break;
        }
        assert!(answer.status == 401 && remaining <= 11 && remaining <= last, "{remaining} after {last}");
        assert!(reset >= (12 - remaining) * 5 - 5 && reset <= (12 - remaining) * 5, "{remaining} in {reset} s");
        last = remaining;
    }
    let nobody = anonymous(&world.server.url, Method::GET, ME, None).await.expect(401);
    let (name, quota, remaining, _) = standing(&nobody);
    assert!(name == "\"address\"" && quota == 600 && remaining < 600, "{name} {quota} {remaining}");
}

/// Where tries from one address end: how many passed before, with these headers for each.
async fn tries_that_pass(world: &World, acme: &Business, headers: impl Fn(u32) -> Vec<(&'static str, String)>) -> u32 {
    let http = http_client();
    for n in 0..200 {
        let headers = headers(n);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let wrong = attempt(acme, &format!("person{n}@example.com"));
        let answer = try_to_log_in(&http, &world.server.url, &wrong, &headers).await;
        if answer.status == 429 {
            let (name, quota, remaining, reset) = standing(&answer);
            assert_eq!((name.as_str(), quota, remaining, reset), ("\"address\"", 60, 0, retry_after(&answer)));
            answer.expect_error(429, "RATE_LIMIT");
            return n;
        }
        answer.expect_error(401, "UNAUTHORIZED");
    }
    200
}

#[tokio::test]
async fn who_tries_one_password_at_many_accounts_is_slowed_down() {
    let world = limited_to("100", "60").await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let began = Instant::now();
    let passed = tries_that_pass(&world, &acme, |_| vec![]).await;
    assert!(f64::from(passed) <= 61.0 + began.elapsed().as_secs_f64(), "{passed} passed");
    assert!(passed >= 50, "{passed} passed");
    // Whoever says who they are is counted as that, and not here.
    for _ in 0..100 {
        alice.get(ME).await.expect(200);
    }
    // Nor does another way in stay open.
    for (method, path, body) in [
        (Method::POST, "/api/admin/auth/login", json!({"email": "x@example.com", "password": "x"})),
        (Method::POST, "/api/messenger/auth/refresh", json!({"refreshToken": "x"})),
        (Method::POST, "/api/admin/auth/refresh", json!({"refreshToken": "x"})),
    ] {
        // A second gives back one.
        let is_refused = iter(0..40)
            .map(|_| anonymous(&world.server.url, method.clone(), path, Some(body.clone())))
            .buffer_unordered(8)
            .any(async |answer| answer.status == 429)
            .await;
        assert!(is_refused, "{path}");
    }
}

#[tokio::test]
async fn who_tries_many_accounts_gets_no_further_by_pretending_to_have_a_token() {
    let world = limited_to("100", "60").await;
    let acme = world.business("Acme").await;
    let mut unlimited = vec![];
    for pretence in ["Bearer nonsense", "Basic eDp4", ""] {
        let began = Instant::now();
        let passed = tries_that_pass(&world, &acme, |_| vec![("Authorization", pretence.to_owned())]).await;
        if f64::from(passed) > 61.0 + began.elapsed().as_secs_f64() {
            unlimited.push(pretence);
        }
    }
    assert!(unlimited.is_empty(), "accounts may be tried without end with Authorization: {unlimited:?}");
}

#[tokio::test]
async fn a_forwarded_address_counts_for_nothing_unless_the_proxy_is_trusted() {
    let world = limited_to("100", "60").await;
    let acme = world.business("Acme").await;
    let began = Instant::now();
    let passed = tries_that_pass(&world, &acme, |n| vec![("X-Forwarded-For", format!("198.51.100.{n}"))]).await;
    assert!(f64::from(passed) <= 61.0 + began.elapsed().as_secs_f64(), "{passed} passed");
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_address_is_counted_by_itself_and_nobody_can_make_one_up() {
    let world = World::with(vec![
        ("SWITCHBOARD_ADDRESS_RATE_LIMIT", "60".to_owned()),
        ("SWITCHBOARD_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ])
    .await;
    let acme = world.business("Acme").await;
    let forwarded = |value: String| vec![("X-Forwarded-For", value)];
    let passed = tries_that_pass(&world, &acme, |n| forwarded(format!("198.51.100.{n}"))).await;
    assert_eq!(passed, 200, "they are as many addresses");
    // What the proxy has added comes last; what stands before it, its client has said.
    for spoofed in [
        |n| format!("198.51.101.{n}, 203.0.113.1"),
        |n| format!("203.0.113.{n},198.51.101.{n},  203.0.113.2  "),
        |n| format!("nonsense{n}, 203.0.113.3"),
        // A second proxy of ours, which isn't the client.
        |n| format!("198.51.101.{n}, 203.0.113.4, 127.0.0.1"),
        // One network of version 6.
        |n| format!("2001:db8::{n:x}"),
        // One address, from one port after the other.
        |n| format!("203.0.113.5:{}", 4000 + n),
        |n| format!("[2001:db8:1::1]:{}", 4000 + n),
    ] {
        let began = Instant::now();
        let passed = tries_that_pass(&world, &acme, |n| forwarded(spoofed(n))).await;
        let shown = spoofed(0);
        assert!(f64::from(passed) <= 61.0 + began.elapsed().as_secs_f64(), "{passed} passed as {shown}");
        assert!(passed >= 60, "{passed} passed as {shown}: they are counted with others");
    }
}

#[tokio::test]
async fn tokens_that_are_tried_are_counted_and_those_that_are_good_are_not() {
    let world = limited_to("100", "60").await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let guess = Person { token: "nonsense".to_owned(), ..alice.clone() };
    let refused: Vec<Answer> = iter(0..100).map(|_| guess.get(ME)).buffered(8).collect().await;
    assert!(refused.iter().all(|answer| matches!(answer.status.as_u16(), 401 | 429)));
    assert!(refused.iter().any(|answer| answer.status == 429), "somebody may try tokens without end");
    let began = Instant::now();
    for _ in 0..100 {
        alice.get(ME).await.expect(200);
    }
    // They have taken nothing from what is left for others at this address.
    let passed = iter(0..70).map(|_| guess.get(ME)).buffered(8);
    let passed = passed.filter(|answer| std::future::ready(answer.status == 401)).count().await;
    assert!(f64::from(u32::try_from(passed).unwrap()) <= 2.0 + began.elapsed().as_secs_f64(), "{passed} passed");
    let (http, wrong) = (http_client(), attempt(&acme, "alice@example.com"));
    let tries = iter(0..5).map(|_| try_to_log_in(&http, &world.server.url, &wrong, &[])).buffered(5);
    let answers: Vec<Answer> = tries.collect().await;
    assert!(answers.iter().any(|answer| answer.status == 429), "it is one limit");
}

#[tokio::test]
async fn who_pretends_to_have_a_token_is_counted_where_nothing_asks_for_one_too() {
    let world = limited_to("100", "60").await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let nowhere = "/api/nowhere";
    let passed = iter(0..100).map(|_| alice.get(nowhere)).buffered(8);
    assert!(passed.all(|answer| std::future::ready(answer.status == 404)).await, "whoever has one isn't");
    // It is whole but for its signature.
    let forged = format!("{}x", &alice.token[..alice.token.len() - 2]);
    for token in ["nonsense", &forged] {
        let guess = Person { token: token.to_owned(), ..alice.clone() };
        let began = Instant::now();
        let passed = iter(0..150).map(|_| guess.get(nowhere)).buffered(8);
        let passed = passed.filter(|answer| std::future::ready(answer.status != 429)).count().await;
        let refilled = began.elapsed().as_secs_f64();
        assert!(f64::from(u32::try_from(passed).unwrap()) <= 61.0 + refilled, "{passed} passed with {token}");
    }
}

/// What Socket.IO says to a client that polls and shows a token.
async fn connect_by_polling(http: &Client, url: &str, token: &str) -> String {
    let endpoint = format!("{url}/socket.io/?EIO=4&transport=polling");
    let open = http.get(&endpoint).send().await.unwrap().text().await.unwrap();
    let open: Value = serde_json::from_str(&open[1..]).unwrap();
    let session = format!("{endpoint}&sid={}", open["sid"].as_str().unwrap());
    let connect = format!("40{}", json!({"token": token}));
    assert_eq!(http.post(&session).body(connect).send().await.unwrap().status(), 200);
    loop {
        let packets = http.get(&session).send().await.unwrap().text().await.unwrap();
        // Between them come the engine's own.
        if let Some(packet) = packets.split('\u{1e}').find(|packet| packet.starts_with('4')) {
            return packet.to_owned();
        }
    }
}

/// The same, to one that needs no polling.
async fn connect_by_websocket(url: &str, token: &str) -> String {
    let stream = Protocol::SocketIo.open(url, &[]).await.unwrap();
    let mut stream = RawStream::over(stream, Protocol::SocketIo);
    stream.say(format!("40{}", json!({"token": token})));
    loop {
        match stream.next().await.expect("an answer") {
            Heard::Other(text) if text.starts_with('4') => return text,
            _ => {}
        }
    }
}

#[tokio::test]
async fn tokens_that_are_tried_over_socket_io_are_counted_for_the_address() {
    for is_polling in [true, false] {
        let world = limited_to("100", "60").await;
        let acme = world.business("Acme").await;
        let alice = world.person(&acme, "Alice").await;
        let (http, url) = (http_client(), &world.server.url);
        let connect = async |token: &str| {
            if is_polling {
                connect_by_polling(&http, url, token).await
            } else {
                connect_by_websocket(url, token).await
            }
        };
        let answers: Vec<String> = iter(0..150).map(|_| connect("nonsense")).buffered(8).collect().await;
        assert!(answers.iter().all(|answer| answer.starts_with("44{")), "{answers:?}");
        let refused = answers.iter().filter(|answer| answer.contains("Too many requests")).count();
        assert!(refused > 0, "tokens may be tried without end, polling: {is_polling}");
        let nobody: Vec<Answer> = iter(0..4).map(|_| anonymous(url, Method::GET, ME, None)).buffered(4).collect().await;
        assert!(nobody.iter().any(|answer| answer.status == 429), "it is one limit");
        assert!(connect(&alice.token).await.starts_with("40{"), "whoever has one gets in");
    }
}

#[tokio::test]
async fn tokens_that_are_tried_at_a_live_stream_are_counted_too() {
    let world = limited_to("100", "60").await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let guess = Person { token: "nonsense".to_owned(), ..alice.clone() };
    let mut uncounted = vec![];
    let refused: Vec<Answer> = iter(0..150).map(|_| guess.get("/api/messenger/events")).buffered(8).collect().await;
    if refused.iter().all(|answer| answer.status != 429) {
        uncounted.push("server-sent events");
    }
    let ticket = "/api/messenger/events?ticket=nonsense";
    let refused: Vec<Answer> =
        iter(0..150).map(|_| anonymous(&world.server.url, Method::GET, ticket, None)).buffered(8).collect().await;
    if refused.iter().all(|answer| answer.status != 429) {
        uncounted.push("tickets");
    }
    let refused = iter(0..150).map(|_| PlainSocket::open(&world.server.url, "", Some("nonsense"))).buffered(8);
    if !refused.any(|answer| std::future::ready(answer.err().is_some_and(|status| status == 429))).await {
        uncounted.push("WebSocket");
    }
    assert!(uncounted.is_empty(), "tokens may be tried without end as {uncounted:?}");
    alice.get(ME).await.expect(200);
    Socket::connect(&alice, Transports::WebSocket).await;
}

/// Where a session gets what it was promised, once its burst is used up: how long it is watched.
fn window() -> Duration {
    Duration::from_secs(if ten_minutes() {
        600
    } else if full_scale() {
        60
    } else {
        6
    })
}

#[tokio::test]
async fn a_session_that_always_asks_gets_a_thousand_a_minute() {
    let world = limited().await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let mut burst = iter(0..4000).map(|_| alice.get(ME)).buffered(16);
    while burst.next().await.is_some_and(|answer| answer.status == 200) {}
    drop(burst);
    // The first that is admitted from here on begins the window: at some time between when it was sent and when it was answered.
    let mut began = Instant::now();
    while alice.get(ME).await.status == 429 {
        sleep(Duration::from_millis(5)).await;
        began = Instant::now();
    }
    let (answered, mut admitted, mut refused, mut at_once) = (Instant::now(), 0_u32, 0_u32, 0_u32);
    let each = Duration::from_mins(1) / 1000;
    while began.elapsed() < window() {
        let asked = Instant::now();
        let answer = alice.get(ME).await;
        match answer.status.as_u16() {
            200 => {
                admitted += 1;
                assert!(each * (admitted - 1) <= began.elapsed(), "{admitted} in {:?}", began.elapsed());
            }
            429 => {
                refused += 1;
                let due = asked - answered;
                assert!(each * (admitted + 2) >= due, "after {due:?} {admitted} were admitted");
                // At once, if the moment has come while it was refused.
                assert!(retry_after(&answer) <= 1);
                at_once += u32::from(retry_after(&answer) == 0);
                sleep(Duration::from_millis(5)).await;
            }
            status => panic!("{status}: {}", answer.body),
        }
    }
    let took = began.elapsed();
    eprintln!("{admitted} admitted in {took:?}; {refused} refused, {at_once} told to retry at once");
    assert!(refused > 0, "it was asked more often than is admitted");
}

/// What a process keeps in memory, in MiB.
fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_that_are_tried_and_addresses_that_are_seen_are_not_kept() {
    let world = World::with(vec![
        ("SWITCHBOARD_AUTH_RATE_LIMIT", "100".to_owned()),
        ("SWITCHBOARD_ADDRESS_RATE_LIMIT", "600".to_owned()),
        ("SWITCHBOARD_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ])
    .await;
    let acme = world.business("Acme").await;
    // A slow hash is computed for each account.
    let (accounts, addresses) = if full_scale() { (1_000_u32, 10_000_u32) } else { (500, 5_000) };
    let (http, url) = (http_client(), &world.server.url);
    let address = |n: u32| format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255);
    let try_accounts = async |from: u32, to: u32| {
        let tries = iter(from..to).map(|n| {
            let wrong = attempt(&acme, &format!("{}person{n}@example.com", "long".repeat(40)));
            let (http, address) = (&http, address(n));
            async move { try_to_log_in(http, url, &wrong, &[("X-Forwarded-For", &address)]).await }
        });
        tries.buffer_unordered(8).for_each(async |answer| drop(answer.expect_error(401, "UNAUTHORIZED"))).await;
    };
    // Whatever is as large as it gets, like what hashing takes, is so afterwards.
    try_accounts(0, 100).await;
    let before = resident_mib(world.server.pid());
    let began = Instant::now();
    try_accounts(100, 100 + accounts).await;
    let seen = iter(0..addresses).map(|n| {
        let request = http.get(format!("{url}{ME}")).header("X-Forwarded-For", address(n));
        async move { request.send().await.unwrap().status() }
    });
    seen.buffer_unordered(8).for_each(async |status| assert_eq!(status, 401)).await;
    let took = began.elapsed().as_secs_f64();
    let after = resident_mib(world.server.pid());
    eprintln!("{accounts} accounts and {addresses} addresses in {took:.0} s: {before} MiB before, {after} MiB after");
    assert!(after < before + 48, "{before} MiB before, {after} MiB after");
}

#[tokio::test]
async fn who_leaves_before_they_are_answered_makes_nobody_else_wait() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    world.create(&acme, "Alice", "BUSINESS_USER").await;
    let log_in = async || {
        let began = Instant::now();
        world.log_in(&acme, "Alice").await;
        began.elapsed()
    };
    let usually = log_in().await.max(log_in().await);
    let wrong = attempt(&acme, "nobody@example.com");
    let leave = iter(0..1000).map(|_| {
        let request = http_client().post(format!("{}{LOGIN}", world.server.url)).json(&wrong);
        // Long enough to be heard, and shorter than those before it take.
        async move { drop(request.timeout(Duration::from_millis(50)).send().await) }
    });
    leave.buffer_unordered(60).count().await;
    let now = log_in().await;
    eprintln!("a login takes {now:?} after 1,000 who have left, and {usually:?} before");
    assert!(now < usually * 10, "a login takes {now:?} after 1,000 who have left, and {usually:?} before");
}

#[tokio::test]
async fn who_must_change_their_password_is_counted_as_everybody_else() {
    let world = World::with(vec![
        ("SWITCHBOARD_API_RATE_LIMIT", "20".to_owned()),
        ("SWITCHBOARD_FORCE_PASSWORD_CHANGE", "true".to_owned()),
    ])
    .await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let answers: Vec<Answer> = iter(0..100).map(|_| alice.get(ME)).buffered(8).collect().await;
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 403 | 429)));
    assert!(answers.iter().any(|answer| answer.status == 429), "whoever is refused may ask without end");
}

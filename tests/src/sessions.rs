//! Staying logged in.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Business, Devices, PASSWORD, Person, PlainSocket, Server, Socket, Transports, World, anonymous, eventually,
    http_client,
};

const SESSIONS: &str = "/api/messenger/sessions";
const NOWHERE: &str = "01900000-0000-7000-8000-000000000000";

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
    let mut phone = Socket::connect(&thief, Transports::WebSocket).await;
    let second = refresh(&world.server.url, "messenger", &first["refreshToken"]).await.expect(200).body;
    refresh(&world.server.url, "messenger", &first["refreshToken"]).await.expect_error(401, "UNAUTHORIZED");
    refresh(&world.server.url, "messenger", &second["refreshToken"]).await.expect_error(401, "UNAUTHORIZED");
    thief.get("/api/messenger/messages/none").await.expect_error(401, "UNAUTHORIZED");
    phone.expect("disconnect").await;
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

#[tokio::test]
async fn who_is_let_in_again_after_a_suspension_has_to_log_in_again() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let login = log_in(&world.server.url, &acme).await;
    let of_alice = |what: &str| format!("/api/admin/users/{}/{what}", alice.id);
    assert_eq!(sessions(&world.admin.get(&of_alice("sessions")).await.expect(200)).len(), 2);
    for what in ["suspend", "reactivate"] {
        world.admin.post(&of_alice(what), json!(null)).await.expect(200);
    }
    alice.get("/api/messenger/me").await.expect_error(401, "UNAUTHORIZED");
    assert_eq!(PlainSocket::open(&alice.url, "", Some(&alice.token)).await.err().unwrap(), 401);
    refresh(&world.server.url, "messenger", &login["refreshToken"]).await.expect_error(401, "UNAUTHORIZED");
    assert!(sessions(&world.admin.get(&of_alice("sessions")).await.expect(200)).is_empty());
    let again = world.log_in(&acme, "Alice").await;
    again.get("/api/messenger/me").await.expect(200);
    assert_eq!(sessions(&again.get(SESSIONS).await.expect(200)).len(), 1);
}

/// Logs somebody in on a device that calls itself something.
async fn log_in_with(url: &str, business: &Business, email: &str, user_agent: &[u8]) -> Person {
    let body = json!({"email": email, "password": PASSWORD, "businessId": business.id});
    let request = http_client().post(format!("{url}/api/messenger/auth/login")).json(&body);
    let request = request.header("User-Agent", reqwest::header::HeaderValue::from_bytes(user_agent).unwrap());
    let answer = Answer::of(request.send().await.unwrap()).await.unwrap().expect(200);
    Person::of(url, email, &answer)
}

/// The sessions that a list shows.
fn sessions(answer: &Answer) -> Vec<Value> {
    answer.body["sessions"].as_array().unwrap().clone()
}

/// The id of the session that somebody acts in.
async fn current(person: &Person) -> String {
    let listed = sessions(&person.get(SESSIONS).await.expect(200));
    let current: Vec<&Value> = listed.iter().filter(|session| session["current"] == true).collect();
    assert_eq!(current.len(), 1, "{listed:?}");
    current[0]["id"].as_str().unwrap().to_owned()
}

/// Waits until a token isn't taken any more. That is two seconds at most, unless the machine is too busy for its clock to count.
async fn expect_out(person: &Person) {
    let began = tokio::time::Instant::now();
    eventually("the token isn't taken", async || person.get("/api/messenger/me").await.status == 401).await;
    println!("the other node knew after {:?}", began.elapsed());
}

#[tokio::test]
async fn one_sees_ones_sessions_at_both_apis_the_latest_first_and_which_of_them_asks() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let url = &world.server.url;
    world.create(&acme, "Adam", "BUSINESS_ADMIN").await;
    world.person(&acme, "Bob").await;
    let phone = log_in_with(url, &acme, "adam@example.com", b"Phone/1 (X11)").await;
    let desk = Person::log_in_as_admin(url, "adam@example.com", PASSWORD).await;
    let odd = log_in_with(url, &acme, "adam@example.com", format!("  {}  ", "u".repeat(300)).as_bytes()).await;
    log_in_with(url, &acme, "adam@example.com", b"caf\xe9").await;

    let listed = phone.get(SESSIONS).await.expect(200);
    assert_eq!(listed.body["nextCursor"], Value::Null);
    let listed = sessions(&listed);
    let all = |name: &str| listed.iter().map(|session| session[name].clone()).collect::<Vec<_>>();
    assert_eq!(all("audience"), ["messenger", "messenger", "admin", "messenger"]);
    assert_eq!(all("userAgent"), [json!(null), json!("u".repeat(200)), json!(null), json!("Phone/1 (X11)")]);
    assert_eq!(all("current"), [false, false, false, true]);
    let started: Vec<String> = all("startedAt").iter().map(|at| at.as_str().unwrap().to_owned()).collect();
    assert!(started.is_sorted_by(|later, earlier| later >= earlier), "{started:?}");
    assert_eq!(sessions(&odd.get(SESSIONS).await.expect(200))[1]["current"], true);

    // Page by page it is the same.
    let (mut paged, mut cursor) = (vec![], String::new());
    loop {
        let page = phone.get(&format!("{SESSIONS}?limit=1{cursor}")).await.expect(200);
        assert_eq!(sessions(&page).len(), 1);
        paged.extend(sessions(&page));
        match page.body["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, listed);
    for query in ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=-1"] {
        phone.get(&format!("{SESSIONS}?{query}")).await.expect_error(422, "VALIDATION_ERROR");
    }
    // In the admin API it is the session of that API which asks.
    let seen = sessions(&desk.get(&format!("/api/admin/users/{}/sessions", desk.id)).await.expect(200));
    assert_eq!(seen.iter().map(|session| session["current"].clone()).collect::<Vec<_>>(), [false, false, true, false]);
}

#[tokio::test]
async fn a_session_that_is_refreshed_says_when_and_one_that_is_over_is_not_listed() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    let login = log_in(&world.server.url, &acme).await;
    assert_eq!(sessions(&alice.get(SESSIONS).await.expect(200))[0]["refreshedAt"], Value::Null);
    refresh(&world.server.url, "messenger", &login["refreshToken"]).await.expect(200);
    assert!(sessions(&alice.get(SESSIONS).await.expect(200))[0]["refreshedAt"].is_string());
    let device = Person { token: login["token"].as_str().unwrap().to_owned(), ..alice.clone() };
    device.post("/api/messenger/auth/logout", json!(null)).await.expect(200);
    let left = sessions(&alice.get(SESSIONS).await.expect(200));
    assert_eq!((left.len(), &left[0]["current"]), (1, &json!(true)));
}

#[tokio::test]
async fn who_ends_a_session_of_theirs_ends_its_tokens_and_streams_and_no_other() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let login = log_in(&world.server.url, &alice.business).await;
    let lost = Person { token: login["token"].as_str().unwrap().to_owned(), ..alice.clone() };
    let id = current(&lost).await;
    let devices = Devices::connect(&lost).await;
    let mut own = Devices::connect(&alice).await;

    let path = format!("{SESSIONS}/{id}");
    for foreign in [path.as_str(), &format!("{SESSIONS}/{NOWHERE}"), &format!("{SESSIONS}/nonsense")] {
        assert_eq!(bob.delete(foreign).await.expect_error(404, "NOT_FOUND"), "Session not found");
    }
    lost.get("/api/messenger/me").await.expect(200);

    alice.delete(&path).await.expect(200);
    devices.expect_closed("The session is over").await;
    lost.get("/api/messenger/me").await.expect_error(401, "UNAUTHORIZED");
    refresh(&world.server.url, "messenger", &login["refreshToken"]).await.expect_error(401, "UNAUTHORIZED");
    assert_eq!(PlainSocket::open(&lost.url, "", Some(&lost.token)).await.err().unwrap(), 401);
    assert!(sessions(&alice.get(SESSIONS).await.expect(200)).iter().all(|session| session["id"] != *id));
    own.expect_to_be_open(&bob, &alice).await;

    // What else happens meanwhile (somebody has been handed a message) is something else.
    let before = world.events("SessionRevoked").await;
    assert_eq!(alice.delete(&path).await.expect(200).body, json!({"success": true}));
    assert_eq!(world.events("SessionRevoked").await, before, "repeating it changes nothing");

    // The own one too, which is as good as logging out.
    alice.delete(&format!("{SESSIONS}/{}", current(&alice).await)).await.expect(200);
    own.expect_closed("The session is over").await;
    alice.get("/api/messenger/me").await.expect_error(401, "UNAUTHORIZED");
    let again = world.log_in(&alice.business, "Alice").await;
    assert_eq!(sessions(&again.get(SESSIONS).await.expect(200)).len(), 1);
}

#[tokio::test]
async fn administrators_end_the_sessions_of_those_whom_they_manage() {
    let world = World::start().await;
    let (acme, globex) = (world.business("Acme").await, world.business("Globex").await);
    let log_in_as_admin = async |business: &Business, name: &str, role: &str| {
        world.create(business, name, role).await;
        Person::log_in_as_admin(&world.server.url, &format!("{}@example.com", name.to_lowercase()), PASSWORD).await
    };
    let adam = log_in_as_admin(&acme, "Adam", "BUSINESS_ADMIN").await;
    let otto = log_in_as_admin(&acme, "Otto", "BUSINESS_AUDITOR").await;
    let audrey = log_in_as_admin(&world.admin.business, "Audrey", "SYSTEM_AUDITOR").await;
    let gloria = log_in_as_admin(&globex, "Gloria", "BUSINESS_ADMIN").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let second = world.log_in(&acme, "Alice").await;
    let id = current(&second).await;
    let of = |person: &Person| format!("/api/admin/users/{}/sessions", person.id);

    let listed = sessions(&adam.get(&of(&alice)).await.expect(200));
    assert_eq!((listed.len(), &listed[0]["id"]), (2, &json!(id)));
    assert!(listed.iter().all(|session| session["current"] == false));
    let before = world.all_events().await;
    for (person, whose, status) in [
        (&otto, &alice, 403),
        (&otto, &adam, 403),
        (&audrey, &alice, 403),
        (&audrey, &world.admin, 403),
        (&gloria, &alice, 404),
        // They aren't seen from below, let alone managed.
        (&adam, &world.admin, 404),
        (&adam, &audrey, 404),
        (&adam, &gloria, 404),
    ] {
        for (method, path) in [
            (Method::GET, of(whose)),
            (Method::DELETE, of(whose)),
            (Method::DELETE, format!("{}/{id}", of(whose))),
            (Method::DELETE, format!("{}/{NOWHERE}", of(whose))),
        ] {
            let answer = person.request(method.clone(), &path, None, &[]).await;
            assert_eq!(answer.status, status, "{} {method} {path}: {}", person.email, answer.body);
        }
    }
    for path in [format!("{}/{NOWHERE}", of(&alice)), format!("{}/nonsense", of(&alice)), format!("{}/{id}", of(&bob))]
    {
        adam.delete(&path).await.expect_error(404, "NOT_FOUND");
    }
    assert_eq!(world.all_events().await, before);

    let devices = Devices::connect(&second).await;
    let mut kept = Devices::connect(&alice).await;
    for _ in 0..2 {
        adam.delete(&format!("{}/{id}", of(&alice))).await.expect(200);
    }
    devices.expect_closed("The session is over").await;
    second.get("/api/messenger/me").await.expect_error(401, "UNAUTHORIZED");
    kept.expect_to_be_open(&bob, &alice).await;

    adam.delete(&of(&alice)).await.expect(200);
    kept.expect_closed("The session is over").await;
    alice.get("/api/messenger/me").await.expect_error(401, "UNAUTHORIZED");
    assert!(sessions(&adam.get(&of(&alice)).await.expect(200)).is_empty());
    bob.get("/api/messenger/me").await.expect(200);
    world.log_in(&acme, "Alice").await.get("/api/messenger/me").await.expect(200);

    // At the admin API too, also the own one.
    world.admin.delete(&of(&adam)).await.expect(200);
    adam.get("/api/admin/users").await.expect_error(401, "UNAUTHORIZED");
    world.admin.delete(&of(&world.admin)).await.expect(200);
    world.admin.get("/api/admin/users").await.expect_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_session_that_is_ended_on_one_node_is_over_on_the_other_in_two_seconds() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let other_node = Server::start(&world.database).await;
    let path = format!("/api/admin/users/{}/sessions", bob.id);
    let lost = world.log_in(&alice.business, "Alice").await;
    let there = [lost.at(&other_node.url), bob.at(&other_node.url)];
    let mut devices = vec![];
    for person in &there {
        // The other node remembers the session from here on.
        person.get("/api/messenger/me").await.expect(200);
        devices.push(Devices::connect(person).await);
    }
    let end_own = format!("{SESSIONS}/{}", current(&lost).await);
    for (n, devices) in devices.into_iter().enumerate() {
        if n == 0 { alice.delete(&end_own).await } else { world.admin.delete(&path).await }.expect(200);
        expect_out(&there[n]).await;
        devices.expect_closed("The session is over").await;
    }
    let again = world.log_in(&bob.business, "Bob").await;
    again.at(&other_node.url).get("/api/messenger/me").await.expect(200);
}

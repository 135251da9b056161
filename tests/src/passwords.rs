//! Passwords: changing one's own, and what happens when somebody else has set it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    Answer, Business, Devices, PASSWORD, Person, PlainSocket, Server, Socket, Transports, World, anonymous, eventually,
};

const ANOTHER: &str = "another secret";
const APIS: [&str; 2] = ["messenger", "admin"];

/// Tries to log in, whatever comes of it.
async fn try_log_in(url: &str, api: &str, business: &Business, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password, "businessId": business.id});
    anonymous(url, Method::POST, &format!("/api/{api}/auth/login"), Some(body)).await
}

/// A session, with what it is refreshed with.
struct Device {
    api: &'static str,
    person: Person,
    refresh_token: Value,
}

impl Device {
    async fn log_in(url: &str, api: &'static str, business: &Business, email: &str, password: &str) -> Self {
        let answer = try_log_in(url, api, business, email, password).await.expect(200);
        let refresh_token = answer.body["refreshToken"].clone();
        Self { api, person: Person::of(url, email, &answer), refresh_token }
    }

    /// What a call with its access token is answered.
    async fn call(&self) -> Answer {
        let path = if self.api == "admin" { "/api/admin/users" } else { "/api/messenger/me" };
        self.person.get(path).await
    }

    async fn refresh(&self) -> Answer {
        let body = json!({"refreshToken": self.refresh_token});
        anonymous(&self.person.url, Method::POST, &format!("/api/{}/auth/refresh", self.api), Some(body)).await
    }

    async fn change_password(&self, current: &str, new: &str) -> Answer {
        let body = json!({"currentPassword": current, "newPassword": new});
        self.person.post(&format!("/api/{}/auth/password", self.api), body).await
    }

    async fn expect_out(&self) {
        self.call().await.expect_error(401, "UNAUTHORIZED");
        self.refresh().await.expect_error(401, "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn who_changes_their_password_stays_and_is_out_everywhere_else() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let url = &world.server.url;
    let bob = world.person(&acme, "Bob").await;
    for api in APIS {
        let email = format!("adam-{api}@example.com");
        world.create(&acme, &format!("Adam-{api}"), "BUSINESS_ADMIN").await;
        let log_in = async |api| Device::log_in(url, api, &acme, &email, PASSWORD).await;
        let (own, other, other_admin) = (log_in(api).await, log_in("messenger").await, log_in("admin").await);
        let mut own_devices = None;
        if api == "messenger" {
            own_devices = Some(Devices::connect(&own.person).await);
        }
        let devices = Devices::connect(&other.person).await;

        let changed = own.change_password(PASSWORD, ANOTHER).await.expect(200);
        assert_eq!(changed.body, json!({"success": true}));
        devices.expect_closed("The session is over").await;
        other.expect_out().await;
        other_admin.expect_out().await;
        own.call().await.expect(200);
        if let Some(devices) = &mut own_devices {
            devices.expect_to_be_open(&bob, &own.person).await;
        }
        own.refresh().await.expect(200);
        own.call().await.expect(200);
        for api in APIS {
            try_log_in(url, api, &acme, &email, PASSWORD).await.expect_error(401, "UNAUTHORIZED");
            try_log_in(url, api, &acme, &email, ANOTHER).await.expect(200);
        }
        // A second time, from a session that was begun after the first, by which the first is over.
        let later = Device::log_in(url, "messenger", &acme, &email, ANOTHER).await;
        later.change_password(ANOTHER, PASSWORD).await.expect(200);
        own.call().await.expect_error(401, "UNAUTHORIZED");
        later.call().await.expect(200);
        // Nor does being kept once outlive being logged out everywhere.
        world.admin.delete(&format!("/api/admin/users/{}/sessions", later.person.id)).await.expect(200);
        later.expect_out().await;
    }
    bob.get("/api/messenger/me").await.expect(200);
}

#[tokio::test]
async fn the_list_of_sessions_after_a_change_has_the_one_that_is_left() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    world.create(&acme, "Alice", "BUSINESS_USER").await;
    let log_in = async || Device::log_in(&world.server.url, "messenger", &acme, "alice@example.com", PASSWORD).await;
    let (own, _other) = (log_in().await, log_in().await);
    own.change_password(PASSWORD, ANOTHER).await.expect(200);
    let listed = own.person.get("/api/messenger/sessions").await.expect(200);
    let listed = listed.body["sessions"].as_array().unwrap();
    assert_eq!((listed.len(), &listed[0]["current"]), (1, &json!(true)));
}

#[tokio::test]
async fn a_change_is_known_on_the_other_node() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let other_node = Server::start(&world.database).await;
    let (own, other) = (world.person(&acme, "Alice").await, world.log_in(&acme, "Alice").await);
    let (own_there, other_there) = (own.at(&other_node.url), other.at(&other_node.url));
    own_there.get("/api/messenger/me").await.expect(200);
    let devices = Devices::connect(&other_there).await;
    let body = json!({"currentPassword": PASSWORD, "newPassword": ANOTHER});
    own.post("/api/messenger/auth/password", body).await.expect(200);
    devices.expect_closed("The session is over").await;
    let is_out = async || other_there.get("/api/messenger/me").await.status == 401;
    eventually("the token isn't taken", is_out).await;
    own_there.get("/api/messenger/me").await.expect(200);
    for (password, status) in [(PASSWORD, 401), (ANOTHER, 200)] {
        try_log_in(&other_node.url, "messenger", &acme, "alice@example.com", password).await.expect(status);
    }
}

#[tokio::test]
async fn a_change_that_is_wrong_names_the_field_and_changes_nothing() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    world.create(&acme, "Adam", "BUSINESS_ADMIN").await;
    let (url, email) = (&world.server.url, "adam@example.com");
    let other = Device::log_in(url, "messenger", &acme, email, PASSWORD).await;
    for api in APIS {
        let own = Device::log_in(url, api, &acme, email, PASSWORD).await;
        let before = world.all_events().await;
        for (current, new, field) in [
            ("a wrong one", ANOTHER, "currentPassword"),
            ("", ANOTHER, "currentPassword"),
            // Whoever doesn't know the password isn't told that the new one would be the same.
            (ANOTHER, ANOTHER, "currentPassword"),
            (PASSWORD, PASSWORD, "newPassword"),
            (PASSWORD, "7 chars", "newPassword"),
            (PASSWORD, "", "newPassword"),
            (PASSWORD, &"x".repeat(129), "newPassword"),
            (PASSWORD, "password123", "newPassword"),
            (PASSWORD, "QWERTYuiop", "newPassword"),
        ] {
            let error = own.change_password(current, new).await.expect_error(422, "VALIDATION_ERROR");
            assert!(error.starts_with(&format!("{field}: ")), "{current:?} to {new:?}: {error}");
        }
        for body in [
            json!({"currentPassword": PASSWORD}),
            json!({"newPassword": ANOTHER}),
            json!({"currentPassword": PASSWORD, "newPassword": 5}),
            json!({"currentPassword": PASSWORD, "newPassword": ANOTHER, "password": ANOTHER}),
            json!([PASSWORD, ANOTHER]),
        ] {
            own.person.post(&format!("/api/{api}/auth/password"), body).await.expect_error(422, "VALIDATION_ERROR");
        }
        assert_eq!(world.all_events().await, before);
        own.call().await.expect(200);
        own.refresh().await.expect(200);
    }
    other.call().await.expect(200);
}

#[tokio::test]
async fn of_two_who_change_it_at_the_same_time_one_is_left_whose_password_is_the_one_that_holds() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    world.create(&acme, "Alice", "BUSINESS_USER").await;
    let (url, email) = (&world.server.url, "alice@example.com");
    let other_node = Server::start(&world.database).await;
    let one = Device::log_in(url, "messenger", &acme, email, PASSWORD).await;
    let other = Device::log_in(&other_node.url, "messenger", &acme, email, PASSWORD).await;
    let (first, second) =
        tokio::join!(one.change_password(PASSWORD, "secret of one"), other.change_password(PASSWORD, "secret of two"));
    assert!(first.status == 200 || second.status == 200, "{} and {}", first.body, second.body);
    let mut good = vec![];
    for password in [PASSWORD, "secret of one", "secret of two"] {
        let status = try_log_in(url, "messenger", &acme, email, password).await.status;
        good.extend((status == 200).then_some(password));
    }
    assert!(good == ["secret of one"] || good == ["secret of two"], "{good:?}");
    let is_one = good == ["secret of one"];
    let (winner, loser) = if is_one { (&one, &other) } else { (&other, &one) };
    // Whichever node has answered may hear of the other a moment later.
    eventually("one of them is out", async || loser.call().await.status == 401).await;
    winner.call().await.expect(200);
}

#[tokio::test]
async fn who_guesses_a_password_by_changing_it_is_counted_as_who_logs_in() {
    let world = World::with(vec![("SWITCHBOARD_AUTH_RATE_LIMIT", "2".to_owned())]).await;
    let acme = world.business("Acme").await;
    world.create(&acme, "Alice", "BUSINESS_USER").await;
    world.create(&acme, "Bob", "BUSINESS_USER").await;
    let (url, email) = (&world.server.url, "alice@example.com");
    // One token comes back in half a minute.
    let own = Device::log_in(url, "messenger", &acme, email, PASSWORD).await;
    let mut refused = None;
    for _ in 0..8 {
        let answer = own.change_password("a wrong one", ANOTHER).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        answer.expect_error(422, "VALIDATION_ERROR");
    }
    refused.expect("somebody may guess without end").expect_error(429, "RATE_LIMIT");
    own.change_password(PASSWORD, ANOTHER).await.expect_error(429, "RATE_LIMIT");
    try_log_in(url, "messenger", &acme, email, PASSWORD).await.expect_error(429, "RATE_LIMIT");
    try_log_in(url, "messenger", &acme, "bob@example.com", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_password_that_an_administrator_sets_ends_every_session() {
    let world = World::start().await;
    let (acme, globex) = (world.business("Acme").await, world.business("Globex").await);
    let url = &world.server.url;
    for (business, name, role) in [
        (&acme, "Adam", "BUSINESS_ADMIN"),
        (&acme, "Eve", "BUSINESS_ADMIN"),
        (&acme, "Otto", "BUSINESS_AUDITOR"),
        (&globex, "Gloria", "BUSINESS_ADMIN"),
        (&world.admin.business, "Audrey", "SYSTEM_AUDITOR"),
    ] {
        world.create(business, name, role).await;
    }
    let administer = async |name: &str| Person::log_in_as_admin(url, &format!("{name}@example.com"), PASSWORD).await;
    let (adam, otto, gloria) = (administer("adam").await, administer("otto").await, administer("gloria").await);
    let audrey = administer("audrey").await;
    let email = "eve@example.com";
    let at_messenger = Device::log_in(url, "messenger", &acme, email, PASSWORD).await;
    let at_admin = Device::log_in(url, "admin", &acme, email, PASSWORD).await;
    let devices = Devices::connect(&at_messenger.person).await;
    let path = |person: &Person| format!("/api/admin/users/{}/password", person.id);
    let reset = json!({"password": ANOTHER});

    let before = world.all_events().await;
    let eve = &at_admin.person;
    adam.post(&path(&adam), reset.clone()).await.expect_error(409, "CONFLICT");
    otto.post(&path(eve), reset.clone()).await.expect_error(403, "FORBIDDEN");
    audrey.post(&path(eve), reset.clone()).await.expect_error(403, "FORBIDDEN");
    audrey.post(&path(&world.admin), reset.clone()).await.expect_error(403, "FORBIDDEN");
    gloria.post(&path(eve), reset.clone()).await.expect_error(404, "NOT_FOUND");
    adam.post(&path(&world.admin), reset.clone()).await.expect_error(404, "NOT_FOUND");
    for bad in ["7 chars", "password", "Password1", &"x".repeat(129)] {
        let error = adam.post(&path(eve), json!({"password": bad})).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.starts_with("password: "), "{error}");
    }
    assert_eq!(world.all_events().await, before);

    let answer = adam.post(&path(eve), reset).await.expect(200);
    assert!(!answer.body.to_string().contains(ANOTHER));
    devices.expect_closed("The session is over").await;
    at_messenger.expect_out().await;
    at_admin.expect_out().await;
    for api in APIS {
        try_log_in(url, api, &acme, email, PASSWORD).await.expect_error(401, "UNAUTHORIZED");
        try_log_in(url, api, &acme, email, ANOTHER).await.expect(200);
    }
    adam.get("/api/admin/users").await.expect(200);
}

#[tokio::test]
async fn nobody_is_created_with_what_everybody_takes() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let before = world.all_events().await;
    for common in ["password", "PASSWORD", "12345678", "iloveyou1", "qwertyuiop", "Password1"] {
        let body = json!({
            "email": "new@example.com", "name": "New", "password": common, "role": "BUSINESS_USER", "businessId": acme.id,
        });
        let error = world.admin.post("/api/admin/users", body).await.expect_error(422, "VALIDATION_ERROR");
        assert!(error.starts_with("password: "), "{error}");
    }
    assert_eq!(world.all_events().await, before);
}

/// A world in which passwords that others have set have to be changed.
async fn forced() -> World {
    World::with(vec![("SWITCHBOARD_FORCE_PASSWORD_CHANGE", "true".to_owned())]).await
}

#[tokio::test]
async fn by_default_nobody_has_to_change_anything() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    world.create(&acme, "Alice", "BUSINESS_USER").await;
    let answer = try_log_in(&world.server.url, "messenger", &acme, "alice@example.com", PASSWORD).await.expect(200);
    assert_eq!(answer.body["mustChangePassword"], false);
    Person::of(&world.server.url, "alice@example.com", &answer).get("/api/messenger/me").await.expect(200);
}

#[tokio::test]
async fn who_must_change_their_password_can_do_nothing_else_and_then_everything() {
    let world = forced().await;
    let acme = world.business("Acme").await;
    let (url, email) = (&world.server.url, "alice@example.com");
    world.create(&acme, "Alice", "BUSINESS_USER").await;
    let answer = try_log_in(url, "messenger", &acme, email, PASSWORD).await.expect(200);
    assert_eq!(answer.body["mustChangePassword"], true);
    let alice = Device {
        api: "messenger",
        person: Person::of(url, email, &answer),
        refresh_token: answer.body["refreshToken"].clone(),
    };
    let before = world.all_events().await;
    expect_nothing_but_the_password(&alice.person).await;
    expect_no_streams(&alice.person).await;
    assert_eq!(world.all_events().await, before);
    // Neither does another token help.
    let answer = alice.refresh().await.expect(200);
    assert_eq!(answer.body["mustChangePassword"], true);
    let refreshed = Person::of(url, email, &answer);
    refreshed.get("/api/messenger/me").await.expect_error(403, "FORBIDDEN");
    alice.change_password(PASSWORD, PASSWORD).await.expect_error(422, "VALIDATION_ERROR");
    alice.call().await.expect_error(403, "FORBIDDEN");

    alice.change_password(PASSWORD, ANOTHER).await.expect(200);
    for person in [&alice.person, &refreshed] {
        person.get("/api/messenger/me").await.expect(200);
    }
    PlainSocket::connect(&refreshed, None).await.expect("feed:caught-up").await;
    let answer = try_log_in(url, "messenger", &acme, email, ANOTHER).await.expect(200);
    assert_eq!(answer.body["mustChangePassword"], false);
    let body = json!({"refreshToken": answer.body["refreshToken"]});
    let answer = anonymous(url, Method::POST, "/api/messenger/auth/refresh", Some(body)).await.expect(200);
    assert_eq!(answer.body["mustChangePassword"], false);
    Devices::connect(&alice.person).await;
}

/// Every operation of the messenger but those that are for it is refused, whatever is asked for.
async fn expect_nothing_but_the_password(person: &Person) {
    let document = anonymous(&person.url, Method::GET, "/openapi.json", None).await.expect(200).body;
    let mut refused = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let is_for_it = ["messengerLogin", "messengerRefresh", "messengerLogout", "changePassword"].contains(&id);
            if !path.starts_with("/api/messenger/") || is_for_it {
                continue;
            }
            let segments = path.split('/').map(|part| if part.starts_with('{') { person.id.as_str() } else { part });
            let path = segments.collect::<Vec<_>>().join("/");
            let method: Method = method.to_uppercase().parse().unwrap();
            let body = operation["requestBody"].is_object().then(|| json!({}));
            let answer = person.request(method, &path, body, &[]).await;
            assert_eq!(answer.status, 403, "{id}: {}", answer.body);
            answer.expect_error(403, "FORBIDDEN");
            refused += 1;
        }
    }
    assert!(refused > 15, "{refused} operations");
}

async fn expect_no_streams(person: &Person) {
    let refused = PlainSocket::open(&person.url, "", Some(&person.token)).await.err();
    assert_eq!(refused, Some(StatusCode::FORBIDDEN));
    person.get("/api/messenger/events").await.expect_error(403, "FORBIDDEN");
    for transports in Transports::ALL {
        let mut socket = Socket::open(&person.url, transports, json!({"token": person.token}), json!({}));
        let error = socket.expect("connect_error").await;
        assert!(error.as_str().unwrap().to_lowercase().contains("password"), "{error}");
    }
}

#[tokio::test]
async fn who_must_change_their_password_may_leave() {
    let world = forced().await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    alice.post("/api/messenger/auth/logout", json!(null)).await.expect(200);
    alice.get("/api/messenger/me").await.expect_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn after_a_reset_the_password_has_to_be_changed_again_at_the_messenger_alone() {
    let world = forced().await;
    let acme = world.business("Acme").await;
    let (url, email) = (&world.server.url, "adam@example.com");
    world.create(&acme, "Adam", "BUSINESS_ADMIN").await;
    // The admin API isn't affected, not even by the password that it was created with.
    let at_admin = Device::log_in(url, "admin", &acme, email, PASSWORD).await;
    at_admin.call().await.expect(200);
    let must_change = async |password: &str| {
        let answer = try_log_in(url, "messenger", &acme, email, password).await.expect(200);
        let person = Person::of(url, email, &answer);
        let status = person.get("/api/messenger/me").await.status.as_u16();
        (answer.body["mustChangePassword"] == true, status)
    };
    assert_eq!(must_change(PASSWORD).await, (true, 403));
    // Changed at the one API, it is for both.
    at_admin.change_password(PASSWORD, ANOTHER).await.expect(200);
    assert_eq!(must_change(ANOTHER).await, (false, 200));
    let path = format!("/api/admin/users/{}/password", at_admin.person.id);
    world.admin.post(&path, json!({"password": PASSWORD})).await.expect(200);
    assert_eq!(must_change(PASSWORD).await, (true, 403));
    Device::log_in(url, "admin", &acme, email, PASSWORD).await.call().await.expect(200);
}

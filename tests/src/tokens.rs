//! Access tokens that aren't ours, or not of this hour; and the keys that ours are signed with.

use std::collections::HashSet;

use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::header::HeaderValue;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::types::PgInterval;

use crate::support::{
    Answer, DEADLINE, Database, PASSWORD, Person, PlainSocket, Random, Server, Settings, World, anonymous, http_client,
    seed,
};

/// The key that the servers of these tests sign with.
const KEY: [u8; 32] = [7; 32];
/// The same, sealed as a signing key with the master key that all servers of the tests have.
const SEALED_KEY: &str = "000102030405060708090a0b0c0d0e0f10111213141516172cd5857635e5c505e2910d52ff178c0dea25c281c47f9a4d897\
                          22b57296531e1f0cdcac8fc5bef8a0adc7f5dbbd63b22";
const ME: &str = "/api/messenger/me";

/// A world whose tokens anybody here can sign.
async fn world_with_a_known_key() -> World {
    let database = Database::create().await;
    let pool = database.pool().await;
    let insert = sqlx::query("INSERT INTO keys (purpose, id, sealed) VALUES ('signing', '1', decode($1, 'hex'))");
    insert.bind(SEALED_KEY).execute(&pool).await.unwrap();
    pool.close().await;
    let server = Server::start(&database).await;
    World::around(database, server).await
}

/// Base64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        _ => 63,
    };
    let mut bytes = vec![];
    for chunk in text.as_bytes().chunks(4) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 6 | u32::from(value(*byte)));
        let bits = bits << (6 * (4 - chunk.len()));
        bytes.extend(&bits.to_be_bytes()[1..chunk.len()]);
    }
    bytes
}

/// A token of this header and payload as they are written, signed with HMAC and this key.
fn signed_text(header: &str, payload: &str, key: &[u8], algorithm: Algorithm) -> String {
    let message = format!("{}.{}", base64(header.as_bytes()), base64(payload.as_bytes()));
    let key = EncodingKey::from_secret(key);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn signed(header: &Value, payload: &Value, key: &[u8]) -> String {
    signed_text(&header.to_string(), &payload.to_string(), key, Algorithm::HS256)
}

/// What a token of ours says.
fn payload_of(token: &str) -> Value {
    serde_json::from_slice(&from_base64(token.split('.').nth(1).unwrap())).unwrap()
}

fn kid_of(token: &str) -> String {
    let header: Value = serde_json::from_slice(&from_base64(token.split('.').next().unwrap())).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// A JSON object in which one thing is another.
fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed[name] = value;
    changed
}

fn without(object: &Value, name: &str) -> Value {
    let mut changed = object.clone();
    changed.as_object_mut().unwrap().remove(name);
    changed
}

/// Tokens that look like Alice's: what is wrong with each, and the token.
struct Forgeries {
    header: Value,
    payload: Value,
    all: Vec<(String, Vec<u8>)>,
}

impl Forgeries {
    fn add(&mut self, what: impl Into<String>, token: impl Into<Vec<u8>>) {
        self.all.push((what.into(), token.into()));
    }

    /// With other algorithms: those that are signed as they say, and those that aren't.
    fn algorithms(&mut self) {
        let payload = self.payload.to_string();
        for (name, algorithm) in [("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)] {
            let header = with(&self.header, "alg", json!(name)).to_string();
            self.add(format!("signed with {name}"), signed_text(&header, &payload, &KEY, algorithm));
        }
        for name in [
            json!("none"),
            json!("None"),
            json!("NONE"),
            json!("nOnE"),
            json!(""),
            json!(null),
            json!(256),
            json!(["HS256"]),
            json!("hs256"),
            json!("HS256 "),
            json!("HS384"),
            json!("HS512"),
            json!("RS256"),
            json!("RS512"),
            json!("PS256"),
            json!("ES256"),
            json!("EdDSA"),
            json!("dir"),
        ] {
            let header = with(&self.header, "alg", name.clone());
            let token = signed(&header, &self.payload, &KEY);
            let (message, _) = token.rsplit_once('.').unwrap();
            self.add(format!("alg {name}, unsigned"), format!("{message}."));
            self.add(format!("alg {name}, without a third segment"), message);
            self.add(format!("alg {name}, signed with the key"), token);
        }
        let token = signed(&without(&self.header, "alg"), &self.payload, &KEY);
        self.add("no alg", token);
    }

    /// With other keys, also such as somebody might guess.
    fn keys(&mut self, random: &mut Random) {
        let hex = "07".repeat(32);
        for key in
            [&b""[..], b"secret", b"1", b"switchboard", hex.as_bytes(), &[0; 32], &[7; 31], &[7; 33], &[0x5a; 32]]
        {
            self.add(format!("signed with the key {key:?}"), signed(&self.header, &self.payload, key));
        }
        for _ in 0..20 {
            let key: Vec<u8> = (0..4).flat_map(|_| random.number().to_le_bytes()).collect();
            self.add(format!("signed with the key {key:?}"), signed(&self.header, &self.payload, &key));
        }
    }

    /// Under other names of the key.
    fn key_ids(&mut self) {
        self.add("no kid", signed(&without(&self.header, "kid"), &self.payload, &KEY));
        for kid in [
            json!(null),
            json!(1),
            json!(""),
            json!("0"),
            json!("2"),
            json!("01"),
            json!("+1"),
            json!("1 "),
            json!("１"),
            json!("1\0"),
            json!("../1"),
            json!("/dev/null"),
            json!("../../../../dev/null"),
            json!("keyed-hash"),
            json!("1' OR '1'='1"),
            json!("1; DROP TABLE keys"),
            json!("http://localhost/1"),
            json!(["1"]),
            json!("k".repeat(10_000)),
        ] {
            let header = with(&self.header, "kid", kid.clone());
            self.add(format!("kid {kid:.40}"), signed(&header, &self.payload, &KEY));
            // As if the file or the row of that name were empty.
            self.add(format!("kid {kid:.40}, an empty key"), signed(&header, &self.payload, b""));
        }
        let own = [9; 32];
        for (name, value) in [
            ("jwk", json!({"kty": "oct", "k": base64(&own), "alg": "HS256", "kid": "1"})),
            ("jku", json!("http://localhost/keys")),
            ("x5u", json!("http://localhost/keys")),
            ("x5c", json!([base64(&own)])),
        ] {
            let header = with(&self.header, name, value);
            self.add(format!("a key of one's own in {name}"), signed(&header, &self.payload, &own));
            self.add(
                format!("a key of one's own in {name}, and no kid"),
                signed(&without(&header, "kid"), &self.payload, &own),
            );
        }
    }

    /// Signed as ours are, and saying what none of ours says. `others` are claims of other sessions.
    fn claims(&mut self, now_s: i64, others: &[(&str, &'static str, Value)]) {
        for claim in ["iss", "aud", "sub", "sid", "iat", "nbf", "exp"] {
            self.add(format!("no {claim}"), signed(&self.header, &without(&self.payload, claim), &KEY));
            let now = now_s.to_string();
            for value in [json!(null), json!(true), json!("x"), json!(now), json!([now_s]), json!({}), json!(1e300)] {
                let payload = with(&self.payload, claim, value.clone());
                self.add(format!("{claim} {value}"), signed(&self.header, &payload, &KEY));
            }
        }
        let fraction = |seconds: i64| serde_json::from_str::<Value>(&format!("{seconds}.5")).unwrap();
        let wrong = [
            ("iss", json!("Switchboard")),
            ("iss", json!("")),
            ("iss", json!(["switchboard"])),
            ("aud", json!("admin")),
            ("aud", json!("Messenger")),
            ("aud", json!("*")),
            ("aud", json!("messenger admin")),
            ("aud", json!(["messenger"])),
            ("aud", json!(["admin", "messenger"])),
            ("sub", json!("00000000-0000-0000-0000-000000000000")),
            ("sid", json!("00000000-0000-0000-0000-000000000000")),
            ("sid", json!("01900000-0000-7000-8000-000000000000")),
            ("exp", json!(now_s - 10)),
            ("exp", json!(now_s - 86_400)),
            ("exp", json!(0)),
            ("exp", json!(-1)),
            ("exp", fraction(now_s + 1000)),
            ("exp", json!(u64::MAX)),
            ("nbf", json!(now_s + 60)),
            ("nbf", json!(i64::MAX)),
            ("nbf", fraction(now_s - 1)),
        ];
        for (claim, value) in wrong {
            let payload = with(&self.payload, claim, value.clone());
            self.add(format!("{claim} {value}"), signed(&self.header, &payload, &KEY));
        }
        for (what, claim, value) in others {
            let payload = with(&self.payload, claim, value.clone());
            self.add(*what, signed(&self.header, &payload, &KEY));
        }
        let (header, payload) = (self.header.to_string(), self.payload.to_string());
        for text in [
            payload.replacen('{', "{\"aud\":\"admin\",", 1),
            payload.replacen('{', "{\"exp\":1,", 1),
            payload.replacen('{', "{\"sub\":\"00000000-0000-0000-0000-000000000000\",", 1),
            format!("[{payload}]"),
            format!("{payload}{payload}"),
            format!("\u{feff}{payload}"),
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
            "{".to_owned(),
        ] {
            let token = signed_text(&header, &text, &KEY, Algorithm::HS256);
            self.add(format!("the payload {text:.50}"), token);
        }
        for text in ["", "null", "[]", "{}", "{", "\"HS256\"", "\0"] {
            self.add(format!("the header {text:?}"), signed_text(text, &payload, &KEY, Algorithm::HS256));
        }
    }

    /// A good token, written in other ways; and parts of one put together with parts of another.
    fn spellings(&mut self, good: &str, other: &str) {
        let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
        let [_, other_payload, other_signature] = other.split('.').collect::<Vec<_>>()[..] else { panic!("{other}") };
        let standard = |text: &str| text.replace('-', "+").replace('_', "/");
        for token in [
            format!("{header}=.{payload}.{signature}"),
            format!("{header}.{payload}=.{signature}"),
            format!("{header}.{payload}==.{signature}"),
            format!("{header}.{payload}.{signature}="),
            format!("{header}=.{payload}=.{signature}="),
            format!("{header}.{payload}.{signature}."),
            format!(".{good}"),
            format!("{good}.x"),
            format!("{header}.{payload}.{signature}.{signature}"),
            format!("{header}.{payload}.{payload}.{payload}.{signature}"),
            format!("{header}..{payload}.{signature}"),
            format!("{header}.{signature}"),
            format!("{payload}.{header}.{signature}"),
            format!("{header}.{signature}.{payload}"),
            format!("{header}.{payload}.{other_signature}"),
            format!("{header}.{other_payload}.{signature}"),
            format!("{header}. {payload}.{signature}"),
            format!("{header}.{payload} .{signature}"),
            format!("{header}\t.{payload}.{signature}"),
            good.replace('.', "%2E"),
            good.replace('.', "\u{3002}"),
            good.replace('.', ","),
            good.replace('.', ":"),
            good.to_uppercase(),
            good.to_lowercase(),
            format!("\"{good}\""),
            format!("'{good}'"),
            format!("<{good}>"),
            format!("{good},{good}"),
            format!("{good} {good}"),
            format!("Bearer {good}"),
            format!("token={good}"),
            base64(good.as_bytes()),
            uuid::Uuid::nil().to_string(),
            json!({"protected": header, "payload": payload, "signature": signature}).to_string(),
            format!("{good}\u{e9}"),
            format!("\u{feff}{good}"),
            good.chars().rev().collect(),
            ".".to_owned(),
            "..".to_owned(),
            "...".to_owned(),
            "null".to_owned(),
            "undefined".to_owned(),
            "0".to_owned(),
            "👋".repeat(100),
            "eyJhbGciOiJIUzI1NiJ9".repeat(500),
            ".".repeat(20_000),
        ] {
            self.add(format!("{token:.60}"), token);
        }
        self.add("bytes that are no text", [good.as_bytes(), b"\xff\xfe\x80"].concat());
        for text in [standard(good), standard(&format!("{header}.{payload}.{other_signature}"))] {
            if text != good {
                self.add("standard base64", text);
            }
        }
        // The last digit of a signature has two bits that mean nothing.
        let (rest, last) = signature.split_at(signature.len() - 1);
        for digit in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
            if !last.contains(digit) {
                self.add(format!("the last digit {digit}"), format!("{header}.{payload}.{rest}{digit}"));
            }
        }
        let bytes = from_base64(signature);
        assert_eq!((bytes.len(), base64(&bytes)), (32, signature.to_owned()));
        for len in 0..bytes.len() {
            self.add(format!("{len} bytes of the signature"), format!("{header}.{payload}.{}", base64(&bytes[..len])));
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            self.add(format!("bit {bit} of the signature"), format!("{header}.{payload}.{}", base64(&flipped)));
        }
        for len in 0..signature.len() {
            self.add(format!("{len} digits of the signature"), format!("{header}.{payload}.{}", &signature[..len]));
        }
    }
}

/// A request with a token of these bytes; none when HTTP knows no way to write it.
fn request(http: &Client, url: &str, path: &str, token: &[u8]) -> Option<RequestBuilder> {
    let bearer = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    let mut request = http.get(format!("{url}{path}")).header("Authorization", bearer);
    if path.ends_with("/ws") {
        request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
        request = request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==");
    }
    Some(request)
}

async fn send(http: &Client, url: &str, path: &str, token: &[u8]) -> Option<Answer> {
    Some(Answer::of(request(http, url, path, token)?.send().await.unwrap()).await.unwrap())
}

fn now_s() -> i64 {
    i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap()
}

#[tokio::test]
async fn no_token_is_taken_that_is_not_ours_to_the_last_bit() {
    let world = world_with_a_known_key().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let over = world.log_in(&acme, "Alice").await;
    over.post("/api/messenger/auth/logout", json!(null)).await.expect(200);
    let body = json!({"email": alice.email, "password": PASSWORD, "businessId": acme.id});
    let path = "/api/messenger/auth/login";
    let login = anonymous(&world.server.url, Method::POST, path, Some(body)).await.expect(200);

    let header = json!({"alg": "HS256", "typ": "JWT", "kid": kid_of(&alice.token)});
    let (payload, of_bob) = (payload_of(&alice.token), payload_of(&bob.token));
    let of_admin = payload_of(&world.admin.token);
    let seed = seed();
    eprintln!("SWITCHBOARD_TEST_SEED={seed}");
    let mut forgeries = Forgeries { header: header.clone(), payload: payload.clone(), all: vec![] };
    forgeries.algorithms();
    forgeries.keys(&mut Random::new(seed));
    forgeries.key_ids();
    forgeries.claims(
        now_s(),
        &[
            ("the session of somebody else", "sid", of_bob["sid"].clone()),
            ("somebody else in this session", "sub", of_bob["sub"].clone()),
            ("a session of the other API", "sid", of_admin["sid"].clone()),
            ("a session that is over", "sid", payload_of(&over.token)["sid"].clone()),
        ],
    );
    forgeries.spellings(&alice.token, &bob.token);
    forgeries.add("a refresh token", login.body["refreshToken"].as_str().unwrap());
    forgeries.add("a token of the other API", world.admin.token.as_str());
    let different: HashSet<&Vec<u8>> = forgeries.all.iter().map(|(_, token)| token).collect();
    assert!(different.len() >= 500, "there are {}", different.len());

    // What is signed here is taken, if nothing is wrong with it: or else nothing below would mean anything.
    let http = http_client();
    let good = signed(&header, &payload, &KEY);
    for good in [good.as_str(), &alice.token] {
        send(&http, &world.server.url, ME, good.as_bytes()).await.unwrap().expect(200);
    }
    let before = world.all_events().await;
    let (mut taken, mut unsendable, mut other) = (vec![], 0, vec![]);
    for (what, token) in &forgeries.all {
        for path in [ME, "/api/admin/users", "/api/messenger/events", "/api/messenger/events/ws"] {
            // It is good for the API that it is for.
            if path == "/api/admin/users" && what == "a token of the other API" {
                continue;
            }
            let Some(answer) = send(&http, &world.server.url, path, token).await else {
                unsendable += 1;
                continue;
            };
            match answer.status.as_u16() {
                401 => drop(answer.expect_error(401, "UNAUTHORIZED")),
                status if status < 400 => taken.push(format!("{what} at {path}: {status}")),
                status => other.push(format!("{what} at {path}: {status}")),
            }
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
    assert!(other.is_empty(), "{other:#?}");
    eprintln!(
        "{} tokens, {} different ones; {unsendable} requests can't be written",
        forgeries.all.len(),
        different.len()
    );
    assert_eq!(world.all_events().await, before);
    alice.get(ME).await.expect(200);
}

#[tokio::test]
async fn a_token_too_long_for_a_request_is_refused_before_anybody_looks_at_it() {
    let world = world_with_a_known_key().await;
    let acme = world.business("Acme").await;
    let alice = world.person(&acme, "Alice").await;
    for kib in [64, 256, 500, 2048] {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": "k".repeat(kib * 1024)});
        let token = signed(&header, &payload_of(&alice.token), &KEY);
        for path in [ME, "/api/messenger/events", "/api/messenger/events/ws"] {
            // Whoever is sent more than they take may close the connection before it is all written.
            let Ok(answer) = request(&http_client(), &world.server.url, path, token.as_bytes()).unwrap().send().await
            else {
                continue;
            };
            let status = answer.status().as_u16();
            eprintln!("{kib} KiB at {path}: {status}");
            assert!(matches!(status, 400 | 401 | 431), "{kib} KiB at {path}: {status}");
        }
    }
    alice.get(ME).await.expect(200);
}

/// Makes a signing key as old as this.
async fn age(pool: &PgPool, key: &str, minutes: i64) {
    let age = PgInterval { months: 0, days: 0, microseconds: minutes * 60_000_000 };
    let update = "UPDATE keys SET created_at = now() - $2::interval WHERE purpose = 'signing' AND id = $1";
    let aged = sqlx::query(update).bind(key).bind(age).execute(pool).await.unwrap();
    assert_eq!(aged.rows_affected(), 1);
}

async fn signing_keys(pool: &PgPool) -> Vec<String> {
    let ids = sqlx::query_scalar("SELECT id FROM keys WHERE purpose = 'signing' ORDER BY id::bigint");
    ids.fetch_all(pool).await.unwrap()
}

/// Waits until these are the signing keys.
async fn expect_keys(pool: &PgPool, keys: &[&str]) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let now = signing_keys(pool).await;
        assert!(now.len() <= 2, "{now:?}");
        if now == keys {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{now:?} instead of {keys:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn keys_take_turns_and_no_token_is_good_for_less_than_its_life_on_any_node() {
    // Nodes learn of keys when they start, and every 30 seconds: to see it, they are started anew.
    let database = Database::create().await;
    let pool = database.pool().await;
    let settings = || Settings {
        env: vec![("SWITCHBOARD_SIGNING_KEY_LIFE", "2h".to_owned()), ("SWITCHBOARD_TOKEN_LIFE", "1h".to_owned())],
        ..Settings::default()
    };
    let server = Server::start_with(&database, settings()).await;
    let world = World::around(database, server).await;
    let acme = world.business("Acme").await;
    let old = world.person(&acme, "Alice").await;
    assert_eq!(kid_of(&old.token), "1");
    expect_keys(&pool, &["1"]).await;

    // Two hours later there is another key, which doesn't sign yet: not every node has heard of it.
    age(&pool, "1", 121).await;
    let second = Server::start_with(&world.database, settings()).await;
    expect_keys(&pool, &["1", "2"]).await;
    for url in [&world.server.url, &second.url] {
        old.at(url).get(ME).await.expect(200);
        assert_eq!(kid_of(&Person::log_in(url, &acme, &old.email, PASSWORD).await.token), "1");
    }

    // When they have, it signs, and what the other has signed is as good as before.
    age(&pool, "1", 124).await;
    age(&pool, "2", 3).await;
    let World { server, database, .. } = world;
    drop((server, second));
    let nodes = [Server::start_with(&database, settings()).await, Server::start_with(&database, settings()).await];
    let new = Person::log_in(&nodes[0].url, &acme, &old.email, PASSWORD).await;
    assert_eq!(kid_of(&new.token), "2");
    for node in &nodes {
        old.at(&node.url).get(ME).await.expect(200);
        new.at(&node.url).get(ME).await.expect(200);
    }
    expect_keys(&pool, &["1", "2"]).await;

    // It is there until the last token that it may have signed has run out: an hour after the nodes have changed over.
    age(&pool, "2", 62).await;
    drop(nodes);
    let nodes = [Server::start_with(&database, settings()).await, Server::start_with(&database, settings()).await];
    for node in &nodes {
        old.at(&node.url).get(ME).await.expect(200);
    }
    expect_keys(&pool, &["1", "2"]).await;

    // And no longer.
    age(&pool, "2", 65).await;
    drop(nodes);
    let nodes = [Server::start_with(&database, settings()).await, Server::start_with(&database, settings()).await];
    expect_keys(&pool, &["2"]).await;
    for node in &nodes {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while old.at(&node.url).get(ME).await.status != 401 {
            assert!(tokio::time::Instant::now() < deadline, "what a key signed that is gone is good");
        }
        assert_eq!(PlainSocket::open(&node.url, "", Some(&old.token)).await.err().unwrap(), 401);
        new.at(&node.url).get(ME).await.expect(200);
    }
    pool.close().await;
}

#[tokio::test]
async fn nodes_that_start_together_agree_on_the_next_key() {
    let database = Database::create().await;
    let pool = database.pool().await;
    let settings = || Settings { env: vec![("SWITCHBOARD_SIGNING_KEY_LIFE", "2h".to_owned())], ..Settings::default() };
    drop(Server::start_with(&database, settings()).await);
    age(&pool, "1", 121).await;
    let nodes = tokio::join!(
        Server::start_with(&database, settings()),
        Server::start_with(&database, settings()),
        Server::start_with(&database, settings())
    );
    expect_keys(&pool, &["1", "2"]).await;
    drop(nodes);
    pool.close().await;
}

#[tokio::test]
async fn there_are_two_keys_at_most_however_short_their_life_is() {
    let database = Database::create().await;
    let pool = database.pool().await;
    let settings = || Settings { env: vec![("SWITCHBOARD_SIGNING_KEY_LIFE", "1s".to_owned())], ..Settings::default() };
    for _ in 0..4 {
        // Whatever there is by now has signed for long enough.
        let age = "UPDATE keys SET created_at = created_at - '10 minutes'::interval WHERE purpose = 'signing'";
        sqlx::query(age).execute(&pool).await.unwrap();
        let _server = Server::start_with(&database, settings()).await;
        // Long enough for it to look after its keys, as it does once it has started.
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
        while tokio::time::Instant::now() < deadline {
            let keys = signing_keys(&pool).await;
            assert!(keys.len() <= 2, "{keys:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    pool.close().await;
}

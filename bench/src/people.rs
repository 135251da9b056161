//! The people who use a server while it is measured, made through its API.

use futures_util::StreamExt;
use reqwest::Client;
use serde_json::{Value, json};

use crate::target::Target;

/// The first administrator of the Switchboard that is measured.
pub(crate) const ADMIN: (&str, &str) = ("root@example.com", "benchmark password");
const PASSWORD: &str = "benchmark password";
/// People who log in at the same time while a benchmark is prepared.
const PREPARING: usize = 8;
/// Pairs of people in a business: everybody in one is told who comes and goes.
const PAIRS_IN_A_BUSINESS: usize = 32;

/// Two people of one business, who have logged in.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) sender_id: String,
    pub(crate) sender_token: String,
    pub(crate) recipient_id: String,
    pub(crate) recipient_token: String,
    pub(crate) recipient_login: Value,
}

impl Pair {
    /// A message of the first to the second: what it says has about a hundred bytes.
    pub(crate) fn message(&self) -> String {
        json!({
            "recipientId": self.recipient_id, "type": "text", "attachments": [],
            "content": "About a hundred bytes of text, as people write them to each other in the course of a working day.",
        })
        .to_string()
    }
}

/// A client of plain HTTP, which keeps all of its connections.
pub(crate) fn http_client() -> Client {
    // Once for the process is enough; a second time is refused and does no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().pool_max_idle_per_host(usize::MAX).tls_certs_only([]);
    builder.build().expect("a client can be made")
}

/// Makes pairs of people, in businesses of their own.
pub(crate) async fn prepare(target: &Target, pairs: usize) -> Vec<Pair> {
    prepare_in(target, pairs, PAIRS_IN_A_BUSINESS).await
}

/// Makes pairs of people, so many in each business.
pub(crate) async fn prepare_in(target: &Target, pairs: usize, in_a_business: usize) -> Vec<Pair> {
    let (http, admin) = (http_client(), admin(target).await);
    let businesses = futures_util::stream::iter(0..pairs.div_ceil(in_a_business))
        .map(async |n| {
            let business = json!({"name": format!("Bench {n}")});
            text(&call(&http, target, "/api/admin/businesses", Some(&admin), &business).await["business"]["id"])
        })
        .buffered(PREPARING)
        .collect::<Vec<_>>()
        .await;
    let person = async |business: &str, name: String| {
        let email = format!("{name}@example.com");
        let new = json!({
            "email": email, "name": name, "password": PASSWORD, "role": "BUSINESS_USER", "businessId": business,
        });
        call(&http, target, "/api/admin/users", Some(&admin), &new).await;
        let login = json!({"email": email, "password": PASSWORD, "businessId": business});
        let answer = call(&http, target, "/api/messenger/auth/login", None, &login).await;
        (text(&answer["user"]["id"]), text(&answer["token"]), login)
    };
    futures_util::stream::iter(0..pairs)
        .map(async |n| {
            let business = &businesses[n / in_a_business];
            let (sender_id, sender_token, _) = person(business, format!("sender{n}")).await;
            let (recipient_id, recipient_token, recipient_login) = person(business, format!("recipient{n}")).await;
            Pair { sender_id, sender_token, recipient_id, recipient_token, recipient_login }
        })
        .buffer_unordered(PREPARING)
        .collect()
        .await
}

/// A token of the first administrator.
pub(crate) async fn admin(target: &Target) -> String {
    let login = json!({"email": ADMIN.0, "password": ADMIN.1});
    text(&call(&http_client(), target, "/api/admin/auth/login", None, &login).await["token"])
}

async fn call(http: &Client, target: &Target, path: &str, token: Option<&str>, body: &Value) -> Value {
    let mut request = http.post(format!("{}{path}", target.url)).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.expect("the server answers");
    assert!(response.status().is_success(), "{path}: {}", response.status());
    response.json().await.expect("it answers JSON")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

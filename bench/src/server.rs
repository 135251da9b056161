//! The server that is measured, and the people who use it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use futures_util::StreamExt;
use reqwest::Client;
use serde_json::{Value, json};

const ADMIN: (&str, &str) = ("root@example.com", "benchmark password");
const PASSWORD: &str = "benchmark password";
/// People who log in at the same time while a benchmark is prepared.
const PREPARING: usize = 8;
/// Pairs of people in a business: everybody in one is told who comes and goes.
const PAIRS_IN_A_BUSINESS: usize = 32;

/// The server, as a process of its own.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    _data_dir: tempfile::TempDir,
}

/// Two people of one business, who have logged in.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) sender_token: String,
    pub(crate) recipient_id: String,
    pub(crate) recipient_token: String,
}

/// Makes pairs of people.
pub(crate) async fn prepare(http: &Client, url: &str, pairs: usize) -> Vec<Pair> {
    let login = json!({"email": ADMIN.0, "password": ADMIN.1});
    let admin =
        call(http, url, "/api/admin/auth/login", None, login).await["token"].as_str().expect("a token").to_owned();
    let mut businesses = vec![];
    for n in 0..pairs.div_ceil(PAIRS_IN_A_BUSINESS) {
        let business = json!({"name": format!("Bench {n}")});
        let business = call(http, url, "/api/admin/businesses", Some(&admin), business).await;
        businesses.push(business["business"]["id"].as_str().expect("an id").to_owned());
    }
    let person = async |business: &str, name: String| {
        let email = format!("{name}@example.com");
        let new = json!({
            "email": email, "name": name, "password": PASSWORD, "role": "BUSINESS_USER", "businessId": business,
        });
        call(http, url, "/api/admin/users", Some(&admin), new).await;
        let login = json!({"email": email, "password": PASSWORD, "businessId": business});
        let answer = call(http, url, "/api/messenger/auth/login", None, login).await;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (text(&answer["user"]["id"]), text(&answer["token"]))
    };
    futures_util::stream::iter(0..pairs)
        .map(async |n| {
            let business = &businesses[n / PAIRS_IN_A_BUSINESS];
            let (_, sender_token) = person(business, format!("sender{n}")).await;
            let (recipient_id, recipient_token) = person(business, format!("recipient{n}")).await;
            Pair { sender_token, recipient_id, recipient_token }
        })
        .buffer_unordered(PREPARING)
        .collect()
        .await
}

async fn call(http: &Client, url: &str, path: &str, token: Option<&str>, body: Value) -> Value {
    let mut request = http.post(format!("{url}{path}")).json(&body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.expect("the server answers");
    assert!(response.status().is_success(), "{path}: {}", response.status());
    response.json().await.expect("it answers JSON")
}

impl Server {
    pub(crate) fn start() -> Self {
        let data_dir = tempfile::tempdir().expect("a temporary directory can be made");
        let mut child = Command::new(std::env::current_exe().expect("the driver knows itself"))
            .arg("server")
            .env_remove("DATABASE_URL")
            .env("SWITCHBOARD_LISTEN", "127.0.0.1:0")
            .env("SWITCHBOARD_DATA_DIR", data_dir.path())
            .env("SWITCHBOARD_AUTH_RATE_LIMIT", "0")
            .env("SWITCHBOARD_API_RATE_LIMIT", "0")
            .env("SWITCHBOARD_ADMIN_EMAIL", ADMIN.0)
            .env("SWITCHBOARD_ADMIN_PASSWORD", ADMIN.1)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let url = lines.map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("Switchboard is at ")?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        Self { child, url: url.expect("the server says where it is"), _data_dir: data_dir }
    }
}

impl Server {
    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("Linux says how much") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

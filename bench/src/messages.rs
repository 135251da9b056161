//! Messages through the whole product: posted over REST by one of a pair, received over Socket.IO's WebSocket by the other. The
//! next one is sent when this one has been received. Every message is checked to be received once, and counted in the log.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::report;

const ADMIN: (&str, &str) = ("root@example.com", "benchmark password");
const PASSWORD: &str = "benchmark password";
/// People who log in at the same time while the benchmark is prepared.
const PREPARING: usize = 8;
/// A message that takes longer is lost.
const ARRIVAL: Duration = Duration::from_secs(30);

/// The server, as a process of its own.
struct Server {
    child: Child,
    url: String,
    _data_dir: tempfile::TempDir,
}

#[derive(Clone)]
struct Pair {
    sender_token: String,
    recipient_id: String,
    recipient_token: String,
}

pub(crate) async fn measure(concurrencies: &[usize], duration: Duration) {
    let server = Server::start();
    let http = Client::builder().pool_max_idle_per_host(usize::MAX).build().expect("a client can be made");
    let most = concurrencies.iter().copied().max().unwrap_or(1);
    let pairs = prepare(&http, &server.url, most).await;
    report::header("pairs");
    for concurrency in concurrencies {
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for pair in &pairs[..*concurrency] {
            tasks.spawn(exchange(http.clone(), server.url.clone(), pair.clone(), duration));
        }
        let mut all = report::histogram();
        while let Some(histogram) = tasks.join_next().await {
            all += histogram.expect("pairs don't panic");
        }
        report::row(*concurrency, &all, duration.min(began.elapsed()));
    }
}

/// Sends, waits for the other side to have it, and begins again.
async fn exchange(http: Client, url: String, pair: Pair, duration: Duration) -> Histogram<u64> {
    let mut inbox = Inbox::open(&url, &pair.recipient_token).await;
    let mut histogram = report::histogram();
    let end = Instant::now() + duration;
    let body = json!({
        "recipientId": pair.recipient_id, "type": "text", "attachments": [],
        "content": "About a hundred bytes of text, as people write them to each other in the course of a working day.",
    });
    while Instant::now() < end {
        let began = Instant::now();
        let post = http.post(format!("{url}/api/messenger/messages")).bearer_auth(&pair.sender_token).json(&body);
        let arrival = tokio::time::timeout(ARRIVAL, inbox.next_message());
        let (response, received) = tokio::join!(post.send(), arrival);
        let received = received.expect("every message arrives");
        report::record(&mut histogram, began.elapsed());
        let sent: Value = response.expect("the server answers").json().await.expect("it answers JSON");
        assert_eq!(sent["message"]["id"], received["id"], "every message arrives once: {sent}");
    }
    histogram
}

/// A Socket.IO connection over WebSocket: just enough of the protocol to receive.
struct Inbox(tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>);

impl Inbox {
    async fn open(url: &str, token: &str) -> Self {
        let url = format!("{}/socket.io/?EIO=4&transport=websocket", url.replace("http", "ws"));
        let (stream, _) = connect_async(url).await.expect("the server takes connections");
        let mut inbox = Self(stream);
        inbox.next_packet('0').await;
        inbox.write(format!("40{}", json!({"token": token}))).await;
        inbox.next_packet('4').await;
        inbox
    }

    async fn next_message(&mut self) -> Value {
        loop {
            let packet = self.next_packet('4').await;
            let mut event: Value = serde_json::from_str(&packet[2..]).expect("events are JSON");
            if event[0] == "message:received" {
                return event[1].take();
            }
        }
    }

    /// The next packet of this Engine.IO type; pings are answered.
    async fn next_packet(&mut self, kind: char) -> String {
        loop {
            let message = self.0.next().await.expect("the connection stands").expect("the connection works");
            let Message::Text(text) = message else { continue };
            match text.chars().next() {
                Some('2') => self.write("3".to_owned()).await,
                Some(found) if found == kind => return text.as_str().to_owned(),
                _ => {}
            }
        }
    }

    async fn write(&mut self, packet: String) {
        self.0.send(Message::text(packet)).await.expect("the connection works");
    }
}

/// Makes a business, and pairs of people in it who have logged in.
async fn prepare(http: &Client, url: &str, pairs: usize) -> Vec<Pair> {
    let login = json!({"email": ADMIN.0, "password": ADMIN.1});
    let admin =
        call(http, url, "/api/admin/auth/login", None, login).await["token"].as_str().expect("a token").to_owned();
    let business = call(http, url, "/api/admin/businesses", Some(&admin), json!({"name": "Bench"})).await;
    let business = business["business"]["id"].as_str().expect("an id").to_owned();
    let person = async |name: String| {
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
            let (_, sender_token) = person(format!("sender{n}")).await;
            let (recipient_id, recipient_token) = person(format!("recipient{n}")).await;
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
    fn start() -> Self {
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

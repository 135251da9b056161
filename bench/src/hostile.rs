//! Clients that mean no good, each at an address of its own, on a thread of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use clap::ValueEnum;

use crate::people::Pair;

const LOWEST_PRIORITY: i32 = 19;
/// How long a hostile client waits between two attacks.
const PAUSE: Duration = Duration::from_millis(20);
/// How long it waits for what it has asked for, which it needn't get.
const PATIENCE: Duration = Duration::from_millis(500);
/// Connections that one holds while it attacks.
const HELD: usize = 40;
/// What one asks for at once, where that is the attack.
const AT_ONCE: usize = 20;

/// What a hostile client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Attack {
    /// Pings over an anonymous WebSocket, and nothing is read.
    Pings,
    /// Binary attachments that are announced and never end.
    Attachments,
    /// Logins of accounts that aren't there.
    Logins,
    /// Catching up from the beginning, several times at once.
    CatchUps,
    /// Socket.IO connections that never say who they are.
    Handshakes,
    /// Large bodies that never come.
    Bodies,
    /// Uploads that never come.
    Uploads,
    /// Half a head of a request.
    Heads,
}

/// Hostile clients at work.
pub(crate) struct Hostile {
    is_over: Arc<AtomicBool>,
    counts: Arc<Mutex<BTreeMap<Attack, u64>>>,
    thread: JoinHandle<()>,
}

impl Hostile {
    /// Begins `count` clients, which attack in these ways, or in all. What they do themselves has the lowest priority: it would be done
    /// on other machines.
    pub(crate) fn begin(address: &str, people: &[Pair], count: usize, attacks: &[Attack]) -> Self {
        let attacks = if attacks.is_empty() { Attack::value_variants() } else { attacks }.to_vec();
        let (is_over, counts) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let server: SocketAddr = address.parse().expect("it is an address");
        let tokens: Vec<String> =
            people.iter().flat_map(|pair| [pair.sender_token.clone(), pair.recipient_token.clone()]).collect();
        let business_id = people[0].recipient_login["businessId"].as_str().expect("it has one").to_owned();
        let thread = std::thread::spawn({
            let (is_over, counts) = (is_over.clone(), Arc::clone(&counts));
            move || {
                rustix::process::setpriority_process(None, LOWEST_PRIORITY).expect("a thread may be nicer");
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime can be made").block_on(async move {
                    let mut clients = JoinSet::new();
                    for (n, attack) in attacks.into_iter().cycle().take(count).enumerate() {
                        let token = tokens[n % tokens.len()].clone();
                        let client = Client { server, number: n, business_id: business_id.clone(), token, attack };
                        clients.spawn(client.run(is_over.clone(), Arc::clone(&counts)));
                    }
                    clients.join_all().await;
                });
            }
        });
        Self { is_over, counts, thread }
    }

    /// Ends them. How often each has attacked.
    pub(crate) fn end(self) -> String {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("they don't panic");
        format!("attacks: {:?}", self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Client {
    server: SocketAddr,
    number: usize,
    business_id: String,
    token: String,
    attack: Attack,
}

impl Client {
    async fn run(self, is_over: Arc<AtomicBool>, counts: Arc<Mutex<BTreeMap<Attack, u64>>>) {
        let mut held = std::collections::VecDeque::new();
        for attempt in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            // The server hangs up on some of them, which is what it should do.
            if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, self.attack_once(attempt)).await {
                held.push_back(stream);
            }
            if held.len() > HELD {
                held.pop_front();
            }
            *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(self.attack).or_default() += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(format!("127.0.1.{}:0", self.number + 1).parse().expect("it is an address"))?;
        socket.connect(self.server).await
    }

    async fn attack_once(&self, attempt: u64) -> std::io::Result<TcpStream> {
        let mut stream = self.connect().await?;
        let host = format!("Host: {}\r\n", self.server);
        let bearer = format!("Authorization: Bearer {}\r\n", self.token);
        let upgrade = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        match self.attack {
            Attack::Pings => {
                stream.write_all(upgrade.as_bytes()).await?;
                let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'x'; 125]].concat();
                stream.write_all(&ping.repeat(5_000)).await?;
            }
            Attack::Attachments => {
                stream.write_all(upgrade.as_bytes()).await?;
                let connect = format!("40{{\"token\":\"{}\"}}", self.token);
                stream.write_all(&text_frame(&connect)).await?;
                let packet = "451000-[\"x\"]";
                stream.write_all(&text_frame(packet)).await?;
                let binary = [&[0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0][..], &vec![7; 0xffff]].concat();
                stream.write_all(&binary.repeat(4)).await?;
            }
            Attack::Logins => {
                // Another account each time: one alone is soon limited.
                let email = format!("nobody{attempt}@example.com");
                let login = json!({"email": email, "password": "wrong", "businessId": self.business_id});
                self.ask(&mut stream, "POST", "/api/messenger/auth/login", "", &login.to_string()).await?;
            }
            Attack::CatchUps => {
                let path = "/api/messenger/events/since?position=0&limit=1000";
                let several = (0..AT_ONCE).map(async |_| {
                    let mut stream = self.connect().await?;
                    self.ask(&mut stream, "GET", path, &bearer, "").await
                });
                try_join_all(several).await?;
            }
            Attack::Handshakes => {
                self.ask(&mut stream, "GET", "/socket.io/?EIO=4&transport=polling", "", "").await?;
            }
            Attack::Bodies => {
                let head = format!(
                    "POST /api/messenger/messages HTTP/1.1\r\n{host}{bearer}Content-Type: application/json\r\n\
                     Content-Length: 100000\r\n\r\n{{"
                );
                stream.write_all(head.as_bytes()).await?;
            }
            Attack::Uploads => {
                let head = format!(
                    "POST /api/messenger/files HTTP/1.1\r\n{host}{bearer}Content-Type: multipart/form-data; boundary=b\r\n\
                     Content-Length: 50000000\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx"
                );
                stream.write_all(head.as_bytes()).await?;
            }
            Attack::Heads => {
                let head = format!("GET / HTTP/1.1\r\n{host}X: {}", "x".repeat(50_000));
                stream.write_all(head.as_bytes()).await?;
            }
        }
        Ok(stream)
    }

    /// Asks for something, and waits for the beginning of an answer.
    async fn ask(
        &self,
        stream: &mut TcpStream,
        method: &str,
        path: &str,
        bearer: &str,
        body: &str,
    ) -> std::io::Result<()> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{bearer}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.server,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        stream.read_exact(&mut [0; 12]).await?;
        Ok(())
    }
}

/// A short text over a WebSocket, masked with nothing.
fn text_frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("it is short").to_be_bytes();
    [&[0x81, 0xfe, length[0], length[1], 0, 0, 0, 0][..], text.as_bytes()].concat()
}

//! What one client that reads nothing does to others: pairs write to each other while somebody is sent large messages, who reads
//! them in every other round, and takes in nothing in the rounds between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::json;
use tokio::net::TcpSocket;

use crate::inbox::Inbox;
use crate::messages::exchange_all;
use crate::report;
use crate::server::{Pair, Server, prepare};

const PAIRS: usize = 16;
/// Rounds of each kind.
const ROUNDS: usize = 5;
/// How often the one in question is written to.
const FLOOD_PAUSE: Duration = Duration::from_millis(10);

pub(crate) async fn measure(duration: Duration) {
    let server = Server::start();
    let http = Client::builder().pool_max_idle_per_host(usize::MAX).build().expect("a client can be made");
    let pairs = prepare(&http, &server.url, PAIRS + 1).await;
    let (one, others) = pairs.split_last().expect("there are pairs");
    exchange_all(&http, &server.url, others, duration).await;
    println!("{PAIRS} pairs, beside one client that is sent 40 kB every 10 ms");
    let mut medians = [vec![], vec![]];
    for round in 0..2 * ROUNDS {
        let is_stalled = round % 2 == 1;
        println!("{}", if is_stalled { "it reads nothing:" } else { "it reads:" });
        report::header("pairs");
        let histogram = beside(&http, &server, one, others, is_stalled, duration).await;
        report::row(PAIRS, &histogram, duration);
        medians[usize::from(is_stalled)].push((histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99)));
    }
    for (what, mut rounds) in ["it reads", "it reads nothing"].into_iter().zip(medians) {
        rounds.sort_unstable();
        let p50 = rounds[ROUNDS / 2].0;
        rounds.sort_unstable_by_key(|(_, p99)| *p99);
        println!("median of {ROUNDS}, when {what}: p50 {p50} us, p99 {} us", rounds[ROUNDS / 2].1);
    }
    println!("memory of the server at the end: {} MiB", server.memory() / 1024 / 1024);
}

async fn beside(
    http: &Client,
    server: &Server,
    one: &Pair,
    others: &[Pair],
    is_stalled: bool,
    duration: Duration,
) -> hdrhistogram::Histogram<u64> {
    let address = server.url.trim_start_matches("http://").parse().expect("it is an address");
    let socket = TcpSocket::new_v4().expect("sockets can be had");
    socket.set_recv_buffer_size(4096).expect("it can be small");
    let stream = socket.connect(address).await.expect("the server listens");
    let mut inbox = Inbox::over(stream, &server.url, &one.recipient_token).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(async move {
        if is_stalled {
            // Holds the connection, and takes in nothing.
            std::future::pending::<()>().await;
        }
        loop {
            inbox.next_message().await;
        }
    });
    let flood = tokio::spawn({
        let (http, url, one, is_over) = (http.clone(), server.url.clone(), one.clone(), is_over.clone());
        let body = json!({"recipientId": one.recipient_id, "content": "👋".repeat(9_990)});
        async move {
            while !is_over.load(Ordering::Relaxed) {
                let post = http.post(format!("{url}/api/messenger/messages")).bearer_auth(&one.sender_token);
                assert_eq!(post.json(&body).send().await.expect("the server answers").status(), 201);
                tokio::time::sleep(FLOOD_PAUSE).await;
            }
        }
    });
    let histogram = exchange_all(http, &server.url, others, duration).await;
    is_over.store(true, Ordering::Relaxed);
    flood.await.expect("it doesn't panic");
    reader.abort();
    histogram
}

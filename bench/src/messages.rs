//! Messages through the whole product: posted over REST by one of a pair, received over Socket.IO's WebSocket by the other. The
//! next one is sent when this one has been received. Every message is checked to be received once.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::inbox::Inbox;
use crate::report;
use crate::server::{Pair, Server, prepare};

/// A message that takes longer is lost.
const ARRIVAL: Duration = Duration::from_secs(30);

pub(crate) async fn measure(concurrencies: &[usize], duration: Duration) {
    let server = Server::start();
    let http = Client::builder().pool_max_idle_per_host(usize::MAX).build().expect("a client can be made");
    let most = concurrencies.iter().copied().max().unwrap_or(1);
    let pairs = prepare(&http, &server.url, most).await;
    report::header("pairs");
    for concurrency in concurrencies {
        let all = exchange_all(&http, &server.url, &pairs[..*concurrency], duration).await;
        report::row(*concurrency, &all, duration);
    }
}

/// All pairs write to each other at the same time. How long each message took.
pub(crate) async fn exchange_all(http: &Client, url: &str, pairs: &[Pair], duration: Duration) -> Histogram<u64> {
    let mut inboxes = vec![];
    for pair in pairs {
        inboxes.push(Inbox::open(url, &pair.recipient_token).await);
    }
    let mut tasks = JoinSet::new();
    for (pair, inbox) in pairs.iter().zip(inboxes) {
        tasks.spawn(exchange(http.clone(), url.to_owned(), pair.clone(), inbox, duration));
    }
    let mut all = report::histogram();
    while let Some(histogram) = tasks.join_next().await {
        all += histogram.expect("pairs don't panic");
    }
    all
}

/// Sends, waits for the other side to have it, and begins again.
async fn exchange(http: Client, url: String, pair: Pair, mut inbox: Inbox, duration: Duration) -> Histogram<u64> {
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

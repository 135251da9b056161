//! A catch-up storm: thousands of clients come back at once, each with a thousand events behind it, while pairs go on writing to
//! each other.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::http::{self, Connection};
use crate::messages::{self, Way};
use crate::people::{Pair, prepare};
use crate::report::{self, Figures};
use crate::socket::Socket;
use crate::switchboard::Switchboard;
use crate::target::Target;

/// People who come back, with so many devices each.
const PEOPLE: usize = 250;
const DEVICES: usize = 20;
/// Messages that each of them has missed.
const MISSED: usize = 1_000;
/// Who write meanwhile.
const PAIRS: usize = 16;
/// How long they are measured at a time.
const LOOK: Duration = Duration::from_secs(3);

pub(crate) async fn measure() {
    let server = Switchboard::start().await;
    let target = &server.target;
    let people = prepare(target, PEOPLE + PAIRS).await;
    let (people, pairs) = people.split_at(PEOPLE);
    let since = fill(target, people).await;
    target.settle().await;
    report::header("");
    let quiet = messages::measure(target, pairs, Way::Exchanged, LOOK).await;
    report::row("quiet", &quiet);
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for pair in people {
        for _ in 0..DEVICES {
            clients.spawn(come_back(target.address().to_owned(), pair.recipient_token.clone(), since));
        }
    }
    let (mut looks, mut took) = (vec![], None);
    while took.is_none() {
        let all_are_back =
            async { while clients.join_next().await.transpose().expect("clients don't panic").is_some() {} };
        let (meanwhile, back) =
            tokio::join!(messages::run(target, pairs, Way::Exchanged, LOOK), tokio::time::timeout(LOOK, all_are_back));
        report::row("meanwhile", &meanwhile);
        looks.push(meanwhile);
        if back.is_ok() {
            took = Some(began.elapsed());
        }
    }
    let (median, worst) = (Figures::median(&looks).p99_ms, looks.iter().map(|look| look.p99_ms).fold(0.0, f64::max));
    println!(
        "{} clients with {MISSED} events behind each are up to date after {:.1?}; memory of the server {} MiB",
        PEOPLE * DEVICES,
        took.unwrap_or_default(),
        target.memory() / 1024 / 1024
    );
    println!(
        "the senders' p99 was {median:.1} ms in the median of {LOOK:?} each, {:.1} times its quiet value, and {worst:.1} ms at worst",
        median / quiet.p99_ms
    );
}

/// Writes to everybody what they will have missed. The position before it.
async fn fill(target: &Target, people: &[Pair]) -> u64 {
    let mut senders = JoinSet::new();
    target.settle().await;
    let head: i64 = sqlx::query_scalar("SELECT position FROM log_head")
        .fetch_one(&target.database)
        .await
        .expect("Postgres answers");
    for pair in people {
        let mut connection = Connection::open(target.address()).await;
        let request =
            http::request("POST", target.address(), "/api/messenger/messages", &pair.sender_token, &pair.message());
        senders.spawn(async move {
            for _ in 0..MISSED {
                assert_eq!(connection.call(&request).await.status, 201);
            }
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent.expect("senders don't panic");
    }
    head.cast_unsigned()
}

/// An event, as far as it is looked at.
#[derive(Deserialize)]
struct Place {
    position: u64,
}

/// Connects with an old place in the feed, and takes in what has been missed: all of it, once, in order.
async fn come_back(address: String, token: String, since: u64) {
    let stream = TcpStream::connect(&address).await.expect("the server listens");
    let mut socket = Socket::over(stream, &address, &token, Some(since)).await;
    let (mut last, mut received) = (since, 0);
    loop {
        let packet = socket.next_packet("42[\"").await;
        if packet.starts_with("42[\"feed:caught-up\"") {
            break;
        }
        if packet.starts_with("42[\"message:received\"") {
            let (_, place): (IgnoredAny, Place) = serde_json::from_str(&packet[2..]).expect("events are JSON");
            assert!(place.position > last, "they come in order");
            last = place.position;
            received += 1;
        }
    }
    assert_eq!(received, MISSED, "nothing is missed");
}

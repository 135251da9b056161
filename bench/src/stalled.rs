//! What one client that reads nothing does to others: pairs write to each other while somebody is sent large messages, who reads
//! them in every other round, and takes in nothing in the rounds between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpSocket;

use crate::http::{self, Connection};
use crate::messages::{self, Way};
use crate::people::{Pair, prepare};
use crate::report::{self, Figures};
use crate::socket::Socket;
use crate::switchboard::Switchboard;
use crate::target::Target;

const PAIRS: usize = 16;
/// Rounds of each kind.
const ROUNDS: usize = 5;
/// How often the one in question is written to.
const FLOOD_PAUSE: Duration = Duration::from_millis(10);

pub(crate) async fn measure(duration: Duration) {
    let server = Switchboard::start().await;
    let pairs = prepare(&server.target, PAIRS + 1).await;
    let (one, others) = pairs.split_last().expect("there are pairs");
    messages::run(&server.target, others, Way::Exchanged, duration).await;
    println!("{PAIRS} pairs, beside one client that is sent 40 kB every 10 ms");
    report::header("");
    let mut runs = [vec![], vec![]];
    for round in 0..2 * ROUNDS {
        let is_stalled = round % 2 == 1;
        let figures = beside(&server.target, one, others, is_stalled, duration).await;
        report::row(if is_stalled { "it reads nothing" } else { "it reads" }, &figures);
        runs[usize::from(is_stalled)].push(figures);
    }
    for (what, runs) in ["it reads", "it reads nothing"].into_iter().zip(runs) {
        report::row(&format!("median, {what}"), &Figures::median(&runs));
    }
    println!("memory of the server at the end: {} MiB", server.target.memory() / 1024 / 1024);
}

async fn beside(target: &Target, one: &Pair, others: &[Pair], is_stalled: bool, duration: Duration) -> Figures {
    let address = target.address().parse().expect("it is an address");
    let socket = TcpSocket::new_v4().expect("sockets can be had");
    socket.set_recv_buffer_size(4096).expect("it can be small");
    let stream = socket.connect(address).await.expect("the server listens");
    let mut socket = Socket::over(stream, target.address(), &one.recipient_token, None).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(async move {
        if is_stalled {
            // Holds the connection, and takes in nothing.
            std::future::pending::<()>().await;
        }
        loop {
            socket.receive().await;
        }
    });
    let flood = tokio::spawn(flood(target.address().to_owned(), one.clone(), is_over.clone()));
    let figures = messages::run(target, others, Way::Exchanged, duration).await;
    is_over.store(true, Ordering::Relaxed);
    flood.await.expect("it doesn't panic");
    reader.abort();
    figures
}

/// Writes large messages until it is over.
async fn flood(address: String, one: Pair, is_over: Arc<AtomicBool>) {
    let mut connection = Connection::open(&address).await;
    let body = json!({"recipientId": one.recipient_id, "content": "👋".repeat(9_990)}).to_string();
    let request = http::request("POST", &address, "/api/messenger/messages", &one.sender_token, &body);
    while !is_over.load(Ordering::Relaxed) {
        assert_eq!(connection.call(&request).await.status, 201);
        tokio::time::sleep(FLOOD_PAUSE).await;
    }
}

//! What a message costs as the log grows, the tenants and a conversation with it; and how long the server takes to start on it.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::fill::{Past, fill};
use crate::messages::{self, Way};
use crate::people::{Pair, prepare};
use crate::report::{self, Figures};
use crate::switchboard::Switchboard;

const SENDERS: usize = 64;
/// One message in so many of the past is in the conversation of the first pair.
const LONG: u64 = 10;
const ROUNDS: usize = 3;

pub(crate) async fn measure(sizes: &[u64], duration: Duration) {
    let mut server = Switchboard::start().await;
    let pairs = prepare(&server.target, SENDERS).await;
    report::header("events");
    let (mut reached, mut lines) = (0, vec![]);
    for size in sizes {
        // Few businesses at first, then many.
        let businesses = if reached == 0 { 10 } else { 10_000 };
        let long = long(&pairs[0]);
        let began = Instant::now();
        fill(&server.target, size - reached, Past { businesses, long: Some((long.0, long.1, LONG)) }).await;
        let filled = began.elapsed();
        reached = *size;
        sqlx::query("ANALYZE").execute(&server.target.database).await.expect("it is looked at");
        let mut runs = vec![];
        for _ in 0..ROUNDS {
            runs.push(messages::measure(&server.target, &pairs, Way::Posted, duration).await);
        }
        report::row(&size.to_string(), &Figures::median(&runs));
        let memory = server.target.memory() / 1024 / 1024;
        let (again, started) = server.restart().await;
        server = again;
        lines.push(format!(
            "{size} events: filled in {filled:.1?} read models included, memory {memory} MiB, started in {started:.2?}"
        ));
    }
    println!("{}", lines.join("\n"));
}

/// The two of a pair.
fn long(pair: &Pair) -> (Uuid, Uuid) {
    let id = |text: &str| text.parse().expect("it is an id");
    (id(&pair.sender_id), id(&pair.recipient_id))
}

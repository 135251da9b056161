//! Pages of a conversation's history over REST, and beside them, in turns, the one statement that such a page is made of, run by
//! `pgbench`.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::http::{self, Connection};
use crate::people::{Pair, prepare};
use crate::pgbench;
use crate::report::{self, Figures};
use crate::switchboard::Switchboard;
use crate::target::Target;

/// Messages in the conversation that is read, and on a page.
const MESSAGES: usize = 2_000;
const PAGE: usize = 50;
/// Who read at the same time.
const READERS: usize = 16;
const ROUNDS: usize = 5;

pub(crate) async fn measure(duration: Duration) {
    let server = Switchboard::start().await;
    let target = &server.target;
    let pair = &prepare(target, 1).await[0];
    let conversation = fill(target, pair).await;
    target.settle().await;
    sqlx::query("VACUUM ANALYZE messages").execute(&target.database).await.expect("it is tidied up");
    let path = format!("/api/messenger/conversations/{conversation}/messages?limit={PAGE}");
    let script = format!(
        "SELECT id, conversation_id, position, sender_id, recipient_id, content, kind, attachments, reply_to, sent_at, \
         edited_at, deleted_at, false, false FROM messages WHERE conversation_id = '{conversation}' AND position > 0 \
         AND position < 9223372036854775807 ORDER BY position DESC LIMIT {PAGE};\n"
    );
    report::header("");
    let (mut floor, mut pages) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        floor.push(pgbench::run(target, &script, READERS, duration).await);
        pages.push(read_all(target, &path, &pair.sender_token, duration).await);
        report::row("SELECT, pgbench", floor.last().expect("there is one"));
        report::row("page over REST", pages.last().expect("there is one"));
    }
    let (floor, pages) = (Figures::median(&floor), Figures::median(&pages));
    report::row("median, SELECT", &floor);
    report::row("median, page", &pages);
    println!(
        "a page of {PAGE} takes {:.1} us of CPU, of which {:.1} us are ours beyond 1.5 times its SELECT",
        pages.cpu_us(),
        pages.cpu_us() - 1.5 * floor.postgres_us
    );
}

/// Writes a conversation. Its id.
async fn fill(target: &Target, pair: &Pair) -> String {
    let mut connection = Connection::open(target.address()).await;
    let request =
        http::request("POST", target.address(), "/api/messenger/messages", &pair.sender_token, &pair.message());
    let mut id = String::new();
    for _ in 0..MESSAGES {
        let answer = connection.call(&request).await;
        assert_eq!(answer.status, 201);
        if id.is_empty() {
            let sent: Value = serde_json::from_slice(answer.body).expect("it answers JSON");
            id.push_str(sent["message"]["conversationId"].as_str().expect("it is in a conversation"));
        }
    }
    id
}

async fn read_all(target: &Target, path: &str, token: &str, duration: Duration) -> Figures {
    let (cpu, began) = (target.cpu(), Instant::now());
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let connection = Connection::open(target.address()).await;
        let request = http::request("GET", target.address(), path, token, "");
        readers.spawn(read(connection, request, began + duration));
    }
    let mut all = report::histogram();
    while let Some(histogram) = readers.join_next().await {
        all += histogram.expect("readers don't panic");
    }
    Figures::of(&all, began.elapsed(), target.cpu().since(cpu))
}

async fn read(mut connection: Connection, request: Vec<u8>, end: Instant) -> Histogram<u64> {
    let mut histogram = report::histogram();
    while Instant::now() < end {
        let began = Instant::now();
        let answer = connection.call(&request).await;
        assert_eq!(answer.status, 200);
        report::record(&mut histogram, began.elapsed());
        // A page that holds less would be cheaper.
        assert!(answer.body.len() > PAGE * 300, "it is a full page");
    }
    histogram
}

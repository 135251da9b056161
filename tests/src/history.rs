//! The history: read by auditors, exported, imported again, and asked what was.

mod access;
mod catalogue;
mod invented;
mod lines;
mod live;
mod past;

pub(crate) use invented::Invented;

use std::process::Output;
use std::sync::Arc;
use std::time::Instant;

use event_store::EventStore;
use event_store::postgres::PostgresStore;
use futures_util::StreamExt;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use crate::support::{DEADLINE, Database, Person, command};

/// The log of a database, as a node has it.
pub(crate) async fn log_of(database: &Database) -> Arc<dyn EventStore> {
    Arc::new(PostgresStore::open(database.pool().await).await.unwrap())
}

/// Runs a command of the program on a database of the tests.
pub(crate) async fn run_command(database: &Database, arguments: &[&str]) -> Output {
    run_command_with(database, arguments, &[]).await
}

/// As [`run_command`], with these settings besides.
pub(crate) async fn run_command_with(
    database: &Database,
    arguments: &[&str],
    env: &[(&'static str, String)],
) -> Output {
    let mut command = command();
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command.args(arguments).env("DATABASE_URL", database.url()).env("SWITCHBOARD_MASTER_KEY", "5a".repeat(32));
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What a command that went well has written to standard output.
#[track_caller]
pub(crate) fn written(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Asks for the history as lines.
pub(crate) async fn ask_for_lines(auditor: &Person, query: &str) -> Response {
    let url = format!("{}/api/audit/events{query}", auditor.url);
    until_ready(|| auditor.http.get(&url).bearer_auth(&auditor.token).header("accept", "application/x-ndjson")).await
}

/// Asks again for as long as the answer is that the index is behind, which comes after two seconds each: beside tests that write
/// hundreds of thousands of events it may be.
async fn until_ready(request: impl Fn() -> RequestBuilder) -> Response {
    let began = Instant::now();
    loop {
        let response = request().send().await.unwrap();
        if response.status() != 503 || began.elapsed() > DEADLINE {
            return response;
        }
    }
}

/// The lines of an answer, until so many bytes have come or the end; whether it was the end. A line that is cut off is none.
pub(crate) async fn read_lines(response: Response, bytes: usize) -> (Vec<Value>, bool) {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let mut text = vec![];
    let mut chunks = response.bytes_stream();
    let mut is_whole = true;
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.unwrap());
        if text.len() >= bytes {
            text.truncate(bytes);
            is_whole = false;
            break;
        }
    }
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = text[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    (lines.map(|line| serde_json::from_slice(line).unwrap()).collect(), is_whole)
}

/// Positions of some events.
pub(crate) fn positions(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

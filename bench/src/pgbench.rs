//! What Postgres does by itself on this machine: `pgbench`, in the same cluster.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::report::{Figures, histogram};
use crate::target::Target;

/// One row of about the size of an event a transaction, as people write it down who write it down one by one.
const INSERT: &str = "INSERT INTO pgbench_rows (data) VALUES (repeat('x', 500));\n";

/// Makes the table that rows are inserted into.
pub(crate) async fn prepare(pool: &PgPool) {
    let table =
        "CREATE TABLE IF NOT EXISTS pgbench_rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, data text)";
    sqlx::query(table).execute(pool).await.expect("the table is made");
}

/// Inserts one row a transaction.
pub(crate) async fn insert(target: &Target, clients: usize, duration: Duration) -> Figures {
    run(target, INSERT, clients, duration).await
}

/// Runs a script over prepared statements, with so many clients at a time.
pub(crate) async fn run(target: &Target, script: &str, clients: usize, duration: Duration) -> Figures {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let file = dir.path().join("script.sql");
    std::fs::write(&file, script).expect("it can be written to");
    let options = target.database.connect_options();
    let mut command = Command::new("pgbench");
    connect(&mut command, &options)
        .args(["--no-vacuum", "--protocol=prepared", "--log", "--jobs=1"])
        .arg(format!("--client={clients}"))
        .arg(format!("--time={}", duration.as_secs().max(1)))
        .arg("--file")
        .arg(&file)
        .arg(format!("--log-prefix={}", dir.path().join("log").display()));
    let cpu = target.cpu();
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it doesn't panic");
    let output = output.expect("pgbench is installed (Debian: postgresql, or postgresql-contrib)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Its processes in the database end a little later, and what one has used can't be seen in the moment in which it ends.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut all = histogram();
    for latency in latencies(dir.path()) {
        all.saturating_record(latency);
    }
    Figures::of(&all, duration, target.cpu().since(cpu))
}

fn connect<'a>(command: &'a mut Command, options: &PgConnectOptions) -> &'a mut Command {
    let host = options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    command.args(["--host", &host, "--username", options.get_username()]).env("PGDATABASE", "switchboard")
}

/// What the logs of a run say of each transaction, in microseconds: it is the third word of a line.
fn latencies(dir: &Path) -> Vec<u64> {
    let files = std::fs::read_dir(dir).expect("it can be read").flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("log."));
    let lines = logs.map(|log| std::fs::read_to_string(log.path()).expect("it can be read"));
    lines.flat_map(|log| log.lines().filter_map(latency).collect::<Vec<_>>()).collect()
}

fn latency(line: &str) -> Option<u64> {
    line.split_whitespace().nth(2)?.parse().ok()
}

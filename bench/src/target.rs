//! What is measured: a server with its Postgres, whichever product it is.

use std::path::Path;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::cpu::Cpu;

/// How often it is looked whether everything is in the read models.
const LOOK: Duration = Duration::from_millis(20);

/// A server that takes messages, and the database it keeps them in.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) server_pid: u32,
    pub(crate) postgres_pid: u32,
    pub(crate) database: PgPool,
    /// Asks the database whether everything that was acknowledged can be read.
    settled: &'static str,
}

impl Target {
    pub(crate) async fn new(
        name: &'static str,
        url: String,
        server_pid: u32,
        postgres_pid: u32,
        database: PgConnectOptions,
        settled: &'static str,
    ) -> Self {
        let pool = PgPoolOptions::new().max_connections(2).connect_with(database).await.expect("Postgres answers");
        Self { name, url, server_pid, postgres_pid, database: pool, settled }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub(crate) fn cpu(&self) -> Cpu {
        Cpu::of(self.server_pid, self.postgres_pid)
    }

    /// Resident memory of the server, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server_pid)).expect("it runs");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("Linux says how much") * 1024
    }

    /// Messages that it has.
    pub(crate) async fn messages(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM messages").fetch_one(&self.database).await.expect("Postgres answers")
    }

    /// Waits until everything that was acknowledged is in the read models.
    pub(crate) async fn settle(&self) {
        loop {
            let settled = sqlx::query_scalar(self.settled).fetch_one(&self.database).await;
            if settled.expect("Postgres answers") {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Process id of the Postgres that runs in a data directory of its own.
pub(crate) fn postgres_in(cluster: &Path) -> u32 {
    let file = std::fs::read_to_string(cluster.join("postmaster.pid")).expect("Postgres runs");
    file.lines().next().and_then(|pid| pid.trim().parse().ok()).expect("it says which process it is")
}

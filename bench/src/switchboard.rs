//! Switchboard as it comes, with the Postgres that it runs by itself.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use app::managed_postgres::ManagedPostgres;
use tempfile::TempDir;

use crate::people::ADMIN;
use crate::target::{Target, postgres_in};

const SETTLED: &str = "SELECT min(position) >= (SELECT position FROM log_head) FROM projection_checkpoints";

/// Limits that would stop a driver, which is one address and few users.
const LIMITS: [&str; 7] = [
    "SWITCHBOARD_AUTH_RATE_LIMIT",
    "SWITCHBOARD_API_RATE_LIMIT",
    "SWITCHBOARD_ADDRESS_RATE_LIMIT",
    "SWITCHBOARD_ADDRESS_HANDSHAKE_LIMIT",
    "SWITCHBOARD_SESSION_CONNECTIONS",
    "SWITCHBOARD_USER_CONNECTIONS",
    "SWITCHBOARD_ADDRESS_CONNECTIONS",
];

/// The server, as a process of its own.
pub(crate) struct Switchboard {
    process: Process,
    pub(crate) target: Target,
    data_dir: TempDir,
}

/// Ends with the driver.
struct Process(Child);

impl Switchboard {
    pub(crate) async fn start() -> Self {
        Self::start_on(tempfile::tempdir().expect("a temporary directory can be made"), &LIMITS).await
    }

    /// With the limits that it comes with.
    pub(crate) async fn start_with_limits() -> Self {
        Self::start_on(tempfile::tempdir().expect("a temporary directory can be made"), &[]).await
    }

    /// Stops it and starts it again, and how long it took until it took requests.
    pub(crate) async fn restart(self) -> (Self, Duration) {
        self.target.database.close().await;
        drop(self.process);
        let began = Instant::now();
        let again = Self::start_on(self.data_dir, &LIMITS).await;
        (again, began.elapsed())
    }

    async fn start_on(data_dir: TempDir, lifted: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("the driver knows itself"))
            .arg("server")
            .env_remove("DATABASE_URL")
            .env("SWITCHBOARD_LISTEN", "127.0.0.1:0")
            .env("SWITCHBOARD_DATA_DIR", data_dir.path())
            .envs(lifted.iter().map(|limit| (limit, "0")))
            .env("SWITCHBOARD_ADMIN_EMAIL", ADMIN.0)
            .env("SWITCHBOARD_ADMIN_PASSWORD", ADMIN.1)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let url = lines.map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("Switchboard is at ")?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        let process = Process(child);
        let url = url.expect("the server says where it is");
        let database = ManagedPostgres::beside(data_dir.path()).expect("it runs Postgres");
        let postgres = postgres_in(&data_dir.path().join("postgres"));
        let target = Target::new("Switchboard", url, process.0.id(), postgres, database, SETTLED).await;
        Self { process, target, data_dir }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

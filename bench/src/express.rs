//! The peer: Express with Socket.IO, under `bench/peers/express`, with a Postgres that is set up as ours is.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use app::managed_postgres::ManagedPostgres;

use crate::target::Target;

/// What was answered is in the table.
const SETTLED: &str = "SELECT true";

/// The peer, as a process of its own.
pub(crate) struct Express {
    child: Child,
    pub(crate) target: Target,
    postgres: ManagedPostgres,
    _data_dir: tempfile::TempDir,
}

impl Express {
    /// Starts it. Its packages are fetched the first time.
    pub(crate) async fn start() -> Self {
        let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/express"));
        if !dir.join("node_modules").exists() {
            let npm = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&dir).status();
            assert!(npm.expect("npm is installed (it comes with Node.js)").success(), "the peer's packages are there");
        }
        let data_dir = tempfile::tempdir().expect("a temporary directory can be made");
        let postgres = ManagedPostgres::start(data_dir.path(), None).await.expect("Postgres starts");
        let database = postgres.connect_options("switchboard");
        let socket = database.get_socket().expect("it listens on a socket").display().to_string();
        let mut child = Command::new("node")
            .arg("server.mjs")
            .current_dir(dir)
            .env("DATABASE_URL", format!("socket://{}@{socket}?db=switchboard", database.get_username()))
            .env("NODE_ENV", "production")
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node.js is installed");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let url = format!("http://127.0.0.1:{}", port.expect("the peer says where it is"));
        let target = Target::new("Express", url, child.id(), postgres.process_id(), database, SETTLED).await;
        Self { child, target, postgres, _data_dir: data_dir }
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.target.database.close().await;
        self.postgres.stop().await;
    }
}

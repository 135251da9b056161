//! The real server, as a process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::{DEADLINE, Database};

/// Email and password of the super admin of every server.
pub(crate) const ADMIN: (&str, &str) = ("root@example.com", "correct horse battery");

/// Limits that servers of the tests don't have unless a test says so.
const LIMITS: [&str; 9] = [
    "SWITCHBOARD_AUDIT_QUERY_LIMIT",
    "SWITCHBOARD_AUTH_RATE_LIMIT",
    "SWITCHBOARD_API_RATE_LIMIT",
    "SWITCHBOARD_ADDRESS_RATE_LIMIT",
    "SWITCHBOARD_ADDRESS_HANDSHAKE_LIMIT",
    "SWITCHBOARD_SESSION_CONNECTIONS",
    "SWITCHBOARD_USER_CONNECTIONS",
    "SWITCHBOARD_ADDRESS_CONNECTIONS",
    "SWITCHBOARD_DISK_RESERVE_MB",
];

const OWN_WRITES_WAIT: &str = "SWITCHBOARD_OWN_WRITES_WAIT";

/// How a server is started.
#[derive(Default)]
pub(crate) struct Settings {
    /// Environment variables besides those that every server of the tests has.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Command-line arguments.
    pub(crate) args: Vec<&'static str>,
    /// Soft limit of descriptors, if not that of the tests.
    pub(crate) soft_descriptors: Option<u32>,
}

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    /// Where it is, like `http://127.0.0.1:40123`.
    pub(crate) url: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server on a database of the tests and waits until it serves.
    pub(crate) async fn start(database: &Database) -> Self {
        Self::start_with(database, Settings::default()).await
    }

    pub(crate) async fn start_with(database: &Database, mut settings: Settings) -> Self {
        settings.env.push(("DATABASE_URL", database.url()));
        for limit in LIMITS {
            if settings.env.iter().all(|(name, _)| *name != limit) {
                settings.env.push((limit, "0".to_owned()));
            }
        }
        settings.env.push(("SWITCHBOARD_MASTER_KEY", "5a".repeat(32)));
        // However busy the machine is, a test reads what it has written.
        if settings.env.iter().all(|(name, _)| *name != OWN_WRITES_WAIT) {
            settings.env.push((OWN_WRITES_WAIT, "30s".to_owned()));
        }
        if settings.env.iter().all(|(name, _)| *name != "SWITCHBOARD_DATA_DIR") {
            // The same for every node on a database.
            let data_dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("data");
            settings.env.push(("SWITCHBOARD_DATA_DIR", data_dir.display().to_string()));
        }
        settings.env.push(("SWITCHBOARD_ADMIN_EMAIL", ADMIN.0.to_owned()));
        settings.env.push(("SWITCHBOARD_ADMIN_PASSWORD", ADMIN.1.to_owned()));
        Self::run(&settings).await.unwrap_or_else(|lines| panic!("the server doesn't start:\n{}", lines.join("\n")))
    }

    /// Starts a server with these settings only; what it said, when it ends instead of serving.
    pub(crate) async fn run(settings: &Settings) -> Result<Self, Vec<String>> {
        let mut command = settings.soft_descriptors.map_or_else(command, command_with_descriptors);
        command.args(&settings.args).envs(settings.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(vec![]));
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let streams: [Box<dyn std::io::Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
        for stream in streams {
            let (lines, tell) = (lines.clone(), tell.clone());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Some((_, rest)) = line.split_once("Switchboard is at ") {
                        let _ = tell.send(rest.split_whitespace().next().unwrap_or_default().to_owned());
                    }
                    lines.lock().unwrap().push(line);
                }
            });
        }
        drop(tell);
        if let Ok(Some(url)) = tokio::time::timeout(DEADLINE * 4, told.recv()).await {
            return Ok(Self { child, url, lines });
        }
        let _ = child.kill();
        let _ = child.wait();
        let lines = lines.lock().unwrap().clone();
        Err(lines)
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an operator would, and waits until it is gone. Whether it said that all went well.
    pub(crate) async fn stop(mut self) -> bool {
        self.signal("TERM");
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(tokio::time::Instant::now() < deadline, "the server doesn't stop: {:?}", self.lines());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Its resident memory now.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS")
    }

    /// Does something; by how many KiB the server's memory was larger at its worst than it was before.
    pub(crate) async fn growth_kib(&self, work: impl Future<Output = ()>) -> u64 {
        // The worst so far is forgotten.
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
        let before = self.resident_kib();
        work.await;
        let growth = self.memory_kib("VmHWM").saturating_sub(before);
        println!("{before} KiB before, {growth} KiB more at worst, now {} KiB", self.resident_kib());
        growth
    }

    fn memory_kib(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// One of the figures at `/metrics`; 0 as long as it isn't there.
    pub(crate) async fn figure(&self, name: &str) -> u64 {
        let figures = super::anonymous(&self.url, reqwest::Method::GET, "/metrics", None).await.expect(200).body;
        let line = figures.as_str().unwrap().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |figure| figure.parse().unwrap())
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has said so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program: this one, or another one that is to be compared with it (`SWITCHBOARD_TEST_PROGRAM`).
fn program() -> String {
    let other = std::env::var("SWITCHBOARD_TEST_PROGRAM");
    other.unwrap_or_else(|_| env!("CARGO_BIN_EXE_switchboard-under-test").to_owned())
}

/// The program, in an environment that says nothing to it.
pub(crate) fn command() -> Command {
    in_silence(Command::new(program()))
}

/// The same, with so many descriptors.
fn command_with_descriptors(soft_limit: u32) -> Command {
    let mut command = in_silence(Command::new("sh"));
    let script = format!("ulimit -Sn {soft_limit}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, &program()]);
    command
}

fn in_silence(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command.env("SWITCHBOARD_LISTEN", "127.0.0.1:0");
    command
}

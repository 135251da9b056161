//! Keeps Postgres running: starts it, waits until it is ready, starts it again when it dies, and stops it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::binaries::Binaries;
use super::cluster::Cluster;
use super::error::{ManagedPostgresError, files};
use super::identity::Identity;
use crate::machine::program;

/// Time that Postgres may take to stop before it is killed, which costs a recovery at the next start.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Time for which a first start is retried.
const START_PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
const RESTART_PAUSE: Duration = Duration::from_millis(250);

/// Postgres under supervision.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    process_id: AtomicU32,
    is_stopping: AtomicBool,
}

/// Parameters of starting Postgres.
struct Server {
    cluster: Cluster,
    binaries: Binaries,
    identity: Identity,
    shared: Arc<Shared>,
}

impl Supervisor {
    /// Starts Postgres and waits until it is ready.
    pub(super) fn start(
        cluster: Cluster,
        binaries: Binaries,
        identity: Identity,
    ) -> Result<Self, ManagedPostgresError> {
        let shared = Arc::new(Shared { process_id: AtomicU32::new(0), is_stopping: AtomicBool::new(false) });
        let server = Server { cluster, binaries, identity, shared: shared.clone() };
        let (tell, told) = mpsc::channel();
        // A thread of its own, which lives as long as we do: a child that is to die with its parent dies with the thread that
        // started it.
        let thread = thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || server.supervise(&tell))
            .map_err(files("start a thread for", std::path::Path::new("postgres")))?;
        let ready =
            told.recv().unwrap_or_else(|_| Err(ManagedPostgresError::NotReady("its thread is gone".to_owned())));
        ready.map(|()| Self { shared, thread: Some(thread) })
    }

    /// Process id of the server.
    pub(super) fn process_id(&self) -> u32 {
        self.shared.process_id.load(Ordering::Acquire)
    }

    /// Stops Postgres and waits until it is gone.
    pub(super) fn stop(mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn tell_to_stop(&self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        signal(self.process_id(), "INT");
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.tell_to_stop();
        }
    }
}

impl Server {
    fn supervise(&self, tell: &mpsc::Sender<Result<(), ManagedPostgresError>>) {
        let began = Instant::now();
        // What an earlier Postgres that was killed has left behind may take a moment to go away.
        let mut child = loop {
            match self.start() {
                Ok(child) => break child,
                Err(error) if began.elapsed() > START_PATIENCE => return drop(tell.send(Err(error))),
                Err(error) => tracing::debug!(%error, "Postgres did not start; retrying"),
            }
            thread::sleep(RESTART_PAUSE);
        };
        let _ = tell.send(Ok(()));
        loop {
            self.wait(&mut child);
            if self.is_stopping() {
                return;
            }
            tracing::error!("Postgres died; restarting it");
            child = loop {
                thread::sleep(RESTART_PAUSE);
                if self.is_stopping() {
                    return;
                }
                match self.start() {
                    Ok(child) => break child,
                    Err(error) => tracing::error!(%error, "restarting Postgres failed; retrying"),
                }
            };
        }
    }

    /// Waits until the child is gone.
    fn wait(&self, child: &mut Child) {
        let mut told = None;
        loop {
            match child.try_wait() {
                Ok(Some(_)) | Err(_) => return,
                Ok(None) => {}
            }
            if self.is_stopping() {
                let since = *told.get_or_insert_with(Instant::now);
                if since.elapsed() > STOP_PATIENCE {
                    let _ = child.kill();
                }
            }
            thread::sleep(POLL);
        }
    }

    fn start(&self) -> Result<Child, ManagedPostgresError> {
        self.wait_for_predecessor();
        let mut child = self.spawn()?;
        self.shared.process_id.store(child.id(), Ordering::Release);
        // However long it takes: after a crash it goes through its write-ahead log first, and to stop it would only start that over.
        while !self.is_ready(child.id()) {
            if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
                return Err(ManagedPostgresError::NotReady(self.cluster.end_of_log()));
            }
            if self.is_stopping() {
                signal(child.id(), "INT");
            }
            thread::sleep(POLL);
        }
        Ok(child)
    }

    fn spawn(&self) -> Result<Child, ManagedPostgresError> {
        let log = self.cluster.log()?;
        let mut socket = std::ffi::OsString::from("unix_socket_directories=");
        socket.push(self.cluster.socket_dir());
        let mut command = self.identity.command(&self.binaries.program("postgres"));
        command.arg("-D").arg(self.cluster.dir()).arg("-c").arg(socket);
        // Each statement's memory is given back when it is done, and glibc gives it on to the system, for the next one to ask for again
        // page by page. It may keep this much a connection.
        command.envs(["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"].map(|name| (name, "8388608")));
        for setting in [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "fsync=on",
            "max_connections=100",
            // What is written to over and over stays in memory until a checkpoint, and those are few: after each, every page that is
            // touched goes into the write-ahead log whole. The log may take this much of the disk, and a minute to go through.
            "shared_buffers=256MB",
            "max_wal_size=2GB",
            "checkpoint_timeout=15min",
            // A title that says what each process does costs a system call a statement.
            "update_process_title=off",
            // Queries are short: to compile one takes longer than to run it.
            "jit=off",
            // Errors go to the client, with what they are about; a log for operators is no place for personal data.
            "log_min_messages=log",
            "log_error_verbosity=terse",
            "log_checkpoints=off",
        ] {
            command.args(["-c", setting]);
        }
        command
            .current_dir("/")
            // A Ctrl-C at the terminal is meant for us: we stop Postgres when we are done with it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(files("run postgres for", self.cluster.dir()))
    }

    /// Returns true if the server with this process id accepts connections.
    fn is_ready(&self, process_id: u32) -> bool {
        let Some(pid_file) = self.pid_file() else { return false };
        let mut lines = pid_file.lines();
        lines.next() == Some(process_id.to_string().as_str())
            && lines.nth(6).is_some_and(|status| status.trim() == "ready")
    }

    fn pid_file(&self) -> Option<String> {
        fs::read_to_string(self.cluster.dir().join("postmaster.pid")).ok()
    }

    /// A Postgres that an earlier process has left behind, because it was killed a moment ago, is shutting down: it is told so
    /// once more, and waited for.
    fn wait_for_predecessor(&self) {
        let began = Instant::now();
        let mut told = false;
        while let Some(process_id) = self.pid_file().and_then(|file| file.lines().next()?.parse().ok()) {
            if !self.is_ours(process_id) || began.elapsed() > STOP_PATIENCE {
                return;
            }
            if !told {
                tracing::info!(process_id, "waiting for the Postgres of a previous process to stop");
                signal(process_id, "INT");
                told = true;
            }
            thread::sleep(POLL);
        }
    }

    /// Returns true if this process is a Postgres that runs this very cluster. The file it left behind may be old, and its number somebody
    /// else's by now.
    fn is_ours(&self, process_id: u32) -> bool {
        let output = program("ps").args(["-ww", "-o", "args=", "-p", &process_id.to_string()]).output();
        let cluster = self.cluster.dir().display().to_string();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&format!("-D {cluster}")))
    }

    fn is_stopping(&self) -> bool {
        self.shared.is_stopping.load(Ordering::Acquire)
    }
}

fn signal(process_id: u32, name: &str) {
    if process_id > 0 {
        let _ = program("kill").args(["-s", name, &process_id.to_string()]).stderr(Stdio::null()).status();
    }
}

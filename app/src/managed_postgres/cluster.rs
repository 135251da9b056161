//! The files of the cluster.

use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::binaries::Binaries;
use super::error::{ManagedPostgresError, files};
use super::identity::Identity;

/// The name of the database superuser, who is the only user.
pub(super) const USER: &str = "switchboard";
/// Longest path of a socket, in bytes: the field in `sockaddr_un` has 108 with its end, on macOS 104.
const MAX_SOCKET_PATH: usize = 103;
const SOCKET_NAME: &str = ".s.PGSQL.5432";
const MAX_LOG_BYTES: u64 = 1024 * 1024;

/// The cluster in a data directory.
#[derive(Debug)]
pub(super) struct Cluster {
    dir: PathBuf,
    socket_dir: PathBuf,
    log: PathBuf,
}

impl Cluster {
    pub(super) fn in_dir(data_dir: &Path) -> Result<Self, ManagedPostgresError> {
        let mut socket_dir = data_dir.join("socket");
        if socket_dir.join(SOCKET_NAME).as_os_str().len() > MAX_SOCKET_PATH {
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(data_dir);
            socket_dir = std::env::temp_dir().join(format!("switchboard-{hash:016x}"));
        }
        if socket_dir.join(SOCKET_NAME).as_os_str().len() > MAX_SOCKET_PATH {
            let too_long = io::Error::new(io::ErrorKind::InvalidFilename, "the path is too long for a socket");
            return Err(files("use", &socket_dir)(too_long));
        }
        Ok(Self { dir: data_dir.join("postgres"), socket_dir, log: data_dir.join("postgres.log") })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The major version that the cluster was made with, if it was made.
    pub(super) fn major_version(&self) -> Result<Option<String>, ManagedPostgresError> {
        let path = self.dir.join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(version) => Ok(Some(version.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.dir.exists() => Ok(None),
            Err(error) => Err(files("read", &path)(error)),
        }
    }

    /// Makes the cluster if there is none, and the directory of its socket.
    pub(super) fn ensure(&self, binaries: &Binaries, identity: &Identity) -> Result<(), ManagedPostgresError> {
        self.ensure_socket_dir(identity)?;
        if self.dir.exists() {
            return Ok(());
        }
        // Made aside and then renamed, so that what was interrupted is never taken for a cluster.
        let new = self.dir.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(files("remove", &new))?;
        }
        private_dir(&new)?;
        identity.give(&new)?;
        let output = identity
            .command(&binaries.program("initdb"))
            .arg("--pgdata")
            .arg(&new)
            .args(["--username", USER, "--auth=trust", "--encoding=UTF8", "--no-locale", "--data-checksums"])
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .map_err(files("run initdb for", &new))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(ManagedPostgresError::Program { program: "initdb", output });
        }
        fs::rename(&new, &self.dir).map_err(files("rename", &new))
    }

    /// Log file of Postgres. Truncated once it has grown large.
    pub(super) fn log(&self) -> Result<File, ManagedPostgresError> {
        let is_large = fs::metadata(&self.log).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES);
        let mut options = File::options();
        options.create(true).write(true).truncate(is_large).append(!is_large);
        options.open(&self.log).map_err(files("write", &self.log))
    }

    /// The last lines of what Postgres has said.
    pub(super) fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn ensure_socket_dir(&self, identity: &Identity) -> Result<(), ManagedPostgresError> {
        // Made anew: one in the temporary directory may have been put there by somebody else.
        if self.socket_dir.exists() {
            fs::remove_dir_all(&self.socket_dir).map_err(files("remove", &self.socket_dir))?;
        }
        private_dir(&self.socket_dir)?;
        identity.give(&self.socket_dir)
    }
}

/// A directory that nobody else may enter.
fn private_dir(path: &Path) -> Result<(), ManagedPostgresError> {
    DirBuilder::new().mode(0o700).create(path).map_err(files("make", path))
}

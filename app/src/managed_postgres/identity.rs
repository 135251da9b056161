//! As whom Postgres runs: as ourselves, unless we are root, which it refuses.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{ManagedPostgresError, files};
use crate::machine::program;

/// As whom Postgres runs, and how to run it so that it dies with us.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    setpriv: Option<PathBuf>,
    user: Option<User>,
}

#[derive(Debug, Clone)]
struct User {
    uid: u32,
    gid: u32,
    /// True if the user cannot reach the data directory, because it is in root's own home.
    needs_search: bool,
}

impl Identity {
    /// Ourselves; for root, the user `postgres` or else `nobody`.
    pub(super) fn choose(data_dir: &Path) -> Result<Self, ManagedPostgresError> {
        let setpriv = find_program("setpriv");
        let metadata = fs::metadata("/proc/self").or_else(|_| fs::metadata(data_dir));
        let is_root = metadata.is_ok_and(|metadata| metadata.uid() == 0);
        if !is_root {
            return Ok(Self { setpriv, user: None });
        }
        if setpriv.is_none() {
            return Err(ManagedPostgresError::Root("setpriv, which runs it as somebody else, isn't installed"));
        }
        let (uid, gid) = account("postgres")
            .or_else(|| account("nobody"))
            .ok_or(ManagedPostgresError::Root("there is no user postgres or nobody to run it"))?;
        let data = fs::metadata(data_dir).map_err(files("look at", data_dir))?;
        if data.uid() == 0 && data.mode() & 0o1067 == 0 {
            // Nobody else gets into what is ours alone, and this user only through, to what is its own. Others' we leave as it is.
            chown(data_dir, None, Some(gid)).map_err(files("give the group of", data_dir))?;
            fs::set_permissions(data_dir, Permissions::from_mode(0o710)).map_err(files("close", data_dir))?;
        }
        let mut identity = Self { setpriv, user: Some(User { uid, gid, needs_search: false }) };
        if !identity.can_enter(data_dir)
            && let Some(user) = &mut identity.user
        {
            user.needs_search = true;
            if !identity.can_enter(data_dir) {
                return Err(ManagedPostgresError::Root("no other user can enter the data directory"));
            }
        }
        Ok(identity)
    }

    /// A command that runs a program as whom Postgres runs.
    pub(super) fn command(&self, path: &Path) -> Command {
        let Some(setpriv) = &self.setpriv else { return program(path) };
        let mut command = program(setpriv);
        if let Some(user) = &self.user {
            command.args([format!("--reuid={}", user.uid), format!("--regid={}", user.gid)]);
            command.arg("--clear-groups");
            if user.needs_search {
                // To pass through directories such as root's home on its way to its own files. It could read others' too, but so
                // could root, whose Postgres it is.
                command.args(["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]);
            }
        }
        // When we die, even by SIGKILL, Postgres shuts down in order.
        command.args(["--pdeathsig=INT", "--"]).arg(path);
        command
    }

    /// Gives a directory that we have made to whom Postgres runs as.
    pub(super) fn give(&self, path: &Path) -> Result<(), ManagedPostgresError> {
        match &self.user {
            Some(user) => chown(path, Some(user.uid), Some(user.gid)).map_err(files("give away", path)),
            None => Ok(()),
        }
    }

    fn can_enter(&self, dir: &Path) -> bool {
        let test = find_program("test").unwrap_or_else(|| "/usr/bin/test".into());
        // Canonical, so every directory above it must let the user through.
        self.command(&test)
            .arg("-d")
            .arg(dir.join("."))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}

/// User and group of an account on this machine.
fn account(name: &str) -> Option<(u32, u32)> {
    fs::read_to_string("/etc/passwd").ok()?.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        is_it.then_some((uid, gid))
    })
}

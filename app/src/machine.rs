//! What the process asks of the machine it runs on: files that nobody else can read, and enough descriptors.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit, umask};

/// What a data directory has in it.
const OWN_NAMES: [&str; 5] = ["lock", "master.key", "files", "postgres", "postgres.log"];
/// Variables that programs get which this one starts. They get no others: some are secrets.
const PASSED_ON: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "LANG", "TZ"];

/// Has every file and directory that is made from now on be for our own eyes only.
pub(crate) fn keep_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Raises the soft limit of open descriptors to the hard one. Returns how many there may be; none when there is no limit.
pub(crate) fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "raising the limit of open descriptors failed; going on with the soft limit");
            limit.current
        }
    }
}

/// Makes a directory that nobody else may enter, or closes one of ours that others may.
///
/// # Errors
/// When it can't be made.
pub(crate) fn ensure_private_dir(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return DirBuilder::new().recursive(true).mode(0o700).create(path);
    }
    let metadata = fs::metadata(path)?;
    // Our own Postgres may pass through, see `managed_postgres::identity`.
    if metadata.mode() & 0o067 == 0 {
        return Ok(());
    }
    let is_ours = metadata.uid() == getuid().as_raw() && metadata.mode() & 0o1000 == 0;
    let is_data_dir = fs::read_dir(path)?.next().is_none() || OWN_NAMES.iter().any(|name| path.join(name).exists());
    if is_ours && is_data_dir {
        return fs::set_permissions(path, Permissions::from_mode(0o700));
    }
    tracing::warn!(path = %path.display(), "others may enter the data directory; only what is made in it from now on is private");
    Ok(())
}

/// Free bytes on the file system of a path, for whoever isn't root; none when that can't be found out.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A program to start, in an environment without our secrets.
pub(crate) fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(path);
    command.env_clear();
    command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_data_directory_is_closed_to_others_and_nothing_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("a/b");
        ensure_private_dir(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        let open = |name: &str, inside: &str, mode| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            if !inside.is_empty() {
                fs::create_dir(path.join(inside)).unwrap();
            }
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            ensure_private_dir(&path).unwrap();
            path
        };
        assert_eq!(mode(&open("empty", "", 0o755)), 0o700);
        assert_eq!(mode(&open("data", "postgres", 0o755)), 0o700);
        assert_eq!(mode(&open("home", "documents", 0o755)), 0o755, "it is no data directory");
        assert_eq!(mode(&open("tmp", "lock", 0o1777)), 0o1777, "it is everybody's");
    }

    #[test]
    fn programs_get_no_environment_but_what_they_need() {
        let output = program("env").env("EXTRA", "1").output().unwrap();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let name = line.split('=').next().unwrap();
            assert!(PASSED_ON.contains(&name) || name == "EXTRA", "{line}");
        }
    }

    #[test]
    fn there_may_be_as_many_descriptors_as_the_machine_allows() {
        let limit = raise_descriptor_limit();
        assert_eq!(limit, getrlimit(Resource::Nofile).maximum);
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
    }
}

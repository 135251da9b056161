//! Requirements of the process on its machine: private files, and enough file descriptors.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit, umask};

/// Names found in a data directory only.
const OWN_NAMES: [&str; 2] = ["master.key", "postgres/PG_VERSION"];
/// Descriptors to ask for where the hard limit is more than the machine gives, as macOS does.
const FALLBACK_DESCRIPTORS: u64 = 10_240;
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
    let raise = |current| setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum }).map(|()| current);
    let fallback = limit.maximum.unwrap_or(FALLBACK_DESCRIPTORS).min(FALLBACK_DESCRIPTORS);
    raise(limit.maximum).or_else(|_| raise(Some(fallback))).unwrap_or_else(|error| {
        tracing::warn!(%error, "raising the limit of open descriptors failed; going on with the soft limit");
        limit.current
    })
}

/// Makes a directory that nobody else may enter, or closes one of ours that others may. Directories above it that aren't there either
/// are made as usual: whoever may have something in it has to pass through them.
///
/// # Errors
/// If it can't be made.
pub(crate) fn ensure_private_dir(path: &Path) -> io::Result<()> {
    if !path.exists() {
        if let Some(parent) = path.parent() {
            make_open_dirs(parent)?;
        }
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
    tracing::warn!(path = %path.display(), "other users may enter the data directory; only new files in it are private");
    Ok(())
}

/// Makes a directory, and those above it, that everybody may enter.
fn make_open_dirs(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_open_dirs(parent)?;
    }
    DirBuilder::new().recursive(true).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
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
        assert_eq!(mode(&dir.path().join("a")), 0o755, "others may pass through to what is theirs");
        let open = |name: &str, inside: &str, mode| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            if !inside.is_empty() {
                fs::create_dir_all(path.join(inside)).unwrap();
            }
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            ensure_private_dir(&path).unwrap();
            path
        };
        assert_eq!(mode(&open("empty", "", 0o755)), 0o700);
        assert_eq!(mode(&open("data", "postgres/PG_VERSION", 0o755)), 0o700);
        assert_eq!(mode(&open("home", "files", 0o755)), 0o755, "it is no data directory");
        assert_eq!(mode(&open("tmp", "master.key", 0o1777)), 0o1777, "it is everybody's");
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

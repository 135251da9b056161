//! Location of the Postgres programs.

use std::path::{Path, PathBuf};

use super::error::ManagedPostgresError;
use crate::machine::program;

const OLDEST_MAJOR_VERSION: u32 = 15;

/// The programs of one installation of Postgres.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    dir: PathBuf,
    major_version: u32,
}

impl Binaries {
    /// The newest installation that there is, or the one of the given major version, which a cluster was made with.
    pub(super) fn find(only_in: Option<&Path>, major_version: Option<&str>) -> Result<Self, ManagedPostgresError> {
        let candidates = only_in.map_or_else(candidates, |dir| vec![dir.to_owned()]);
        let mut found: Vec<Self> = candidates.iter().filter_map(|dir| Self::in_dir(dir)).collect();
        found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major_version));
        match major_version {
            None => {
                let newest = found.into_iter().next().filter(|newest| newest.major_version >= OLDEST_MAJOR_VERSION);
                newest.ok_or_else(|| ManagedPostgresError::NoBinaries("15 or later ".to_owned()))
            }
            Some(wanted) => {
                let same = found.iter().find(|binaries| binaries.major_version.to_string() == wanted).cloned();
                same.ok_or_else(|| {
                    let others: Vec<String> = found.iter().map(|other| other.major_version.to_string()).collect();
                    let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
                    ManagedPostgresError::NoBinaries(format!(
                        "{wanted} (which the data directory was made with; installed: {others}) was "
                    ))
                })
            }
        }
    }

    /// One of the programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn in_dir(dir: &Path) -> Option<Self> {
        // A link in a directory of links: the other programs are beside the program itself.
        let postgres = dir.join("postgres").canonicalize().ok()?;
        let dir = postgres.parent()?.to_owned();
        if !dir.join("initdb").is_file() {
            return None;
        }
        let output = program(&postgres).arg("--version").output().ok()?;
        let major_version = parse_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { dir, major_version })
    }
}

/// `postgres (PostgreSQL) 15.19 (Debian 15.19-0+deb12u1)` is 15.
fn parse_version(output: &str) -> Option<u32> {
    let version = output.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    major.parse().ok()
}

/// Directories where the programs may be: those of `PATH`, and where Debian, Fedora and Homebrew put each version.
fn candidates() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        std::env::var_os("PATH").map_or_else(Vec::new, |path| std::env::split_paths(&path).collect());
    for (parent, rest) in [
        ("/usr/lib/postgresql", "bin"),
        ("/usr/pgsql-15", "bin"),
        ("/usr/pgsql-16", "bin"),
        ("/usr/pgsql-17", "bin"),
        ("/usr/pgsql-18", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
    ] {
        dirs.push(Path::new(parent).join(rest));
        let versions = std::fs::read_dir(parent).into_iter().flatten().flatten();
        dirs.extend(
            versions
                .filter(|entry| {
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    name.starts_with("postgresql") || name.chars().all(|c| c.is_ascii_digit())
                })
                .map(|entry| entry.path().join(rest)),
        );
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.19 (Debian 15.19-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_version("?"), None);
    }

    #[test]
    fn a_version_that_is_not_installed_is_asked_for_by_name() {
        let error = Binaries::find(None, Some("9")).unwrap_err().to_string();
        assert!(error.contains("no Postgres 9 (which the data directory was made with"), "{error}");
    }
}

//! Programs that only a package of the operating system brings. A test gets one by finding it, and what needs it is started with it. A
//! test that doesn't find it isn't run; `not_run.rs` counts those in the end.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::install;

/// Chromium, where Debian puts it.
pub(crate) struct Chromium(());

impl Chromium {
    pub(crate) const PROGRAM: &str = "/usr/bin/chromium";

    pub(crate) fn find() -> Option<Self> {
        found(runs(Self::PROGRAM), "chromium").then_some(Self(()))
    }
}

/// The TURN server coturn, with its own client.
pub(crate) struct Coturn(());

impl Coturn {
    pub(crate) const SERVER: &str = "turnserver";
    pub(crate) const CLIENT: &str = "turnutils_uclient";

    pub(crate) fn find() -> Option<Self> {
        // Its client knows no `--version`.
        found(runs(Self::SERVER) && is_on_the_path(Self::CLIENT), "coturn").then_some(Self(()))
    }
}

/// The command `curl`.
pub(crate) struct Curl(());

impl Curl {
    pub(crate) fn find() -> Option<Self> {
        found(runs("curl"), "curl").then_some(Self(()))
    }

    #[expect(clippy::unused_self, reason = "it is only to be run where it was found")]
    pub(crate) fn command(&self) -> tokio::process::Command {
        tokio::process::Command::new("curl")
    }
}

/// The command `nats-server`.
pub(crate) struct NatsServer(());

impl NatsServer {
    pub(crate) fn find() -> Option<Self> {
        found(runs("nats-server"), "nats-server").then_some(Self(()))
    }

    #[expect(clippy::unused_self, reason = "it is only to be run where it was found")]
    pub(crate) fn command(&self) -> Command {
        Command::new("nats-server")
    }
}

/// Python, with the packages that the tests need in an environment of their own.
pub(crate) struct Python {
    programs: &'static Path,
}

impl Python {
    /// Where the Python of the tests is.
    pub(crate) const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

    pub(crate) fn find() -> Option<Self> {
        let has_venv = || succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"]));
        found(has_venv(), "python3-venv").then(|| Self { programs: environment() })
    }

    /// One of the programs of its packages.
    pub(crate) fn command(&self, program: &str) -> Command {
        Command::new(self.programs.join(program))
    }
}

/// The programs of the environment, which is made on first use.
fn environment() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        let requirements = Path::new(Python::DIR).join("requirements.txt");
        install::once(&requirements, &environment, || {
            let run = |program: &OsStr, args: &[&OsStr]| {
                let output = Command::new(program).args(args).output().unwrap();
                assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            };
            run("python3".as_ref(), &["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), environment.as_ref()]);
            let pip = ["install", "--quiet", "--disable-pip-version-check", "--requirement"].map(OsStr::new);
            run(environment.join("bin/pip").as_ref(), &[&pip[..], &[requirements.as_ref()]].concat());
        });
        environment.join("bin")
    })
}

/// The setting of something that no package manager brings, and nobody is expected to have; none where it isn't set.
pub(crate) fn set_up_by_hand(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        note_not_run("variable", variable);
    }
    value
}

/// Notes that a test isn't run, if a package isn't there. Where everything is meant to be (`SWITCHBOARD_TEST_SKIP=never`), that is a
/// failure.
fn found(is_there: bool, package: &str) -> bool {
    if !is_there {
        let may_be_skipped = std::env::var("SWITCHBOARD_TEST_SKIP").as_deref() != Ok("never");
        assert!(may_be_skipped, "this test needs {package} (Debian: apt install {package})");
        note_not_run("package", package);
    }
    is_there
}

/// Adds the test to the list of those that this run of Cargo has not run.
fn note_not_run(kind: &str, needed: &str) {
    static LIST: OnceLock<std::fs::File> = OnceLock::new();
    let list = LIST.get_or_init(|| {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("not_run.{}", std::os::unix::process::parent_id()));
        let _ = std::fs::remove_file(&path);
        std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap()
    });
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    (&*list).write_all(format!("{kind} {needed} {test}\n").as_bytes()).unwrap();
}

fn is_on_the_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn runs(program: &str) -> bool {
    succeeds(Command::new(program).arg("--version"))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

//! What a machine may lack.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something that a test needs and Rust doesn't bring along.
#[derive(Clone, Copy)]
pub(crate) enum Requirement {
    /// The official Socket.IO client, and Node to run it.
    SocketIoClient,
    /// The official parser of AsyncAPI documents, and Node to run it.
    AsyncApiParser,
    /// The linter of OpenAPI documents, and Node to run it.
    OpenApiLinter,
    /// The generator of TypeScript from OpenAPI documents, its client, the compiler, and Node to run them.
    TypeScript,
    /// The command `nats-server`.
    NatsServer,
    /// The command `curl`.
    Curl,
    /// Chromium, the library that drives it, and the official Socket.IO client for its pages.
    Chromium,
    /// The TURN server coturn, and its own client.
    Coturn,
    /// The command `schemathesis`.
    Schemathesis,
    /// A server that speaks S3: the command `moto_server`.
    S3Server,
}

impl Requirement {
    fn is_there(self) -> bool {
        match self {
            Self::AsyncApiParser => runs("node") && is_module("@asyncapi/parser"),
            Self::OpenApiLinter => runs("node") && is_module("@redocly/cli"),
            Self::TypeScript => {
                runs("node") && ["typescript", "openapi-typescript", "openapi-fetch"].into_iter().all(is_module)
            }
            Self::NatsServer => runs("nats-server"),
            Self::SocketIoClient => runs("node") && is_module("socket.io-client"),
            Self::Curl => runs("curl"),
            Self::Chromium => Self::SocketIoClient.is_there() && is_module("playwright-core") && runs(CHROMIUM),
            // Its client knows no `--version`.
            Self::Coturn => runs("turnserver") && is_on_the_path("turnutils_uclient"),
            Self::Schemathesis => runs(python_program("schemathesis")),
            // It knows no `--version`.
            Self::S3Server => python_program("moto_server").is_file() || is_on_the_path("moto_server"),
        }
    }

    fn how_to_install(self) -> &'static str {
        match self {
            Self::SocketIoClient => {
                "the official Socket.IO client: install Node.js 20 (Debian: apt install nodejs npm), then run \
                 `npm ci --prefix tests/js`"
            }
            Self::AsyncApiParser => {
                "the official AsyncAPI parser: install Node.js 20 (Debian: apt install nodejs npm), then run \
                 `npm ci --prefix tests/js`"
            }
            Self::OpenApiLinter => {
                "the OpenAPI linter of Redocly: install Node.js 20 (Debian: apt install nodejs npm), then run \
                 `npm ci --prefix tests/js`"
            }
            Self::TypeScript => {
                "TypeScript and openapi-typescript: install Node.js 20 (Debian: apt install nodejs npm), then run \
                 `npm ci --prefix tests/js`"
            }
            Self::NatsServer => "a NATS server (Debian: apt install nats-server)",
            Self::Curl => "curl (Debian: apt install curl)",
            Self::Chromium => {
                "Chromium at /usr/bin/chromium (Debian: apt install chromium) and Node.js 20 (apt install nodejs npm); then run \
                 `npm ci --prefix tests/js`"
            }
            Self::Coturn => "coturn (Debian: apt install coturn)",
            Self::Schemathesis => {
                "schemathesis: install Python 3.10 or later (Debian: apt install python3 python3-venv), then run \
                 `python3 -m venv target/python` and `target/python/bin/pip install -r tests/python/requirements.txt`"
            }
            Self::S3Server => {
                "moto, an S3 server: install Python 3.10 or later (Debian: apt install python3 python3-venv), then run \
                 `python3 -m venv target/python` and `target/python/bin/pip install -r tests/python/requirements.txt`"
            }
        }
    }
}

/// Where Debian puts it.
pub(crate) const CHROMIUM: &str = "/usr/bin/chromium";
/// Where the JavaScript of the tests is.
pub(crate) const JS_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/js");
/// Where the Python of the tests is.
pub(crate) const PYTHON_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

/// A program that comes from the Python Package Index: the one of `target/python` if it is there, or else the one on the path.
pub(crate) fn python_program(name: &str) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin").join(name);
    if installed.is_file() { installed } else { PathBuf::from(name) }
}

/// Whether a test can run. When it can't, says so where everybody sees it; where everything is meant to be installed
/// (`SWITCHBOARD_TEST_SKIP=never`), that is a failure.
pub(crate) fn is_installed(requirement: Requirement) -> bool {
    let is_there = requirement.is_there();
    if !is_there {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let message = format!("NOT RUN: {test} needs {}\n", requirement.how_to_install());
        assert!(std::env::var("SWITCHBOARD_TEST_SKIP").as_deref() != Ok("never"), "{message}");
        // Not `eprintln!`, which the test runner keeps to itself when a test passes.
        let _ = std::io::stderr().write_all(message.as_bytes());
    }
    is_there
}

/// What a variable says of something that no package manager brings, and nobody is expected to have; none where it isn't set, which is
/// said, but never a failure.
pub(crate) fn set_up_by_hand(variable: &str, what: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let message = format!("NOT RUN: {test} needs {what}, set up by hand and named by {variable}\n");
        let _ = std::io::stderr().write_all(message.as_bytes());
    }
    value
}

fn is_module(name: &str) -> bool {
    Path::new(JS_DIR).join("node_modules").join(name).is_dir()
}

fn is_on_the_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn runs(program: impl AsRef<OsStr>) -> bool {
    let quiet = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

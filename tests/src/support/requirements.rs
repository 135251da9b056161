//! What a machine may lack.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Something that a test needs and Rust doesn't bring along.
#[derive(Clone, Copy)]
pub(crate) enum Requirement {
    /// The official Socket.IO client, and Node to run it.
    SocketIoClient,
    /// The official parser of AsyncAPI documents, and Node to run it.
    AsyncApiParser,
    /// The command `nats-server`.
    NatsServer,
    /// The command `curl`.
    Curl,
    /// Chromium, the library that drives it, and the official Socket.IO client for its pages.
    Chromium,
    /// The TURN server coturn, and its own client.
    Coturn,
}

impl Requirement {
    fn is_there(self) -> bool {
        match self {
            Self::AsyncApiParser => runs("node") && is_module("@asyncapi/parser"),
            Self::NatsServer => runs("nats-server"),
            Self::SocketIoClient => runs("node") && is_module("socket.io-client"),
            Self::Curl => runs("curl"),
            Self::Chromium => Self::SocketIoClient.is_there() && is_module("playwright-core") && runs(CHROMIUM),
            // Its client knows no `--version`.
            Self::Coturn => runs("turnserver") && is_on_the_path("turnutils_uclient"),
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
            Self::NatsServer => "a NATS server (Debian: apt install nats-server)",
            Self::Curl => "curl (Debian: apt install curl)",
            Self::Chromium => {
                "Chromium at /usr/bin/chromium (Debian: apt install chromium) and Node.js 20 (apt install nodejs npm); then run \
                 `npm ci --prefix tests/js`"
            }
            Self::Coturn => "coturn (Debian: apt install coturn)",
        }
    }
}

/// Where Debian puts it.
pub(crate) const CHROMIUM: &str = "/usr/bin/chromium";
/// Where the JavaScript of the tests is.
pub(crate) const JS_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/js");

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

fn is_module(name: &str) -> bool {
    Path::new(JS_DIR).join("node_modules").join(name).is_dir()
}

fn is_on_the_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn runs(program: &str) -> bool {
    let quiet = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

//! Node.js, and the packages that the tests run with it: the official client, public parsers and tools. They are installed on first use.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokio::process::Command;

use super::install;

/// The folder of the tests' JavaScript, with its packages installed.
pub(crate) fn js_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
        install::once(&dir.join("package-lock.json"), &dir.join("node_modules"), || {
            let args = ["ci", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
            let output = std::process::Command::new("npm").args(args).current_dir(&dir).output();
            let output = output.expect("the tests need Node.js 20 or later, with npm (Debian: apt install nodejs npm)");
            assert!(output.status.success(), "npm ci failed: {}", String::from_utf8_lossy(&output.stderr));
        });
        dir
    })
}

/// Node.js in the folder of the tests' JavaScript.
pub(crate) fn node() -> Command {
    let mut command = Command::new("node");
    command.current_dir(js_dir()).kill_on_drop(true);
    command
}

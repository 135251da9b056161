//! What the README tells a stranger to do, done.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::{Curl, DEADLINE, Database, Server, Settings, js_dir, node};

/// The code of the README between two lines, the second of them left out.
fn between(first: &str, last: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let begin = readme.find(first).unwrap_or_else(|| panic!("{first} is not in the README")) + first.len();
    let end = readme[begin..].find(last).unwrap_or_else(|| panic!("{last} is not in the README"));
    readme[begin..begin + end].to_owned()
}

#[tokio::test]
async fn its_first_message_arrives() {
    let Some(_curl) = Curl::find() else { return };
    let database = Database::create().await;
    let server = Server::start_with(&database, Settings { args: vec!["--demo"], ..Settings::default() }).await;
    let here = |code: String| code.replace("http://127.0.0.1:8080", &server.url);

    // Under the folder that has the client, where Node looks for it.
    let dir = tempfile::tempdir_in(js_dir()).unwrap();
    std::fs::write(dir.path().join("bob.mjs"), here(between("cat > bob.mjs <<'EOF'\n", "EOF\n"))).unwrap();
    let mut bob = node().arg("bob.mjs").current_dir(dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(bob.stdout.take().unwrap()).lines();
    let mut next_line = async || tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert_eq!(next_line().await, "connected");

    let alice = here(format!("API={}", between("API=", "```")));
    let sent = Command::new("sh").args(["-c", &alice]).output().await.unwrap();
    assert!(String::from_utf8_lossy(&sent.stdout).contains("\"success\":true"), "{sent:?}");
    let expected = between("Bob's terminal says `", "`");
    assert_eq!(next_line().await, expected);
}

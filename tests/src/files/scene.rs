//! A server with a store of files of its own, people who send each other some, and what is left of them.

use std::path::{Path, PathBuf};

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Answer, DEADLINE, Person, World, http_client};

pub(super) const FILES: &str = "/api/messenger/files";
/// Longest file, in bytes: the contract's 50 MB.
pub(super) const MAX_BYTES: usize = 52_428_800;
/// A picture of one dot.
pub(super) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";
const BOUNDARY: &str = "a-boundary-of-the-tests";

/// A server whose files are nobody else's, and Alice and Bob, who work in one business.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) alice: Person,
    pub(super) bob: Person,
    pub(super) dir: TempDir,
    pub(super) env: Vec<(&'static str, String)>,
}

/// What came back for a download.
pub(super) struct Downloaded {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
}

impl Scene {
    pub(super) async fn start() -> Self {
        Self::with(vec![]).await
    }

    /// A server that has these settings besides.
    pub(super) async fn with(mut env: Vec<(&'static str, String)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        env.push(("SWITCHBOARD_DATA_DIR", dir.path().display().to_string()));
        let world = World::with(env.clone()).await;
        let acme = world.business("Acme").await;
        let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
        Self { world, alice, bob, dir, env }
    }

    /// Ends the server as a power cut would, and starts another one.
    pub(super) async fn kill_and_restart(self) -> Self {
        let Self { world, alice, bob, dir, env } = self;
        let world = world.kill_and_restart_with(env.clone()).await;
        let (alice, bob) = (alice.at(&world.server.url), bob.at(&world.server.url));
        Self { world, alice, bob, dir, env }
    }

    /// Everything that is kept in the data directory for files, also what isn't finished.
    pub(super) fn kept(&self) -> Vec<PathBuf> {
        let mut found = vec![];
        files_under(&self.dir.path().join("files"), &mut found);
        found
    }

    /// Waits until so many files are kept.
    pub(super) async fn wait_until_kept(&self, count: usize) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while self.kept().len() != count {
            assert!(tokio::time::Instant::now() < deadline, "{count} should be kept, not {:?}", self.kept());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn pool(&self) -> PgPool {
        self.world.database.pool().await
    }

    /// SHA-256 in hexadecimal digits, by somebody who has nothing to do with the server.
    pub(super) async fn sha256(&self, bytes: &[u8]) -> String {
        let pool = self.pool().await;
        let digits = sqlx::query_scalar("SELECT encode(sha256($1), 'hex')").bind(bytes);
        let digits = digits.fetch_one(&pool).await.unwrap();
        pool.close().await;
        digits
    }
}

fn files_under(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files_under(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Bytes that look like nothing, and differ wherever they are cut.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut random = crate::support::Random::new(7);
    // A prime length, so that no part of a store begins like another one.
    let block: Vec<u8> =
        std::iter::repeat_with(|| random.number().to_le_bytes()).take(8190).flatten().take(65_519).collect();
    block.iter().copied().cycle().take(len).collect()
}

/// Uploads something, which must be taken; what the server says of it.
pub(super) async fn uploaded(person: &Person, name: &str, content_type: &str, bytes: &[u8]) -> Value {
    person.upload(name, content_type, bytes.to_vec()).await.expect(201).body["file"].take()
}

/// The same; only its id.
pub(super) async fn upload(person: &Person, bytes: &[u8]) -> String {
    id_of(&uploaded(person, "notes.bin", "application/octet-stream", bytes).await)
}

pub(super) fn id_of(file: &Value) -> String {
    file["id"].as_str().unwrap().to_owned()
}

/// A download, with these headers.
pub(super) async fn download(person: &Person, id: &str, headers: &[(&str, &str)]) -> Downloaded {
    let mut request = person.http.get(format!("{}{FILES}/{id}", person.url)).bearer_auth(&person.token);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Downloaded { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
}

impl Downloaded {
    /// A header, which must be there once.
    #[track_caller]
    pub(super) fn header(&self, name: &str) -> &str {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0].to_str().unwrap()
    }

    /// The status, and the text that came.
    pub(super) fn text(&self) -> (u16, &str) {
        (self.status, std::str::from_utf8(&self.bytes).unwrap())
    }

    /// The message of the standard error, which this must be.
    #[track_caller]
    pub(super) fn expect_error(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        let body = serde_json::from_slice(&self.bytes).unwrap();
        crate::support::assert_is_standard_error(&body, status, code)
    }
}

/// The status that somebody gets who asks for a file.
pub(super) async fn status_for(person: &Person, id: &str) -> u16 {
    download(person, id, &[]).await.status
}

/// Sends files. The answer, whatever it is.
pub(super) async fn send_files(from: &Person, to: &Person, files: &[&str]) -> Answer {
    let body = json!({"recipientId": to.id, "content": "", "type": "file", "attachments": files});
    from.post("/api/messenger/messages", body).await
}

/// A part of a multipart body, with a head as it stands.
pub(super) fn part(head: &[u8], content: &[u8]) -> Vec<u8> {
    let start = format!("--{BOUNDARY}\r\n");
    [start.as_bytes(), head, b"\r\n\r\n".as_slice(), content, b"\r\n".as_slice()].concat()
}

/// A multipart body of these parts.
pub(super) fn multipart(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat()
}

/// A multipart body of one file.
pub(super) fn one_file(content: &[u8]) -> Vec<u8> {
    multipart(&[part(b"Content-Disposition: form-data; name=\"file\"; filename=\"x.bin\"", content)])
}

/// What such a body calls itself.
pub(super) fn multipart_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// Posts a body as it stands, over a connection of its own.
pub(super) async fn post(person: &Person, content_type: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
    let request = http_client().request(Method::POST, format!("{}{FILES}", person.url)).bearer_auth(&person.token);
    let request = content_type.into_iter().fold(request, |request, said| request.header("Content-Type", said));
    Answer::of(request.body(body).send().await.unwrap()).await.unwrap()
}

/// The head of an upload that says these things besides, as it goes over the wire.
pub(super) fn raw_head(person: &Person, besides: &str) -> String {
    format!(
        "POST {FILES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: {}\r\n{besides}\r\n",
        person.token,
        multipart_type()
    )
}

/// A connection over which this has been said.
pub(super) async fn say(person: &Person, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(person.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

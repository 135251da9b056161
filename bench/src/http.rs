//! HTTP/1.1 for a driver that has to leave the machine to the server: requests are made once and written as they are.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Headers that an answer has at most.
const MAX_HEADERS: usize = 32;

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// A request, ready to be written.
pub(crate) fn request(method: &str, address: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("it is a TCP connection");
        Self { stream, read: Vec::with_capacity(4096) }
    }

    /// Writes a request and waits for its answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Answer<'_> {
        self.stream.write_all(request).await.expect("the connection works");
        self.read.clear();
        loop {
            let read = self.stream.read_buf(&mut self.read).await.expect("the connection works");
            assert!(read > 0, "the connection stands");
            if let Some((status, body)) = parse(&self.read) {
                return Answer { status, body: &self.read[body..] };
            }
        }
    }
}

/// The status of an answer and where its body begins, once it is there to the end.
fn parse(bytes: &[u8]) -> Option<(u16, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body) = response.parse(bytes).expect("the server speaks HTTP") else { return None };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|length| std::str::from_utf8(length.value).ok()?.parse::<usize>().ok());
    let length = length.expect("the answer says how long it is");
    (bytes.len() == body + length).then(|| (response.code.unwrap_or(0), body))
}

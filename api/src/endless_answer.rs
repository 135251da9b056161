//! Answers that go on for as long as the client listens: server-sent events.
//!
//! hyper keeps two buffers of 8 KiB for a connection, and room for the headers of its next request. After such an answer there is
//! none, so that it leaves hyper before its head is written, as a WebSocket does after its own.

use std::error::Error;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use headers::{Connection, Date, HeaderMapExt};
use poem::Response;
use poem::http::header::CONTENT_LENGTH;
use poem::http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Pieces that are written at once, if they are there: whoever was away is told a lot.
const PIECES: usize = 8;
/// A client that says more than this has mistaken us for somebody else.
const MAX_HEARD_BYTES: usize = 16 * 1024;

/// An answer that goes on. To hyper it is an error: so it lets go of the connection, and has written nothing.
#[derive(Debug, thiserror::Error)]
#[error("the answer goes on for as long as the client listens")]
pub(crate) struct EndlessAnswer(Mutex<Option<Box<Response>>>);

impl EndlessAnswer {
    /// The answer, unless it is one of these.
    ///
    /// # Errors
    /// If it is.
    pub(crate) fn unless(answer: Response) -> Result<Response, Self> {
        let is_stream = answer.content_type().is_some_and(|content_type| content_type.starts_with("text/event-stream"));
        // A file that somebody has uploaded may be anything, but it has an end.
        if is_stream && !answer.headers().contains_key(CONTENT_LENGTH) {
            Err(Self(Mutex::new(Some(Box::new(answer)))))
        } else {
            Ok(answer)
        }
    }

    /// Returns the answer with which hyper has failed, if it is one of these.
    pub(crate) fn of(error: &hyper::Error) -> Option<Response> {
        let answer = error.source()?.downcast_ref::<Self>()?;
        answer.0.lock().unwrap_or_else(PoisonError::into_inner).take().map(|answer| *answer)
    }
}

/// Gives such an answer over a connection, which ends with it. No `async fn`: that would keep what it begins with for as long as it
/// lasts.
///
/// # Errors
/// If the client is gone, or takes in nothing.
pub(crate) fn give(
    answer: Response,
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send,
) -> impl Future<Output = io::Result<()>> + Send {
    let status = answer.status();
    let (parts, body) = answer.into_parts();
    let pieces = stream::iter([Ok(head(status, parts.headers))]).chain(body.into_bytes_stream());
    let mut pieces = pieces.ready_chunks(PIECES);
    async move {
        // There is nothing for the client to say any more, except that it goes.
        let (mut heard, mut heard_bytes) = ([0; 16], 0);
        loop {
            tokio::select! {
                ready = pieces.next() => match ready {
                    Some(ready) => {
                        let ready = ready.into_iter().collect::<io::Result<Vec<_>>>()?.concat();
                        stream.write_all(&ready).await?;
                    }
                    None => return stream.shutdown().await,
                },
                read = stream.read(&mut heard) => {
                    let read = read?;
                    heard_bytes += read;
                    if read == 0 || heard_bytes > MAX_HEARD_BYTES {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// The head of an answer. Where its body ends needn't be said: there the connection does.
#[expect(clippy::disallowed_methods, reason = "the client is told what time it is, and nothing else depends on it")]
fn head(status: StatusCode, mut headers: HeaderMap) -> Bytes {
    headers.typed_insert(Date::from(SystemTime::now()));
    headers.typed_insert(Connection::close());
    let mut head = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in &headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

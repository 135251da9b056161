//! The streams under connections, and a way to cut them from outside: the library closes a connection by sending a packet, which
//! a client that reads nothing never takes.

use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Time for which a connection that was ended is refused when it polls: until the library notices its end.
const REFUSAL: Duration = Duration::from_mins(2);

/// Cuts one stream.
pub(crate) type Cutter = CancellationToken;

/// All streams of this node.
#[derive(Clone, Default)]
pub(crate) struct Streams {
    all: CancellationToken,
    is_closing: Arc<AtomicBool>,
    connections: Arc<Mutex<ByConnection>>,
    on_lost: Arc<OnceLock<OnLost>>,
}

/// Action for a connection whose upgraded stream has ended, by its id.
type OnLost = Box<dyn Fn(String) + Send + Sync>;

/// State of connections that began with polling, by their ids.
#[derive(Default)]
struct ByConnection {
    /// The streams that they were upgraded to.
    upgraded: HashMap<String, Cutter>,
    /// Those that may not poll any more.
    ended: HashSet<String>,
}

impl Streams {
    /// Gets ready for a stream.
    pub(crate) fn cutter(&self) -> Cutter {
        self.all.child_token()
    }

    /// A stream that can be cut, in place of one that can't. That of an upgrade has the id of its connection.
    pub(crate) fn cuttable<S>(&self, stream: S, cutter: Cutter, upgraded: Option<String>) -> CuttableStream<S> {
        let mut listed = None;
        if let Some(id) = upgraded {
            // A second upgrade of the same connection is none, and mustn't hide the first.
            self.connections().upgraded.entry(id.clone()).or_insert_with(|| {
                listed = Some((self.clone(), id));
                cutter.clone()
            });
        }
        CuttableStream {
            stream,
            // One for each half: each is polled by a task of its own.
            cut_reading: Box::pin(cutter.clone().cancelled_owned()),
            cut_writing: Box::pin(cutter.cancelled_owned()),
            listed,
        }
    }

    /// Has something done about each connection whose upgraded stream has ended.
    pub(crate) fn when_lost(&self, on_lost: impl Fn(String) + Send + Sync + 'static) {
        let _ = self.on_lost.set(Box::new(on_lost));
    }

    /// Ends a connection that began with polling: its stream, if it was upgraded, and polling.
    pub(crate) fn end(&self, id: &str) {
        let mut connections = self.connections();
        if let Some(cutter) = connections.upgraded.get(id) {
            cutter.cancel();
        }
        if connections.ended.insert(id.to_owned()) {
            let (streams, id) = (self.clone(), id.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(REFUSAL).await;
                streams.connections().ended.remove(&id);
            });
        }
    }

    /// Returns true if this connection may not poll any more.
    pub(crate) fn has_ended(&self, id: &str) -> bool {
        self.connections().ended.contains(id)
    }

    /// Lets nobody new in.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Cuts every stream.
    pub(crate) fn cut_all(&self) {
        self.all.cancel();
    }

    fn connections(&self) -> MutexGuard<'_, ByConnection> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that ends when it is cut.
pub(crate) struct CuttableStream<S> {
    stream: S,
    cut_reading: Pin<Box<WaitForCancellationFutureOwned>>,
    cut_writing: Pin<Box<WaitForCancellationFutureOwned>>,
    listed: Option<(Streams, String)>,
}

impl<S> CuttableStream<S> {
    /// Writes, unless the stream is cut.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.cut_writing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        write(&mut self.stream, cx)
    }
}

impl<S> Drop for CuttableStream<S> {
    fn drop(&mut self) {
        if let Some((streams, id)) = &self.listed {
            streams.connections().upgraded.remove(id);
            if let Some(on_lost) = streams.on_lost.get() {
                on_lost(id.clone());
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CuttableStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut_reading.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CuttableStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |stream, cx| Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |stream, cx| Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_connection_that_is_ended_loses_its_stream_and_may_not_poll() {
        let streams = Streams::default();
        let (ours, _theirs) = duplex(8);
        let (mut reading, mut writing) =
            tokio::io::split(streams.cuttable(ours, streams.cutter(), Some("id".to_owned())));
        let reader = tokio::spawn(async move { reading.read_u8().await.map(drop) });
        // More than fits: it waits for the other side.
        let writer = tokio::spawn(async move { writing.write_all(&[0; 100]).await });
        assert!(!streams.has_ended("id"));
        streams.end("id");
        assert!(streams.has_ended("id"));
        assert_eq!(reader.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(writer.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(streams.connections().upgraded.is_empty(), "it is listed no longer");
    }

    #[tokio::test]
    async fn a_second_upgrade_does_not_hide_the_first() {
        let streams = Streams::default();
        let (ours, _theirs) = duplex(8);
        let mut first = streams.cuttable(ours, streams.cutter(), Some("id".to_owned()));
        let (other, _others) = duplex(8);
        drop(streams.cuttable(other, streams.cutter(), Some("id".to_owned())));
        streams.end("id");
        assert_eq!(first.write_all(&[0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}

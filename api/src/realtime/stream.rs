//! The streams under WebSocket connections, and a way to cut them from outside: the library closes a connection by sending a
//! packet, which a client that reads nothing never takes.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long a client may take in nothing while something waits for it.
const WRITE_PATIENCE: Duration = Duration::from_secs(20);

/// Cuts one stream.
pub(super) type Cutter = CancellationToken;

/// All streams of this node.
#[derive(Clone, Default)]
pub(super) struct Streams {
    all: CancellationToken,
    /// Those that polling connections were upgraded to, by the connection's id.
    upgraded: Arc<Mutex<HashMap<String, Cutter>>>,
}

impl Streams {
    /// Gets ready for a stream; that of an upgrade has the id of its connection.
    pub(super) fn cutter(&self) -> Cutter {
        self.all.child_token()
    }

    /// A stream that can be cut, in place of one that can't.
    pub(super) fn cuttable<S>(&self, stream: S, cutter: &Cutter, upgraded: Option<String>) -> CuttableStream<S> {
        if let Some(id) = &upgraded {
            self.upgraded().insert(id.clone(), cutter.clone());
        }
        CuttableStream {
            stream,
            // One for each half: each is polled by a task of its own.
            cut_reading: Box::pin(cutter.clone().cancelled_owned()),
            cut_writing: Box::pin(cutter.clone().cancelled_owned()),
            stalled: None,
            listed: upgraded.map(|id| (self.clone(), id)),
        }
    }

    /// The stream that this connection was upgraded to.
    pub(super) fn of_upgraded(&self, id: &str) -> Option<Cutter> {
        self.upgraded().get(id).cloned()
    }

    /// Cuts every stream.
    pub(super) fn cut_all(&self) {
        self.all.cancel();
    }

    fn upgraded(&self) -> MutexGuard<'_, HashMap<String, Cutter>> {
        self.upgraded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that ends when it is cut, or when the other side takes in nothing for too long.
pub(super) struct CuttableStream<S> {
    stream: S,
    cut_reading: Pin<Box<WaitForCancellationFutureOwned>>,
    cut_writing: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Runs while something waits to be taken in.
    stalled: Option<Pin<Box<Sleep>>>,
    listed: Option<(Streams, String)>,
}

impl<S> CuttableStream<S> {
    /// What became of a write, unless the stream is cut or has stalled for too long.
    fn progress<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.cut_writing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_PATIENCE)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S> Drop for CuttableStream<S> {
    fn drop(&mut self) {
        if let Some((streams, id)) = &self.listed {
            streams.upgraded().remove(id);
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
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.progress(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.progress(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.progress(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_stream_that_is_cut_ends_on_both_halves() {
        let streams = Streams::default();
        let cutter = streams.cutter();
        let (ours, _theirs) = duplex(8);
        let (mut reading, mut writing) = tokio::io::split(streams.cuttable(ours, &cutter, Some("id".to_owned())));
        assert!(streams.of_upgraded("id").is_some());
        let reader = tokio::spawn(async move { reading.read_u8().await.map(drop) });
        // More than fits: it waits for the other side.
        let writer = tokio::spawn(async move { writing.write_all(&[0; 100]).await });
        streams.of_upgraded("id").unwrap().cancel();
        assert_eq!(reader.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(writer.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(streams.of_upgraded("id").is_none(), "it is listed no longer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_in_nothing_is_cut_after_a_while() {
        let streams = Streams::default();
        let (ours, mut theirs) = duplex(8);
        let mut stream = streams.cuttable(ours, &streams.cutter(), None);
        let slow_but_moving = tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(WRITE_PATIENCE / 2).await;
                theirs.read_exact(&mut [0; 8]).await.unwrap();
            }
            theirs
        });
        stream.write_all(&[0; 80]).await.unwrap();
        let _theirs = slow_but_moving.await.unwrap();
        let stalled = stream.write_all(&[0; 80]).await.unwrap_err();
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
    }
}

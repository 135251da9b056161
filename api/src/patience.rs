//! Patience with clients, which ends: a client that takes in nothing of what waits for it isn't listened to meanwhile, and loses its
//! connection after a while, whatever it is for. Nor is one that wants more answers than it may have in a second.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use poem::Addr;
use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::answer_pace::{AnswerPace, Upgraded};

/// Time for which a client may read nothing while data waits for it.
const WRITE_PATIENCE: Duration = Duration::from_secs(20);
/// Maximum time without data in either direction, between requests or within one. Live streams are pinged three
/// times as often.
const IDLE_PATIENCE: Duration = Duration::from_secs(75);

/// Accepts connections that end when their clients take in nothing for too long.
pub(crate) struct PatientAcceptor<A>(pub(crate) A);

impl<A: Acceptor<Io = TcpStream>> Acceptor for PatientAcceptor<A> {
    type Io = PatientStream<TcpStream>;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, local, remote, scheme) = self.0.accept().await?;
        // The address that the client has reached, where the listener has only said that it listens on all of them.
        let local = stream.local_addr().map_or(local, |address| LocalAddr(Addr::SocketAddr(address)));
        // An event is small, and nobody waits for more to fill the packet. The client may be gone already.
        let _ = stream.set_nodelay(true);
        Ok((PatientStream::new(stream), local, remote, scheme))
    }
}

/// A stream that ends when the other side takes in nothing for too long. As long as something waits to be taken in, nothing is read:
/// answers to what a client says without listening would pile up.
pub(crate) struct PatientStream<S> {
    stream: S,
    /// Runs while something waits to be taken in.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs as long as nothing passes.
    idle: Pin<Box<Sleep>>,
    last_passed: Instant,
    is_given_up: bool,
    pace: AnswerPace,
    /// Waker of a pending read.
    reader: Option<Waker>,
    /// Value held until the stream is dropped, even if it is upgraded.
    _held: Option<Box<dyn Send + Sync>>,
}

impl<S> PatientStream<S> {
    pub(crate) fn new(stream: S) -> Self {
        let idle = Box::pin(tokio::time::sleep(IDLE_PATIENCE));
        let (last_passed, pace) = (Instant::now(), AnswerPace::default());
        Self { stream, stalled: None, idle, last_passed, is_given_up: false, pace, reader: None, _held: None }
    }

    /// Holds something until the stream is no more, be it upgraded meanwhile.
    pub(crate) fn holding(self, held: impl Send + Sync + 'static) -> Self {
        Self { _held: Some(Box::new(held)), ..self }
    }

    /// To be told when the connection is upgraded. From then on, its client is answered at a pace.
    pub(crate) fn upgraded(&self) -> Upgraded {
        self.pace.upgraded().clone()
    }

    /// Returns true if the client has not yet read what was last written.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Something has passed, if anything was written. To flush nothing is nothing.
    fn note_passed(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(1..)) = written {
            self.last_passed = Instant::now();
        }
    }

    /// Writes, unless patience has ended. Then it has for both directions and for good.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.is_given_up {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let written = write(&mut self.stream, cx);
        if written.is_ready() {
            if self.stalled.take().is_some() {
                self.wake_reader();
            }
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_PATIENCE)));
        if stalled.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.give_up();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Waits until an answer may be written. Patience ends with a client that goes on asking all the same.
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_given_up {
            return Poll::Ready(());
        }
        let was_paused = self.pace.is_paused();
        ready!(self.pace.poll_write(cx));
        if self.pace.is_behind_for(WRITE_PATIENCE) {
            self.give_up();
        } else if was_paused {
            self.wake_reader();
        }
        Poll::Ready(())
    }

    /// Ends patience, for both directions and for good.
    fn give_up(&mut self) {
        metrics::counter!("switchboard_connections_stalled_total").increment(1);
        self.is_given_up = true;
        self.wake_reader();
    }

    /// Something may be read again.
    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_given_up {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let read = if self.is_stalled() || self.pace.is_paused() {
            Poll::Pending
        } else {
            let read = Pin::new(&mut self.stream).poll_read(cx, into);
            self.pace.note_read(&read);
            read
        };
        if read.is_ready() {
            self.last_passed = Instant::now();
            return read;
        }
        while self.idle.as_mut().poll(cx).is_ready() {
            let until = self.last_passed + IDLE_PATIENCE;
            if until <= Instant::now() {
                self.is_given_up = true;
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.idle.as_mut().reset(until);
        }
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_pace(cx));
        let written = self.write(cx, |stream, cx| Pin::new(stream).poll_write(cx, bytes));
        self.note_passed(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pace(cx));
        let written = self.write(cx, |stream, cx| Pin::new(stream).poll_write_vectored(cx, bytes));
        self.note_passed(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
    use tokio::task::unconstrained;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_over_which_nothing_passes_ends() {
        let (ours, mut theirs) = duplex(8);
        let mut stream = PatientStream::new(ours);
        theirs.write_all(b"half").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        // Something passes in time, in either direction.
        for _ in 0..3 {
            let read = stream.read_u8();
            assert!(timeout(IDLE_PATIENCE * 2 / 3, read).await.is_err(), "it stands");
            stream.write_all(&[0]).await.unwrap();
            theirs.read_u8().await.unwrap();
        }
        let began = Instant::now();
        let ended = loop {
            // Whoever serves the connection flushes it whenever it looks at it.
            match timeout(IDLE_PATIENCE / 10, stream.read_u8()).await {
                Ok(read) => break read.unwrap_err(),
                Err(_) => stream.flush().await.unwrap(),
            }
        };
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= IDLE_PATIENCE && began.elapsed() < IDLE_PATIENCE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_listen_is_not_listened_to_until_it_does() {
        let (ours, mut theirs) = duplex(8);
        let (mut reading, mut writing) = tokio::io::split(PatientStream::new(ours));
        let writer = tokio::spawn(async move { writing.write_all(&[0; 16]).await.map(|()| writing) });
        tokio::task::yield_now().await;
        theirs.write_all(b"x").await.unwrap();
        let mut heard = Box::pin(async move { reading.read_u8().await });
        assert!(timeout(WRITE_PATIENCE / 2, &mut heard).await.is_err(), "something waits to be taken in");
        theirs.read_exact(&mut [0; 16]).await.unwrap();
        assert_eq!(heard.await.unwrap(), b'x');
        writer.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_has_many_answers_gets_the_rest_at_a_pace_and_is_not_read_meanwhile() {
        let (ours, mut theirs) = duplex(1024);
        let mut stream = PatientStream::new(ours);
        stream.upgraded().set();
        theirs.write_all(b"xx").await.unwrap();
        stream.read_u8().await.unwrap();
        let began = Instant::now();
        let mut at_once = 0;
        while unconstrained(timeout(Duration::ZERO, stream.write_u8(0))).await.is_ok() {
            at_once += 1;
        }
        assert!((200..300).contains(&at_once), "{at_once}");
        assert!(
            timeout(Duration::ZERO, stream.read_u8()).await.is_err(),
            "what it says waits until it may be answered"
        );
        for _ in 0..10 {
            stream.write_u8(0).await.unwrap();
        }
        assert!(began.elapsed() >= Duration::from_millis(80), "a hundred in a second");
        // Whoever says nothing more gets what is for them at once.
        stream.read_u8().await.unwrap();
        assert!(timeout(Duration::from_millis(10), stream.read_u8()).await.is_err());
        for _ in 0..500 {
            unconstrained(timeout(Duration::ZERO, stream.write_u8(0))).await.expect("it isn't an answer").unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_on_asking_for_too_much_is_given_up() {
        let (ours, mut theirs) = duplex(64);
        let mut stream = PatientStream::new(ours);
        stream.upgraded().set();
        let began = Instant::now();
        let ended = loop {
            // It takes in everything, and asks for more before it has been answered.
            theirs.write_all(b"x").await.unwrap();
            let answered = async {
                stream.read_u8().await?;
                stream.write_all(&[0; 2]).await
            };
            match answered.await {
                Ok(()) => drop(theirs.read_exact(&mut [0; 2]).await.unwrap()),
                Err(error) => break error,
            }
        };
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= WRITE_PATIENCE, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_in_nothing_is_given_up_after_a_while_for_good() {
        let (ours, mut theirs) = duplex(8);
        let (mut reading, mut writing) = tokio::io::split(PatientStream::new(ours));
        let slow_but_moving = tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(WRITE_PATIENCE / 2).await;
                theirs.read_exact(&mut [0; 8]).await.unwrap();
            }
            theirs
        });
        writing.write_all(&[0; 80]).await.unwrap();
        let mut theirs = slow_but_moving.await.unwrap();
        let reader = tokio::spawn(async move { reading.read_u8().await.map(drop) });
        let stalled = writing.write_all(&[0; 80]).await.unwrap_err();
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
        assert_eq!(reader.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut, "who waits for it is told");
        // It wakes up too late.
        theirs.read_exact(&mut [0; 8]).await.unwrap();
        assert_eq!(writing.write_all(&[0]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}

//! Serves HTTP on what is accepted. The framework's own server has no time-out for the head of a request, and spins when the
//! machine is out of descriptors; apart from that, this is what it does, for HTTP/1.1. Version 2 is for a
//! proxy in front, which brings TLS along.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Error, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take to say the head of a request, from when it could begin to.
const HEAD_PATIENCE: Duration = Duration::from_mins(1);
/// How long to wait after a connection couldn't be accepted: there are none to be had at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until told to stop; then finishes what was accepted, for `drain` at most.
pub async fn serve_http(
    mut acceptor: impl Acceptor,
    endpoint: impl Endpoint<Output = Response> + 'static,
    stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let endpoint = Arc::new(endpoint);
    let (connections, stopping, cut) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = acceptor.accept() => accepted,
        };
        match accepted {
            Ok((stream, local, remote, scheme)) => {
                let served = serve(stream, (local, remote, scheme), endpoint.clone(), stopping.clone());
                // What panics is the end of a connection and of nothing else.
                let served = AssertUnwindSafe(served).catch_unwind();
                connections.spawn(served.with_cancellation_token_owned(cut.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(acceptor);
    stopping.cancel();
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        cut.cancel();
        connections.wait().await;
    }
}

/// Serves one connection to its end. No `async fn`: that would keep what it begins with for as long as it lasts.
fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    from: (LocalAddr, RemoteAddr, Scheme),
    endpoint: Arc<impl Endpoint<Output = Response> + 'static>,
    stopping: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (endpoint, (local, remote, scheme)) = (endpoint.clone(), from.clone());
        // In a box, which goes when the request is answered: the connection keeps room for it as long as it lasts.
        Box::pin(async move {
            let answer = endpoint.call((request, local, remote, scheme).into()).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(Error::into_response).into())
        })
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    // In a box: it would be kept twice if it were moved into what is polled.
    let mut connection = Box::pin(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    async move {
        tokio::select! {
            // A client that goes away, or says what is no HTTP, is the end of its connection and no news.
            _ = &mut connection => return,
            () = stopping.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make_sync;
    use poem::{Addr, EndpointExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_trickles_the_head_of_a_request_is_cut_and_whoever_says_it_is_answered() {
        let (mut client, stream) = tokio::io::duplex(4096);
        let nobody = Addr::custom("test", "nobody");
        let from = (LocalAddr(nobody.clone()), RemoteAddr(nobody), Scheme::HTTP);
        let endpoint = Arc::new(make_sync(|_| "hello").map_to_response());
        let served = tokio::spawn(serve(stream, from, endpoint, CancellationToken::new()));
        client.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        let began = Instant::now();
        for byte in b"GET / HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat(&b'x')) {
            if served.is_finished() || client.write_u8(*byte).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let took = began.elapsed();
        assert!(took >= HEAD_PATIENCE && took < HEAD_PATIENCE * 2, "{took:?}");
        served.await.unwrap();
    }
}

//! Serves HTTP on what is accepted. The framework's own server has no time-out for the head of a request, and spins when the
//! machine is out of descriptors; apart from that, this is what it does, for HTTP/1.1. Version 2 is for a
//! proxy in front, which brings TLS along.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::StatusCode;
use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Error, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client_address::TrustedProxies;
use crate::endless_answer::{EndlessAnswer, give};
use crate::limits::network_of;
use crate::patience::{PatientAcceptor, PatientStream};
use crate::shares::{Share, Shares};

/// Time that a client may take to send the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_mins(1);
/// Maximum bytes of the head of a request, and of what is read ahead of a body: whoever says half of a head holds as much.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Minimum time between two log lines about connections that were not accepted.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// Limits of connections.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Maximum from an address, or network of version 6; 0 is no limit.
    pub per_address: usize,
    /// Maximum from all addresses together; 0 is no limit.
    pub in_all: usize,
    /// Proxies, each of which stands for many clients: only the limit of all applies to them.
    pub trusted_proxies: TrustedProxies,
}

/// Lets connections in, as far as there is room for them.
struct Doorkeeper {
    limits: ConnectionLimits,
    of_addresses: Shares<IpAddr>,
    of_all: Shares<()>,
}

/// The place of a connection, until this is dropped.
type Place = (Share<()>, Option<Share<IpAddr>>);

impl Doorkeeper {
    fn new(limits: ConnectionLimits) -> Self {
        let (of_addresses, of_all) = (Shares::new(limits.per_address), Shares::new(limits.in_all));
        Self { limits, of_addresses, of_all }
    }

    /// A place for a connection; none when its address, or everybody, has as many as may be.
    fn admit(&self, remote: &RemoteAddr) -> Option<Place> {
        let address = remote.as_socket_addr().map(SocketAddr::ip);
        let counted = address.filter(|address| !self.limits.trusted_proxies.include(*address));
        let of_address = counted.map(|address| self.of_addresses.take(&network_of(address)));
        let of_address = match of_address {
            Some(None) => return None,
            Some(Some(share)) => Some(share),
            None => None,
        };
        Some((self.of_all.take(&())?, of_address))
    }
}

/// Log lines about connections that were not accepted: one in a while, however many there were.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// Counts one more. Returns how many have not been reported, if it is time to.
    fn another(&mut self) -> Option<u64> {
        self.unsaid += 1;
        if self.last.is_some_and(|last| last.elapsed() < COMPLAINT_PAUSE) {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Serves until told to stop; then finishes what was accepted, for `drain` at most.
pub async fn serve_http(
    acceptor: impl Acceptor<Io = TcpStream>,
    endpoint: impl Endpoint<Output = Response> + 'static,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let (mut acceptor, endpoint) = (PatientAcceptor(acceptor), Arc::new(endpoint));
    let (doorkeeper, mut refusals, mut failures) =
        (Doorkeeper::new(limits), Complaints::default(), Complaints::default());
    let (connections, stopping, cut) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = acceptor.accept() => accepted,
        };
        match accepted {
            Ok((stream, local, remote, scheme)) => {
                let Some(place) = doorkeeper.admit(&remote) else {
                    metrics::counter!("switchboard_connections_refused_total").increment(1);
                    if let Some(refused) = refusals.another() {
                        tracing::warn!(refused, %remote, "too many connections; new ones are closed until others end");
                    }
                    continue;
                };
                let stream = stream.holding(place);
                let served = serve(stream, (local, remote, scheme), endpoint.clone(), stopping.clone());
                // What panics is the end of a connection and of nothing else.
                let served = AssertUnwindSafe(served).catch_unwind().map(drop);
                connections.spawn(served.with_cancellation_token_owned(cut.clone()));
            }
            Err(error) => {
                if let Some(failed) = failures.another() {
                    tracing::warn!(%error, failed, "accepting connections failed; retrying");
                }
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
    stream: PatientStream<impl AsyncRead + AsyncWrite + Send + Unpin + 'static>,
    from: (LocalAddr, RemoteAddr, Scheme),
    endpoint: Arc<impl Endpoint<Output = Response> + 'static>,
    stopping: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let upgraded = stream.upgraded();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (endpoint, (local, remote, scheme), upgraded) = (endpoint.clone(), from.clone(), upgraded.clone());
        // In a box, which goes when the request is answered: the connection keeps room for it as long as it lasts.
        Box::pin(async move {
            let answer = endpoint.call((request, local, remote, scheme).into()).await;
            let answer = answer.unwrap_or_else(Error::into_response);
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                upgraded.set();
            }
            EndlessAnswer::unless(answer).map(hyper::Response::from)
        })
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(MAX_BUFFER_BYTES);
    // In a box: it would be kept twice if it were moved into what is polled.
    let mut connection = Box::new(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    async move {
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            () = stopping.cancelled() => None,
        };
        let ended = if let Some(ended) = ended {
            ended
        } else {
            Pin::new(&mut *connection).graceful_shutdown();
            (&mut connection).await
        };
        // A client that goes away, or says what is no HTTP, is the end of its connection and no news.
        let Some(answer) = ended.err().and_then(|error| EndlessAnswer::of(&error)) else { return };
        let Some(stream) = connection.into_parts().map(|parts| parts.io.into_inner()) else { return };
        // Otherwise hyper would have something left to write, to a client that has asked this without waiting for it.
        if !stream.is_stalled() {
            let _ = Box::pin(give(answer, stream)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use poem::endpoint::make_sync;
    use poem::{Addr, Body, EndpointExt, Request};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// A client, and the connection that is served to it.
    fn connected(endpoint: impl Endpoint<Output = Response> + 'static) -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (client, stream) = tokio::io::duplex(4096);
        let nobody = Addr::custom("test", "nobody");
        let from = (LocalAddr(nobody.clone()), RemoteAddr(nobody), Scheme::HTTP);
        let served = serve(PatientStream::new(stream), from, Arc::new(endpoint), CancellationToken::new());
        (client, tokio::spawn(served))
    }

    async fn heard(client: &mut DuplexStream, until: &str) -> String {
        let mut heard = vec![];
        while !heard.ends_with(until.as_bytes()) {
            heard.push(client.read_u8().await.unwrap());
        }
        String::from_utf8(heard).unwrap()
    }

    #[test]
    fn an_address_has_so_many_connections_and_a_proxy_as_many_as_there_may_be() {
        let trusted_proxies = TrustedProxies::parse("10.0.0.0/8").unwrap();
        let doorkeeper = Doorkeeper::new(ConnectionLimits { per_address: 2, in_all: 5, trusted_proxies });
        let admit = |address: &str| doorkeeper.admit(&RemoteAddr(Addr::SocketAddr(address.parse().unwrap())));
        let mut held = vec![admit("192.0.2.1:1").unwrap(), admit("192.0.2.1:2").unwrap()];
        assert!(admit("192.0.2.1:3").is_none());
        held.extend((1..=3).map(|port| admit(&format!("10.0.0.1:{port}")).unwrap()));
        assert!(admit("192.0.2.2:1").is_none(), "there are five");
        held.clear();
        assert!(admit("192.0.2.1:3").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_wrong_all_the_time_is_said_now_and_then() {
        let mut complaints = Complaints::default();
        let said = (0..100).filter_map(|_| complaints.another()).collect::<Vec<_>>();
        assert_eq!(said, [1]);
        tokio::time::advance(COMPLAINT_PAUSE).await;
        assert_eq!(complaints.another(), Some(100));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_trickles_the_head_of_a_request_is_cut_and_whoever_says_it_is_answered() {
        let (mut client, served) = connected(make_sync(|_| "hello").map_to_response());
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
    #[tokio::test(start_paused = true)]
    async fn an_endless_answer_goes_on_until_the_client_goes() {
        let endpoint = make_sync(|request: Request| match request.uri().path() {
            "/" => Response::from("hello"),
            _ => Response::builder().content_type("text/event-stream").header("x-accel-buffering", "no").body(
                Body::from_bytes_stream(
                    stream::iter([":\n\n", "data: 1\n\n"]).map(Ok::<_, std::io::Error>).chain(stream::pending()),
                ),
            ),
        });
        let (mut client, served) = connected(endpoint);
        client.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        assert!(heard(&mut client, "hello").await.starts_with("HTTP/1.1 200 OK\r\n"));
        // What the client says after its last question is of no interest.
        client.write_all(b"GET /events HTTP/1.1\r\nhost: here\r\n\r\nGET / HTTP/1.1\r\n").await.unwrap();
        let head = heard(&mut client, "\r\n\r\n").await.to_lowercase();
        assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
        for line in ["content-type: text/event-stream", "x-accel-buffering: no", "connection: close", "date: "] {
            assert_eq!(head.matches(&format!("\r\n{line}")).count(), 1, "{line} in {head}");
        }
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(heard(&mut client, "1\n\n").await, ":\n\ndata: 1\n\n");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!served.is_finished(), "it goes on");
        drop(client);
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_answer_to_whoever_has_not_read_the_one_before_is_not_mixed_up_with_it() {
        let endpoint = make_sync(|request: Request| match request.uri().path() {
            "/" => Response::from("a".repeat(100_000)),
            _ => Response::builder().content_type("text/event-stream").body("b"),
        });
        let (mut client, served) = connected(endpoint);
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\nGET /events HTTP/1.1\r\nhost: here\r\n\r\n")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        let body = all.split_once("\r\n\r\n").unwrap().1;
        let after = body.trim_start_matches('a');
        let is_whole = body.len() - after.len() == 100_000;
        assert!(after.is_empty() || is_whole && after.starts_with("HTTP/1.1 200 OK"), "{after}");
        served.await.unwrap();
    }
}

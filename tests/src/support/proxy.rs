//! What lies between clients and the server, and breaks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{sleep, timeout};

/// Forwards connections to a server, which may move.
pub(crate) struct Proxy {
    server: watch::Sender<SocketAddr>,
}

/// The way of one client: a port of its own, so that the proxy knows whose connections it has.
pub(crate) struct Link {
    /// Where the client finds the server.
    pub(crate) url: String,
    cuts: broadcast::Sender<Cut>,
    opened: Arc<Notify>,
}

/// How a connection breaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// Both sides are told at once (RST). So many bytes of what the server says next still come through, so that it happens in the
    /// middle of something.
    Reset { after: usize },
    /// Nothing comes through any more; both sides are told after a while.
    Stall(Duration),
    /// The client hears that the server says nothing more, and still can say something itself for a while.
    ServerFallsSilent(Duration),
    /// The other way round.
    ClientFallsSilent(Duration),
}

/// How long a reset waits for something that it could interrupt.
const SOMETHING_TO_INTERRUPT: Duration = Duration::from_millis(500);
const BUFFER: usize = 16 * 1024;

impl Proxy {
    /// Before a server, like `http://127.0.0.1:40123`.
    pub(crate) fn new(url: &str) -> Self {
        Self { server: watch::Sender::new(address(url)) }
    }

    /// From now on the server is there.
    pub(crate) fn turn_to(&self, url: &str) {
        self.server.send_replace(address(url));
    }

    pub(crate) async fn link(&self) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (cuts, opened) = (broadcast::Sender::new(16), Arc::new(Notify::new()));
        tokio::spawn(listen(listener, self.server.subscribe(), cuts.clone(), opened.clone()));
        Link { url, cuts, opened }
    }
}

impl Link {
    /// Cuts the connections of the client, as soon as it has one that isn't being cut already.
    pub(crate) async fn cut(&self, cut: Cut) {
        while self.cuts.send(cut).is_err() {
            self.opened.notified().await;
        }
    }
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

async fn listen(
    listener: TcpListener,
    server: watch::Receiver<SocketAddr>,
    cuts: broadcast::Sender<Cut>,
    opened: Arc<Notify>,
) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = *server.borrow();
        let cuts = cuts.subscribe();
        opened.notify_one();
        tokio::spawn(async move {
            match TcpStream::connect(server).await {
                Ok(server) => forward(client, server, cuts).await,
                // As if nobody listened here.
                Err(_) => reset(&client),
            }
        });
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, mut cuts: broadcast::Receiver<Cut>) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let mut up = Pump { from: from_client, to: to_server, read: Vec::with_capacity(BUFFER), is_over: false };
        let mut down = Pump { from: from_server, to: to_client, read: Vec::with_capacity(BUFFER), is_over: false };
        let cut = loop {
            let step = tokio::select! {
                step = up.step(), if !up.is_over => step,
                step = down.step(), if !down.is_over => step,
                cut = cuts.recv() => break cut.ok(),
            };
            if step.is_err() {
                break None;
            }
            if up.is_over && down.is_over {
                return;
            }
        };
        // The next cut is for another connection.
        drop(cuts);
        match cut {
            // One of the two is gone without a word; the other one is told in the same way.
            None => {}
            Some(Cut::Reset { after }) => down.begin_something(after).await,
            Some(Cut::Stall(time)) => sleep(time).await,
            Some(Cut::ServerFallsSilent(time)) => {
                let _ = down.to.shutdown().await;
                let _ = timeout(time, up.go_on()).await;
                return;
            }
            Some(Cut::ClientFallsSilent(time)) => {
                let _ = up.to.shutdown().await;
                let _ = timeout(time, down.go_on()).await;
                return;
            }
        }
    }
    reset(&client);
    reset(&server);
}

/// Has the stream reset, instead of closed, when it is dropped.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// One direction of a connection.
struct Pump<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    /// What has been read and not written yet. It outlives a step that is given up: nothing is missing in the middle of a stream.
    read: Vec<u8>,
    is_over: bool,
}

impl Pump<'_> {
    async fn step(&mut self) -> io::Result<()> {
        if !self.read.is_empty() {
            let written = self.to.write(&self.read).await?;
            self.read.drain(..written);
        } else if self.from.read_buf(&mut self.read).await? == 0 {
            self.is_over = true;
            self.to.shutdown().await?;
        }
        Ok(())
    }

    /// Waits for something to forward, and forwards the beginning of it.
    async fn begin_something(&mut self, len: usize) {
        if self.read.is_empty() {
            let _ = timeout(SOMETHING_TO_INTERRUPT, self.from.read_buf(&mut self.read)).await;
        }
        self.read.truncate(len);
        let _ = self.to.try_write(&self.read);
    }

    async fn go_on(&mut self) {
        while !self.is_over && self.step().await.is_ok() {}
    }
}

//! Fan-out: everything that one audience of the feed gets goes to a thousand connections.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::http::{self, Connection};
use crate::people::prepare;
use crate::report::{self, Figures};
use crate::socket::Socket;
use crate::switchboard::Switchboard;

/// Connections of the one who is written to.
const CONNECTIONS: usize = 1_000;
/// Messages on their way at the same time.
const AT_ONCE: usize = 4;

pub(crate) async fn measure(duration: Duration) {
    let server = Switchboard::start().await;
    let target = &server.target;
    let pair = &prepare(target, 1).await[0];
    let mut sockets = vec![];
    for _ in 0..CONNECTIONS {
        sockets.push(Socket::open(target.address(), &pair.recipient_token).await);
    }
    let (cpu, began) = (target.cpu(), Instant::now());
    let mut senders = JoinSet::new();
    for _ in 0..AT_ONCE {
        let mut connection = Connection::open(target.address()).await;
        let request =
            http::request("POST", target.address(), "/api/messenger/messages", &pair.sender_token, &pair.message());
        senders.spawn(async move {
            let mut sent = 0_usize;
            while began.elapsed() < duration {
                assert_eq!(connection.call(&request).await.status, 201);
                sent += 1;
            }
            sent
        });
    }
    let mut receivers = JoinSet::new();
    // Each receives until it has got as many as were sent.
    let (tell, told) = tokio::sync::watch::channel(usize::MAX);
    for mut socket in sockets {
        let mut told = told.clone();
        receivers.spawn(async move {
            let mut received = 0_usize;
            while received < *told.borrow() {
                tokio::select! {
                    _ = socket.receive() => received += 1,
                    Ok(()) = told.changed() => {}
                }
            }
            received
        });
    }
    let mut sent = 0;
    while let Some(some) = senders.join_next().await {
        sent += some.expect("senders don't panic");
    }
    tell.send_replace(sent);
    let mut all = report::histogram();
    while let Some(received) = receivers.join_next().await {
        let received = received.expect("receivers don't panic");
        assert_eq!(received, sent, "everything arrives once");
        all.record_n(1, received as u64).expect("it is in bounds");
    }
    let took = began.elapsed();
    let figures = Figures::of(&all, took, target.cpu().since(cpu));
    println!("{sent} messages to {CONNECTIONS} connections of one audience in {took:.1?}");
    println!(
        "{:.0} deliveries a second, {:.2} us of the server's CPU each: {:.0} a second a core; the driver takes {:.2} us",
        figures.per_second,
        figures.server_us,
        1e6 / figures.server_us,
        figures.driver_us
    );
}

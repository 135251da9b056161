//! Messages through the whole product: sent by one of a pair, on disk, received over Socket.IO by the other. Every message is
//! checked to be received once and to be in the table once.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::http::{self, Connection};
use crate::people::Pair;
use crate::report::{self, Figures};
use crate::socket::{Socket, sent_id};
use crate::target::Target;

/// A message that takes longer is lost.
const ARRIVAL: Duration = Duration::from_secs(30);
const WARMING_UP: Duration = Duration::from_secs(1);

/// How messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// Posted over REST, and received, before the next one: a pair that talks.
    Exchanged,
    /// Posted over REST, each as soon as the last one is on disk.
    Posted,
    /// Emitted over Socket.IO, each as soon as the last one is on disk.
    Emitted,
    /// Posted over REST at set times, whether the last one is on disk or not; latency counts from when it was due. So many a
    /// second, by all senders together.
    Due(u32),
}

/// Measures how pairs send for a while, having warmed up, when nobody else does.
pub(crate) async fn measure(target: &Target, pairs: &[Pair], way: Way, duration: Duration) -> Figures {
    run(target, pairs, way, WARMING_UP.min(duration)).await;
    let rows = target.messages().await;
    let figures = run(target, pairs, way, duration).await;
    let added = target.messages().await - rows;
    assert_eq!(i64::try_from(figures.count), Ok(added), "every message is in the table once");
    figures
}

/// Lets pairs send for a while, whatever others do.
pub(crate) async fn run(target: &Target, pairs: &[Pair], way: Way, duration: Duration) -> Figures {
    let mut conversations = vec![];
    for pair in pairs {
        conversations.push(Conversation::open(target, pair, way).await);
    }
    target.settle().await;
    let (cpu, began) = (target.cpu(), Instant::now());
    let end = began + duration;
    let mut tasks = JoinSet::new();
    for (n, conversation) in conversations.into_iter().enumerate() {
        let due = match way {
            Way::Due(rate) => Some(Due::of(n, pairs.len(), rate, began)),
            _ => None,
        };
        tasks.spawn(conversation.run(end, due));
    }
    let mut all = report::histogram();
    while let Some(histogram) = tasks.join_next().await {
        all += histogram.expect("pairs don't panic");
    }
    let took = began.elapsed();
    target.settle().await;
    Figures::of(&all, took, target.cpu().since(cpu))
}

/// When a sender's messages are due.
#[derive(Clone, Copy)]
struct Due {
    first: Instant,
    pause: Duration,
}

impl Due {
    /// Of one of so many senders, who take turns.
    fn of(n: usize, senders: usize, rate: u32, began: Instant) -> Self {
        let turn = Duration::from_secs(1) / rate;
        let (n, senders) = (u32::try_from(n).unwrap_or(0), u32::try_from(senders).unwrap_or(1));
        Self { first: began + turn * n, pause: turn * senders }
    }
}

enum Sender {
    Rest(Connection, Vec<u8>),
    Socket(Box<Socket>, String),
}

impl Sender {
    /// Sends a message and waits until it is on disk. Its id.
    async fn send(&mut self) -> Uuid {
        match self {
            Self::Rest(connection, request) => {
                let answer = connection.call(request).await;
                assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(answer.body));
                sent_id(answer.body)
            }
            Self::Socket(socket, message) => socket.send(message).await,
        }
    }
}

/// One who sends, and one who receives.
struct Conversation {
    sender: Sender,
    recipient: Socket,
    is_exchange: bool,
}

impl Conversation {
    async fn open(target: &Target, pair: &Pair, way: Way) -> Self {
        let (address, token, message) = (target.address(), &pair.sender_token, pair.message());
        let sender = match way {
            Way::Emitted => Sender::Socket(Box::new(Socket::open(address, token).await), message),
            _ => Sender::Rest(
                Connection::open(address).await,
                http::request("POST", address, "/api/messenger/messages", token, &message),
            ),
        };
        let recipient = Socket::open(address, &pair.recipient_token).await;
        Self { sender, recipient, is_exchange: way == Way::Exchanged }
    }

    async fn run(self, end: Instant, due: Option<Due>) -> Histogram<u64> {
        if self.is_exchange { self.exchange(end).await } else { self.flow(end, due).await }
    }

    /// Sends the next message once the last one has been received.
    async fn exchange(mut self, end: Instant) -> Histogram<u64> {
        let mut histogram = report::histogram();
        while Instant::now() < end {
            let began = Instant::now();
            let received = tokio::time::timeout(ARRIVAL, self.recipient.receive());
            let (sent, received) = tokio::join!(self.sender.send(), received);
            report::record(&mut histogram, began.elapsed());
            assert_eq!(sent, received.expect("every message arrives"), "every message arrives once");
        }
        histogram
    }

    /// Sends without waiting for the other side, which receives meanwhile.
    async fn flow(mut self, end: Instant, due: Option<Due>) -> Histogram<u64> {
        let (tell, told) = oneshot::channel();
        let receiving = tokio::spawn(receive(self.recipient, told));
        let (mut histogram, mut sent) = (report::histogram(), vec![]);
        let mut next = due.map(|due| due.first);
        while next.unwrap_or_else(Instant::now) < end {
            let began = match (&mut next, due) {
                (Some(next), Some(due)) => {
                    tokio::time::sleep_until((*next).into()).await;
                    std::mem::replace(next, *next + due.pause)
                }
                _ => Instant::now(),
            };
            sent.push(self.sender.send().await);
            report::record(&mut histogram, began.elapsed());
        }
        let _ = tell.send(sent.len());
        let mut received = receiving.await.expect("the recipient doesn't panic");
        sent.sort_unstable();
        received.sort_unstable();
        assert!(sent == received, "every message arrives once");
        histogram
    }
}

/// Receives until as many have come as are said to have been sent.
async fn receive(mut recipient: Socket, mut sent: oneshot::Receiver<usize>) -> Vec<Uuid> {
    let (mut received, mut expected) = (vec![], None);
    while expected.is_none_or(|expected| received.len() < expected) {
        if expected.is_none() {
            tokio::select! {
                count = &mut sent => expected = Some(count.expect("the sender doesn't panic")),
                id = recipient.receive() => received.push(id),
            }
        } else {
            let id = tokio::time::timeout(ARRIVAL, recipient.receive()).await;
            received.push(id.expect("every message arrives"));
        }
    }
    received
}

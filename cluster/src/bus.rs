//! Messages between nodes that nobody keeps: typing, signals of calls, who came and went. Each reaches every other node once, or
//! not at all; after an interruption the receiver is told that it may have missed some.

mod nats;
mod postgres;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{broadcast, mpsc};

use crate::NodeId;

/// Messages that may wait to be sent.
const OUTGOING: usize = 1024;
/// Messages that a slow listener may lag behind.
const INCOMING: usize = 1024;

const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The bus can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("{0} is no address of a NATS server")]
    Address(String),
    #[error("NATS can't be used")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Messages that a node receives from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Another node said this.
    Message(Arc<str>),
    /// Messages may have been lost: whoever keeps something by them looks it up anew.
    Interrupted,
}

/// This node's end of the bus.
#[derive(Clone)]
pub struct Bus {
    outgoing: mpsc::Sender<String>,
    incoming: broadcast::Sender<Notice>,
}

/// Hears what other nodes say.
pub struct Listener(broadcast::Receiver<Notice>);

impl Bus {
    /// A bus over Postgres notices, and what runs it for as long as it is polled.
    pub fn over_postgres(pool: PgPool, node: NodeId) -> (Self, impl Future<Output = ()> + Send) {
        let (outgoing, to_send) = mpsc::channel(OUTGOING);
        let incoming = broadcast::channel(INCOMING).0;
        let bus = Self { outgoing, incoming: incoming.clone() };
        (bus, postgres::run(pool, node, to_send, incoming))
    }

    /// A bus over a NATS server, under a subject that no other installation uses; and what runs it for as long as it is polled.
    ///
    /// # Errors
    /// If the address can't be one. A server that can't be reached is waited for.
    pub async fn over_nats(
        url: &str,
        subject: String,
        node: NodeId,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), BusError> {
        let (outgoing, to_send) = mpsc::channel(OUTGOING);
        let incoming = broadcast::channel(INCOMING).0;
        let client = nats::connect(url, incoming.clone()).await?;
        let bus = Self { outgoing, incoming: incoming.clone() };
        Ok((bus, nats::run(client, subject, node, to_send, incoming)))
    }

    /// Tells all other nodes. What there is no room for is lost, as it may be.
    pub fn publish(&self, message: String) {
        if self.outgoing.try_send(message).is_err() {
            metrics::counter!("switchboard_bus_lost_total").increment(1);
        }
    }

    /// Hears what other nodes say from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener(self.incoming.subscribe())
    }
}

impl Listener {
    /// The next notice.
    pub async fn next(&mut self) -> Notice {
        match self.0.recv().await {
            Ok(notice) => notice,
            Err(broadcast::error::RecvError::Lagged(_)) => Notice::Interrupted,
            // The bus has ended, and with it the server.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

//! Announces what is committed, in order: by this node's committer at once, by other nodes' when they notify.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{mpsc, watch};

use super::reader::Reader;
use crate::live::{Live, ReadAll};
use crate::{Batch, Position, StoreError};

const CHANNEL: &str = "switchboard_log";
/// Other nodes are told at most this often. Each notice costs the database a transaction.
const NOTIFY_PAUSE: Duration = Duration::from_millis(5);
/// Interval at which the head is read in case a notice was lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const PAGE_EVENTS: usize = 1000;

/// Announces until the committer ends.
pub(super) async fn run(
    pool: PgPool,
    reader: Arc<Reader>,
    live: Live,
    head: Position,
    mut committed: mpsc::Receiver<Batch>,
) {
    let (own_head, tell) = watch::channel(head);
    let (wake, mut woken) = watch::channel(head);
    let notifier = tokio::spawn(notify_others((*pool.connect_options()).clone(), tell));
    let listener = tokio::spawn(listen_to_others(pool, wake));
    let mut tail = Tail { reader, live, announced: head };
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let outcome = tokio::select! {
            batch = committed.recv() => match batch {
                Some(batch) => {
                    if let Some(last) = batch.last() {
                        own_head.send_replace(last.position);
                    }
                    tail.announce(batch).await
                }
                None => break,
            },
            Ok(()) = woken.changed() => {
                let position = *woken.borrow_and_update();
                tail.read_up_to(position).await
            }
            _ = look.tick() => tail.look().await,
        };
        if let Err(error) = outcome {
            // The next look makes up for it.
            tracing::warn!(error = %error, cause = ?error.source, "reading the tail of the log failed; retrying");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
    listener.abort();
    drop(own_head);
    let _ = notifier.await;
}

struct Tail {
    reader: Arc<Reader>,
    live: Live,
    /// Position of the last event announced.
    announced: Position,
}

impl Tail {
    /// Announces a batch of this node; before it, whatever other nodes have committed in between.
    async fn announce(&mut self, batch: Batch) -> Result<(), StoreError> {
        if let Some(first) = batch.first()
            && first.position > self.announced + 1
        {
            self.read_up_to(first.position - 1).await?;
        }
        let batch = batch.after(self.announced);
        if let Some(last) = batch.last() {
            self.announced = last.position;
            self.live.announce(batch);
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let head = self.reader.head().await?;
        self.read_up_to(head).await
    }

    async fn read_up_to(&mut self, position: Position) -> Result<(), StoreError> {
        while self.announced < position {
            let events = self.reader.read_all(self.announced, PAGE_EVENTS).await?;
            let Some(last) = events.last() else { break };
            self.announced = last.position;
            self.live.announce(events.into());
        }
        Ok(())
    }
}

/// Tells other nodes how far the log goes: outside the appends' transactions, where it would serialise them.
async fn notify_others(connect: PgConnectOptions, mut head: watch::Receiver<Position>) {
    // A notice is a transaction with an id; by default it would wait for the disk like any other.
    let connect = connect.options([("synchronous_commit", "off")]);
    let mut connection = None;
    while head.changed().await.is_ok() {
        let position = *head.borrow_and_update();
        if let Err(error) = notify(&mut connection, &connect, position).await {
            // Other nodes look for themselves every second.
            tracing::debug!(%error, "notifying other nodes failed; they poll the log");
            connection = None;
        }
        tokio::time::sleep(NOTIFY_PAUSE).await;
    }
}

async fn notify(
    connection: &mut Option<PgConnection>,
    connect: &PgConnectOptions,
    position: Position,
) -> Result<(), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(PgConnection::connect_with(connect).await?),
    };
    sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, position.to_string()).execute(connection).await?;
    Ok(())
}

/// Learns from other nodes how far the log goes. Never returns.
async fn listen_to_others(pool: PgPool, wake: watch::Sender<Position>) {
    loop {
        if let Err(error) = listen(&pool, &wake).await {
            tracing::debug!(%error, "log listener lost its connection; reconnecting");
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn listen(pool: &PgPool, wake: &watch::Sender<Position>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let notice = listener.recv().await?;
        if let Ok(position) = notice.payload().parse() {
            wake.send_if_modified(|known| {
                let further = *known < position;
                *known = position.max(*known);
                further
            });
        }
    }
}

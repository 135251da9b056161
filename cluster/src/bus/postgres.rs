//! The bus over `NOTIFY`. A notice holds less than 8,000 bytes, so what is longer goes in parts.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgListener};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{broadcast, mpsc};

use super::{Notice, RETRY_PAUSE};
use crate::NodeId;

const CHANNEL: &str = "switchboard_bus";
/// Maximum part of a message in one notice, in bytes, with room for the header.
const PART_BYTES: usize = 7_800;
/// Messages that are sent in one statement.
const BATCH: usize = 256;

pub(super) async fn run(
    pool: PgPool,
    node: NodeId,
    outgoing: mpsc::Receiver<String>,
    incoming: broadcast::Sender<Notice>,
) {
    let connect = (*pool.connect_options()).clone();
    tokio::join!(send(connect, node, outgoing), receive(pool, node, incoming));
}

async fn send(connect: PgConnectOptions, node: NodeId, mut outgoing: mpsc::Receiver<String>) {
    // A notice is a transaction with an id; by default it would wait for the disk like any other.
    let connect = connect.options([("synchronous_commit", "off")]);
    let mut connection = None;
    let mut messages = Vec::with_capacity(BATCH);
    let mut number = 0_u64;
    while outgoing.recv_many(&mut messages, BATCH).await > 0 {
        let mut parts = vec![];
        for message in messages.drain(..) {
            number += 1;
            parts.extend(split(node, number, &message));
        }
        // The connection may just have been lost. To be told twice does no harm, and to be told nothing does.
        let mut sent = notify(&mut connection, &connect, &parts).await;
        if sent.is_err() {
            connection = None;
            sent = notify(&mut connection, &connect, &parts).await;
        }
        if let Err(error) = sent {
            tracing::warn!(%error, "messages to other nodes lost");
            metrics::counter!("switchboard_bus_lost_total").increment(1);
            connection = None;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

async fn notify(
    connection: &mut Option<PgConnection>,
    connect: &PgConnectOptions,
    parts: &[String],
) -> Result<(), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(PgConnection::connect_with(connect).await?),
    };
    sqlx::query!("SELECT pg_notify($1, part) FROM unnest($2::text[]) AS part", CHANNEL, parts)
        .execute(connection)
        .await?;
    Ok(())
}

async fn receive(pool: PgPool, node: NodeId, incoming: broadcast::Sender<Notice>) {
    loop {
        let Err(error) = listen(&pool, node, &incoming).await;
        tracing::warn!(%error, "receiving messages of other nodes failed; retrying");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn listen(
    pool: &PgPool,
    node: NodeId,
    incoming: &broadcast::Sender<Notice>,
) -> Result<std::convert::Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // Nobody knows what was said before.
    let mut next = Some(Notice::Interrupted);
    let mut parts = Parts::default();
    loop {
        if let Some(notice) = next.take() {
            // Nobody listening is fine.
            let _ = incoming.send(notice);
        }
        next = match listener.try_recv().await? {
            Some(notice) => parts.put_together(node, notice.payload()).map(|message| Notice::Message(message.into())),
            None => Some(Notice::Interrupted),
        };
    }
}

/// The notices of one message: `node:number:part/parts:text`. The number also keeps Postgres from taking two equal messages of
/// one statement for one.
fn split(node: NodeId, number: u64, message: &str) -> Vec<String> {
    let mut parts = vec![];
    let mut rest = message;
    loop {
        let end = rest.floor_char_boundary(PART_BYTES);
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let count = parts.len();
    parts.into_iter().zip(1..).map(|(part, n)| format!("{node}:{number}:{n}/{count}:{part}")).collect()
}

/// Messages of which some parts have arrived. The parts of one come one after the other, so there is one of each node at most.
#[derive(Default)]
struct Parts(HashMap<String, (String, Arc<str>)>);

impl Parts {
    /// The message that this notice completes, if it is another node's.
    fn put_together(&mut self, own: NodeId, notice: &str) -> Option<String> {
        let mut fields = notice.splitn(4, ':');
        let (node, number) = (fields.next()?, fields.next()?);
        let (part, count) = fields.next()?.split_once('/')?;
        let text = fields.next()?;
        if node == own.to_string() {
            return None;
        }
        let (mut message, of) = match self.0.remove(node) {
            Some((begun, of)) if *of == *number => (begun, of),
            _ if part == "1" => (String::new(), number.into()),
            // Its beginning was lost.
            _ => return None,
        };
        message.push_str(text);
        if part == count {
            return Some(message);
        }
        self.0.insert(node.to_owned(), (message, of));
        None
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HERE: NodeId = NodeId(Uuid::from_u128(1));
    const THERE: NodeId = NodeId(Uuid::from_u128(2));

    #[test]
    fn a_long_message_arrives_whole() {
        let message = "ü:/".repeat(10_000);
        let notices = split(THERE, 7, &message);
        assert!(notices.len() > 1);
        assert!(notices.iter().all(|notice| notice.len() < 8000));
        let mut parts = Parts::default();
        let (last, before) = notices.split_last().unwrap();
        for notice in before {
            assert_eq!(parts.put_together(HERE, notice), None);
        }
        assert_eq!(parts.put_together(HERE, last), Some(message));
        assert!(parts.0.is_empty());
    }

    #[test]
    fn what_has_lost_a_part_is_lost_and_what_follows_is_not() {
        let notices = split(THERE, 7, &"x".repeat(20_000));
        let mut parts = Parts::default();
        assert_eq!(parts.put_together(HERE, &notices[1]), None);
        assert_eq!(parts.put_together(HERE, &notices[2]), None);
        parts.put_together(HERE, &notices[0]);
        assert_eq!(parts.put_together(HERE, &split(THERE, 8, "short")[0]).as_deref(), Some("short"));
    }

    #[test]
    fn nobody_hears_themselves_or_nonsense() {
        let mut parts = Parts::default();
        assert_eq!(parts.put_together(HERE, &split(HERE, 1, "echo")[0]), None);
        for nonsense in ["", "x", "a:b", "a:b:c:d", "a:1:1:x"] {
            assert_eq!(parts.put_together(HERE, nonsense), None);
        }
    }
}

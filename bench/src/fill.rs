//! A long past: messages appended to the log of a server that runs, as another node would.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::message::{MessageEvent, MessageKind, MessageSent};
use domain::{BusinessId, ConversationId, DomainEvent, MessageId, Personal, Timestamp, UserId};
use event_store::postgres::PostgresStore;
use event_store::{Actor, Append, EventStore, Expected, Metadata, StreamId, codec};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::target::Target;

/// Appends at the same time.
const AT_ONCE: usize = 512;
/// People in each business of the past.
const PEOPLE: u128 = 10;
const CONTENT: &str =
    "About a hundred bytes of text, as people wrote them to each other in the course of a working day.";

/// Who wrote to whom in the past.
#[derive(Clone, Copy)]
pub(crate) struct Past {
    /// Businesses that the messages are spread over.
    pub(crate) businesses: u128,
    /// Two whose conversation is long: one message in so many is theirs.
    pub(crate) long: Option<(Uuid, Uuid, u64)>,
}

/// Appends so many messages, and waits until they are in the read models.
pub(crate) async fn fill(target: &Target, messages: u64, past: Past) {
    let store = Arc::new(PostgresStore::open(target.database.clone()).await.expect("the log opens"));
    let next = Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (store, next) = (store.clone(), next.clone());
        writers.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= messages {
                    return;
                }
                store.append(append(n, past)).await.expect("appends succeed");
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("writers don't panic");
    }
    store.shut_down().await;
    target.settle().await;
}

fn append(n: u64, past: Past) -> Append {
    let at = u128::from(n);
    let business_id = BusinessId(Uuid::from_u128(1 + at % past.businesses));
    let (sender_id, recipient_id) = match past.long {
        Some((sender, recipient, one_in)) if n.is_multiple_of(one_in) => (UserId(sender), UserId(recipient)),
        _ => {
            // Nobody writes to themselves.
            let (one, other) = (at / past.businesses % PEOPLE, at / past.businesses / PEOPLE % (PEOPLE - 1) + 1);
            let person = |n: u128| UserId(Uuid::from_u128(business_id.0.as_u128() << 64 | n));
            (person(one), person((one + other) % PEOPLE))
        }
    };
    let (message_id, event_id) = (fresh_id(), fresh_id());
    let sent = MessageEvent::Sent(MessageSent {
        message_id: MessageId(message_id),
        conversation_id: ConversationId::between(sender_id, recipient_id),
        business_id,
        sender_id,
        recipient_id,
        content: Personal::of(sender_id, CONTENT.to_owned()),
        kind: MessageKind::Text,
        attachments: vec![],
        reply_to: None,
        fingerprint: None,
        sent_at: Timestamp::from_unix_ms(1_700_000_000_000 + i64::try_from(n).unwrap_or(0)),
    });
    Append {
        stream: StreamId::new("message", message_id),
        expected: Expected::NoStream,
        metadata: Metadata {
            business_id: business_id.0,
            actor: Actor { user: Some(sender_id.0), role: Some("BUSINESS_USER".into()), session: None },
            correlation_id: event_id,
            causation_id: None,
        },
        events: vec![codec::encode(event_id, sent.event_type(), sent.schema_version(), &sent)],
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark lives in real time")]
fn fresh_id() -> Uuid {
    Uuid::now_v7()
}

//! What people ought to have been told: what the log says.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::Value;
use sqlx::PgPool;

use super::clients::{Seen, Told};

const CALL_INCOMING: &str = "call:incoming";

/// What one person ought to have been told.
#[derive(Default)]
pub(super) struct Truth {
    /// Exactly once.
    told: Vec<Told>,
    /// At most once: calls that began to ring, of which they are told while they ring.
    rang: Vec<Told>,
}

impl Truth {
    /// Reads the log after a position, by person.
    pub(super) async fn read(pool: &PgPool, after: u64) -> HashMap<String, Self> {
        let mut truth = HashMap::new();
        let events: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT position, event_type, convert_from(data, 'UTF8') FROM log WHERE position > $1 ORDER BY position",
        )
        .bind(i64::try_from(after).unwrap())
        .fetch_all(pool)
        .await
        .unwrap();
        for (position, event_type, data) in events {
            for (person, event, id) in concerned(&event_type, &serde_json::from_str(&data).unwrap()) {
                let told = Told { position: u64::try_from(position).unwrap(), event: event.to_owned(), id };
                let truth: &mut Self = truth.entry(person).or_default();
                if event == CALL_INCOMING { truth.rang.push(told) } else { truth.told.push(told) }
            }
        }
        truth
    }

    /// How many things have to be told.
    pub(super) fn len(&self) -> usize {
        self.told.len()
    }

    /// What is wrong with what a client has seen, if something is, up to a position.
    pub(super) fn contradicts(&self, seen: &[Seen], until: u64) -> Option<String> {
        let mut last = 0;
        let mut expected = self.told.iter().take_while(|told| told.position <= until);
        for (at, one) in seen.iter().enumerate() {
            let told = match one {
                Seen::Connected { .. } => continue,
                Seen::Place { event, .. } if event == "feed:reset" => return Some(excerpt("it was reset", seen, at)),
                // Going on from there, it would be told things again.
                Seen::Place { position, .. } if *position < last => {
                    return Some(excerpt("its place went back", seen, at));
                }
                Seen::Place { position, .. } => {
                    last = *position;
                    continue;
                }
                Seen::Told(told) => told,
            };
            if told.position <= last {
                return Some(excerpt("it was told something again, or too late", seen, at));
            }
            last = told.position;
            if told.position > until || told.event == CALL_INCOMING && self.rang.contains(told) {
                continue;
            }
            let next = expected.next();
            if next != Some(told) {
                return Some(excerpt(&format!("it ought to have been told {next:?}"), seen, at));
            }
        }
        let next = expected.next()?;
        Some(excerpt(&format!("it was never told {next:?} nor anything after it"), seen, seen.len()))
    }
}

/// Who is told of an event, what, and of which message or call.
fn concerned(event_type: &str, data: &Value) -> Vec<(String, &'static str, String)> {
    let one = |data: &Value, person: &str, event, id: &str| {
        let text = |key: &str| data[key].as_str().unwrap().to_owned();
        (text(person), event, text(id))
    };
    let both = |event| vec![one(data, "callerId", event, "callId"), one(data, "receiverId", event, "callId")];
    match event_type {
        "MessageSent" => vec![
            one(data, "recipientId", "message:received", "messageId"),
            one(data, "senderId", "message:sent", "messageId"),
        ],
        "MessagesRead" => vec![one(data, "senderId", "message:read", "messageId")],
        "MessagesDelivered" => {
            let messages = data["upTo"].as_array().unwrap();
            messages.iter().map(|message| one(message, "senderId", "message:delivered", "messageId")).collect()
        }
        "CallStarted" => vec![one(data, "receiverId", CALL_INCOMING, "callId")],
        "CallAccepted" => both("call:accepted"),
        "CallRejected" => both("call:rejected"),
        "CallCancelled" => both("call:cancelled"),
        "CallMissed" | "CallFoundBusy" => both("call:missed"),
        "CallEnded" => both("call:ended"),
        _ => vec![],
    }
}

/// A complaint, and what the client saw around it.
fn excerpt(complaint: &str, seen: &[Seen], at: usize) -> String {
    let mut text = format!("{complaint}, at >\n");
    for (n, one) in seen.iter().enumerate().skip(at.saturating_sub(12)).take(16) {
        let mark = if n == at { '>' } else { ' ' };
        let _ = writeln!(text, "  {mark} {one}");
    }
    text
}

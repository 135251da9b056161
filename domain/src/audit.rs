//! Readings of the history. Each event is a stream of its own; it may sum up several readings of one reader that asked the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{BusinessId, Decider, RefusalKind, RuleError, Timestamp, UserId};

/// State of one reading of the history.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "camelCase")]
pub enum AuditTrail {
    /// Not recorded yet.
    #[default]
    Unread,
    /// Recorded.
    Read(AuditRead),
}

/// Commands that it accepts.
#[derive(Clone, Debug)]
pub enum AuditCommand {
    /// Notes that somebody reads. That they may was decided before.
    Note(AuditRead),
}

domain_events! {
    /// Events of a reading.
    pub enum AuditEvent {
        "AuditRead", version 1 => Read(AuditRead),
    }
}

/// A reader read some of the history, once or several times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRead {
    /// Who; none when it was an operator at the command line.
    pub reader_id: Option<UserId>,
    /// Business whose history was read; none for the history of all.
    pub business_id: Option<BusinessId>,
    /// How.
    pub what: AuditedThing,
    /// Filters of the query, in their canonical form; none when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Number of readings that this event stands for; at least 1.
    pub reads: u32,
    /// Time of the first of them.
    pub first_read_at: Timestamp,
    /// Time of the last of them.
    pub last_read_at: Timestamp,
}

/// Ways of reading the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditedThing {
    /// A page of it, or all of it at once.
    Events,
    /// As a live stream, which went on after this.
    LiveStream,
    /// The life of one aggregate.
    Stream,
    /// The state of one aggregate at some time.
    State,
    /// Events that one request has caused.
    Correlation,
    /// Into a file, at the command line.
    Export,
    /// The state of everything at some time, at the command line.
    Past,
}

/// The rules of reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Each time is noted once.
    #[error("this has been noted already")]
    AlreadyNoted,
}

impl RuleError for AuditError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::AlreadyNoted => RefusalKind::Conflict,
        }
    }
}

impl Decider for AuditTrail {
    const CATEGORY: &'static str = "audit";
    type Command = AuditCommand;
    type Event = AuditEvent;
    type Error = AuditError;

    fn decide(&self, command: AuditCommand) -> Result<Vec<AuditEvent>, AuditError> {
        let AuditCommand::Note(read) = command;
        match self {
            Self::Unread => Ok(vec![AuditEvent::Read(read)]),
            Self::Read(_) => Err(AuditError::AlreadyNoted),
        }
    }

    fn evolve(&mut self, event: &AuditEvent) {
        let AuditEvent::Read(read) = event;
        if *self == Self::Unread {
            *self = Self::Read(read.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::given;

    fn read() -> AuditRead {
        AuditRead {
            reader_id: None,
            business_id: None,
            what: AuditedThing::Export,
            query: None,
            reads: 1,
            first_read_at: Timestamp::from_unix_ms(0),
            last_read_at: Timestamp::from_unix_ms(0),
        }
    }

    #[test]
    fn reading_is_noted_once() {
        given::<AuditTrail>([]).when(AuditCommand::Note(read())).then([AuditEvent::Read(read())]);
        given::<AuditTrail>([AuditEvent::Read(read())])
            .when(AuditCommand::Note(read()))
            .then_err(AuditError::AlreadyNoted);
    }
}

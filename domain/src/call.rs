//! A call from one person to another: it rings, is answered or not, and ends once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{
    BusinessId, CallId, ConversationId, Decider, EventAudience, Invalid, RefusalKind, RoomId, RuleError, Timestamp,
    UserId,
};

/// State of one call.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Call {
    /// Not started yet.
    #[default]
    Unstarted,
    /// The callee has not answered yet.
    Ringing(CallStarted),
    /// They talk.
    Active {
        /// Start of the call.
        call: CallStarted,
        /// Time at which the callee answered.
        accepted_at: Timestamp,
    },
    /// It is over, for ever.
    Over(CallOver),
}

/// A call that is over.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallOver {
    /// Start of the call.
    pub call: CallStarted,
    /// Time at which the callee answered, if they did.
    pub accepted_at: Option<Timestamp>,
    /// Outcome of the call.
    pub outcome: Outcome,
    /// User who ended it; none if the system did.
    pub ended_by: Option<UserId>,
    /// Time of its end.
    pub ended_at: Timestamp,
}

/// Outcomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// They talked, and then stopped.
    Ended(EndReason),
    /// The callee didn't want it.
    Rejected,
    /// The caller gave up.
    Cancelled,
    /// It rang for as long as a call may ring.
    Missed,
    /// The callee was in another call. It never rang.
    Busy,
}

/// Why people stopped talking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// One of them ended it.
    HungUp,
    /// Both were gone for too long.
    ConnectionLost,
}

impl EndReason {
    /// The name in the API and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::ConnectionLost => "connection_lost",
        }
    }
}

/// With or without a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallType {
    /// Sound only.
    Audio,
    /// Sound and picture.
    Video,
}

impl CallType {
    /// The name in the API and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// Commands that a call accepts.
#[derive(Clone, Debug)]
pub enum CallCommand {
    /// Starts it.
    Start(StartCall),
    /// The callee answers.
    Accept { by: UserId, at: Timestamp },
    /// The callee declines.
    Reject { by: UserId, at: Timestamp },
    /// Either of the two is done with it: while it rings, the caller cancels it and the callee declines it.
    End { by: UserId, at: Timestamp },
    /// It may have rung for too long.
    TimeOut { at: Timestamp },
    /// Both parties have been gone for too long.
    LoseConnection { at: Timestamp },
}

/// A call about to be started. That the callee exists, is of the same business and may be called was looked up before.
#[derive(Clone, Debug)]
pub struct StartCall {
    pub id: CallId,
    pub business_id: BusinessId,
    pub caller_id: UserId,
    pub receiver_id: UserId,
    pub call_type: CallType,
    pub room_id: RoomId,
    /// True if the callee is in another call; see [`crate::line`].
    pub callee_is_busy: bool,
    pub rings_until: Timestamp,
    pub at: Timestamp,
}

domain_events! {
    /// Events of a call.
    pub enum CallEvent {
        "CallStarted", version 1 => Started(CallStarted),
        "CallFoundBusy", version 1 => FoundBusy(CallFoundBusy),
        "CallAccepted", version 1 => Accepted(CallAccepted),
        "CallRejected", version 1 => Rejected(CallRejected),
        "CallCancelled", version 1 => Cancelled(CallCancelled),
        "CallMissed", version 1 => Missed(CallMissed),
        "CallEnded", version 1 => Ended(CallEnded),
    }
}

/// The call and its two users. Part of every event, so that each event can be delivered without the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallParties {
    pub call_id: CallId,
    pub conversation_id: ConversationId,
    pub business_id: BusinessId,
    pub caller_id: UserId,
    pub receiver_id: UserId,
}

/// A call began to ring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallStarted {
    #[serde(flatten)]
    pub parties: CallParties,
    pub call_type: CallType,
    pub room_id: String,
    pub started_at: Timestamp,
    pub rings_until: Timestamp,
}

/// A person was called who was in another call. It never rang.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallFoundBusy {
    #[serde(flatten)]
    pub parties: CallParties,
    pub call_type: CallType,
    pub room_id: String,
    pub started_at: Timestamp,
}

/// The callee answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallAccepted {
    #[serde(flatten)]
    pub parties: CallParties,
    pub accepted_at: Timestamp,
}

/// The callee declined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallRejected {
    #[serde(flatten)]
    pub parties: CallParties,
    pub rejected_at: Timestamp,
}

/// The caller gave up before anybody answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallCancelled {
    #[serde(flatten)]
    pub parties: CallParties,
    pub cancelled_at: Timestamp,
}

/// The callee did not answer in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallMissed {
    #[serde(flatten)]
    pub parties: CallParties,
    pub missed_at: Timestamp,
}

/// A call that had been answered is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallEnded {
    #[serde(flatten)]
    pub parties: CallParties,
    /// User who ended it; none if the system did.
    pub ended_by: Option<UserId>,
    pub reason: EndReason,
    /// Duration of the conversation, in milliseconds.
    pub duration_ms: u64,
    pub ended_at: Timestamp,
}

/// The rules of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such call, or none that whoever asks is a party of.
    #[error("call not found")]
    NoSuchCall,
    /// An id names one call for ever.
    #[error("this call has been started already")]
    AlreadyStarted,
    /// A user cannot call themselves.
    #[error("{0}")]
    ToOneself(Invalid),
    /// A call is answered or declined by the one who is called.
    #[error("only the one who is called can answer or decline")]
    NotTheCallee,
    /// It has been answered, has rung for too long, or is over.
    #[error("this call doesn't ring any more")]
    NoLongerRinging,
    /// A call ends once.
    #[error("this call is over")]
    AlreadyOver,
}

impl RuleError for CallError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NoSuchCall => RefusalKind::NotFound,
            Self::ToOneself(invalid) => invalid.kind(),
            Self::NotTheCallee => RefusalKind::Forbidden,
            Self::AlreadyStarted | Self::NoLongerRinging | Self::AlreadyOver => RefusalKind::Conflict,
        }
    }
}

impl Call {
    /// Returns the start of the call, once there is one.
    #[must_use]
    pub fn started(&self) -> Option<&CallStarted> {
        match self {
            Self::Unstarted => None,
            Self::Ringing(call) | Self::Active { call, .. } | Self::Over(CallOver { call, .. }) => Some(call),
        }
    }

    /// Returns true if it rings and may still be answered.
    #[must_use]
    pub fn is_ringing(&self, at: Timestamp) -> bool {
        matches!(self, Self::Ringing(call) if at < call.rings_until)
    }

    /// Returns true if it rings or has been answered and not ended.
    #[must_use]
    pub fn is_live(&self, at: Timestamp) -> bool {
        self.is_ringing(at) || matches!(self, Self::Active { .. })
    }
}

impl CallOver {
    /// Returns the duration of the conversation in milliseconds; none if the callee did not answer.
    #[must_use]
    pub fn duration_ms(&self) -> Option<u64> {
        self.accepted_at.map(|accepted_at| duration_ms(accepted_at, self.ended_at))
    }
}

impl CallEvent {
    /// Returns its audience: the members of its conversation.
    #[must_use]
    pub fn audience(&self) -> EventAudience {
        let CallParties { conversation_id, caller_id, receiver_id, .. } = *self.parties();
        EventAudience::Conversation { id: conversation_id, members: [receiver_id, caller_id] }
    }

    /// Returns the call and its users.
    #[must_use]
    pub fn parties(&self) -> &CallParties {
        match self {
            Self::Started(event) => &event.parties,
            Self::FoundBusy(event) => &event.parties,
            Self::Accepted(event) => &event.parties,
            Self::Rejected(event) => &event.parties,
            Self::Cancelled(event) => &event.parties,
            Self::Missed(event) => &event.parties,
            Self::Ended(event) => &event.parties,
        }
    }
}

impl CallParties {
    /// Returns true if this user is the caller or the callee.
    #[must_use]
    pub fn include(&self, user: UserId) -> bool {
        self.caller_id == user || self.receiver_id == user
    }

    /// The other one of the two.
    #[must_use]
    pub fn other(&self, user: UserId) -> UserId {
        if self.caller_id == user { self.receiver_id } else { self.caller_id }
    }
}

impl Decider for Call {
    const CATEGORY: &'static str = "call";
    type Command = CallCommand;
    type Event = CallEvent;
    type Error = CallError;

    fn decide(&self, command: CallCommand) -> Result<Vec<CallEvent>, CallError> {
        use CallCommand::{Accept, End, LoseConnection, Reject, Start, TimeOut};
        match (command, self) {
            (Start(command), Self::Unstarted) => start(command).map(|event| vec![event]),
            (Start(_), Self::Ringing(_) | Self::Active { .. } | Self::Over(_)) => Err(CallError::AlreadyStarted),

            (Accept { .. } | Reject { .. } | End { .. } | TimeOut { .. } | LoseConnection { .. }, Self::Unstarted) => {
                Err(CallError::NoSuchCall)
            }
            (
                Accept { by, .. } | Reject { by, .. } | End { by, .. },
                Self::Ringing(call) | Self::Active { call, .. } | Self::Over(CallOver { call, .. }),
            ) if !call.parties.include(by) => Err(CallError::NoSuchCall),
            (
                Accept { by, .. } | Reject { by, .. },
                Self::Ringing(call) | Self::Active { call, .. } | Self::Over(CallOver { call, .. }),
            ) if call.parties.receiver_id != by => Err(CallError::NotTheCallee),

            // Whether it has been missed or not may not depend on how soon somebody notices.
            (Accept { at, .. } | Reject { at, .. }, Self::Ringing(call)) if at >= call.rings_until => {
                Err(CallError::NoLongerRinging)
            }
            (Accept { at, .. }, Self::Ringing(call)) => {
                Ok(vec![CallEvent::Accepted(CallAccepted { parties: call.parties, accepted_at: at })])
            }
            (Reject { at, .. }, Self::Ringing(call)) => {
                Ok(vec![CallEvent::Rejected(CallRejected { parties: call.parties, rejected_at: at })])
            }
            (Accept { .. } | Reject { .. }, Self::Active { .. } | Self::Over(_)) => Err(CallError::NoLongerRinging),

            (End { by, at }, Self::Ringing(call)) if call.parties.caller_id == by => {
                Ok(vec![CallEvent::Cancelled(CallCancelled { parties: call.parties, cancelled_at: at })])
            }
            (End { at, .. }, Self::Ringing(call)) => {
                Ok(vec![CallEvent::Rejected(CallRejected { parties: call.parties, rejected_at: at })])
            }
            (End { by, at }, Self::Active { call, accepted_at }) => {
                Ok(vec![ended(call, *accepted_at, Some(by), EndReason::HungUp, at)])
            }
            (End { .. }, Self::Over(_)) => Err(CallError::AlreadyOver),

            (TimeOut { at }, Self::Ringing(call)) if at >= call.rings_until => {
                Ok(vec![CallEvent::Missed(CallMissed { parties: call.parties, missed_at: at })])
            }
            (TimeOut { .. }, Self::Ringing(_) | Self::Active { .. } | Self::Over(_)) => Ok(vec![]),

            (LoseConnection { at }, Self::Active { call, accepted_at }) => {
                Ok(vec![ended(call, *accepted_at, None, EndReason::ConnectionLost, at)])
            }
            // One that rings is missed in its time.
            (LoseConnection { .. }, Self::Ringing(_) | Self::Over(_)) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: &CallEvent) {
        let over = |call, outcome, ended_by, ended_at| {
            Self::Over(CallOver { call, accepted_at: None, outcome, ended_by, ended_at })
        };
        *self = match (event, std::mem::take(self)) {
            (CallEvent::Started(event), Self::Unstarted) => Self::Ringing(event.clone()),
            (CallEvent::FoundBusy(event), Self::Unstarted) => {
                let CallFoundBusy { parties, call_type, room_id, started_at } = event.clone();
                let call = CallStarted { parties, call_type, room_id, started_at, rings_until: started_at };
                over(call, Outcome::Busy, None, started_at)
            }
            (CallEvent::Accepted(event), Self::Ringing(call)) => Self::Active { call, accepted_at: event.accepted_at },
            (CallEvent::Rejected(event), Self::Ringing(call)) => {
                over(call, Outcome::Rejected, Some(event.parties.receiver_id), event.rejected_at)
            }
            (CallEvent::Cancelled(event), Self::Ringing(call)) => {
                over(call, Outcome::Cancelled, Some(event.parties.caller_id), event.cancelled_at)
            }
            (CallEvent::Missed(event), Self::Ringing(call)) => over(call, Outcome::Missed, None, event.missed_at),
            (CallEvent::Ended(event), Self::Active { call, accepted_at }) => {
                let CallEnded { ended_by, reason, ended_at, .. } = *event;
                let outcome = Outcome::Ended(reason);
                Self::Over(CallOver { call, accepted_at: Some(accepted_at), outcome, ended_by, ended_at })
            }
            (
                CallEvent::Started(_)
                | CallEvent::FoundBusy(_)
                | CallEvent::Accepted(_)
                | CallEvent::Rejected(_)
                | CallEvent::Cancelled(_)
                | CallEvent::Missed(_)
                | CallEvent::Ended(_),
                unchanged,
            ) => unchanged,
        };
    }

    fn heap_bytes(&self) -> usize {
        self.started().map_or(0, |call| call.room_id.capacity())
    }
}

fn start(command: StartCall) -> Result<CallEvent, CallError> {
    if command.caller_id == command.receiver_id {
        return Err(CallError::ToOneself(Invalid::new("recipientId", "must be somebody else")));
    }
    let parties = CallParties {
        call_id: command.id,
        conversation_id: ConversationId::between(command.caller_id, command.receiver_id),
        business_id: command.business_id,
        caller_id: command.caller_id,
        receiver_id: command.receiver_id,
    };
    let StartCall { call_type, room_id, rings_until, at: started_at, .. } = command;
    let room_id = room_id.into_string();
    Ok(if command.callee_is_busy {
        CallEvent::FoundBusy(CallFoundBusy { parties, call_type, room_id, started_at })
    } else {
        CallEvent::Started(CallStarted { parties, call_type, room_id, started_at, rings_until })
    })
}

fn ended(
    call: &CallStarted,
    accepted_at: Timestamp,
    ended_by: Option<UserId>,
    reason: EndReason,
    at: Timestamp,
) -> CallEvent {
    let duration_ms = duration_ms(accepted_at, at);
    CallEvent::Ended(CallEnded { parties: call.parties, ended_by, reason, duration_ms, ended_at: at })
}

fn duration_ms(accepted_at: Timestamp, ended_at: Timestamp) -> u64 {
    // Clocks of two nodes may differ by more than a short call lasts.
    u64::try_from(ended_at.unix_ms() - accepted_at.unix_ms()).unwrap_or(0)
}

#[cfg(test)]
mod tests;

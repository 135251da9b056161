//! A call from one person to another: it rings, is answered or not, and ends once.

use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{BusinessId, CallId, ConversationId, Decider, Invalid, RoomId, Timestamp, UserId};

/// State of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Call {
    /// Nobody has started it.
    #[default]
    Unstarted,
    /// The callee has not answered yet.
    Ringing(CallStarted),
    /// They talk.
    Active {
        /// How it began.
        call: CallStarted,
        /// When the callee answered.
        accepted_at: Timestamp,
    },
    /// It is over, for ever.
    Over(CallOver),
}

/// A call that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct CallOver {
    /// How it began.
    pub call: CallStarted,
    /// When the callee answered, if they did.
    pub accepted_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Outcome,
    /// Who ended it; none when nobody did.
    pub ended_by: Option<UserId>,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What may be asked of a call.
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
    /// Whether the callee is in another call; see [`crate::line`].
    pub callee_is_busy: bool,
    pub rings_until: Timestamp,
    pub at: Timestamp,
}

domain_events! {
    /// What may have happened to a call.
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

/// Which call, and whose. In every event of it, so that each can be delivered by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallParties {
    pub call_id: CallId,
    pub conversation_id: ConversationId,
    pub business_id: BusinessId,
    pub caller_id: UserId,
    pub receiver_id: UserId,
}

/// A call began to ring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallFoundBusy {
    #[serde(flatten)]
    pub parties: CallParties,
    pub call_type: CallType,
    pub room_id: String,
    pub started_at: Timestamp,
}

/// The callee answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallAccepted {
    #[serde(flatten)]
    pub parties: CallParties,
    pub accepted_at: Timestamp,
}

/// The callee declined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRejected {
    #[serde(flatten)]
    pub parties: CallParties,
    pub rejected_at: Timestamp,
}

/// The caller gave up before anybody answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallCancelled {
    #[serde(flatten)]
    pub parties: CallParties,
    pub cancelled_at: Timestamp,
}

/// Nobody answered in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallMissed {
    #[serde(flatten)]
    pub parties: CallParties,
    pub missed_at: Timestamp,
}

/// A call that had been answered is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallEnded {
    #[serde(flatten)]
    pub parties: CallParties,
    /// Who ended it; none when nobody did.
    pub ended_by: Option<UserId>,
    pub reason: EndReason,
    /// How long they talked, in milliseconds.
    pub duration_ms: u64,
    pub ended_at: Timestamp,
}

/// The rules of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such call, or none that whoever asks is a party of.
    #[error("there is no such call")]
    NoSuchCall,
    /// An id names one call for ever.
    #[error("this call has been started already")]
    AlreadyStarted,
    /// People call others.
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

impl Call {
    /// How it began, once it has.
    #[must_use]
    pub fn started(&self) -> Option<&CallStarted> {
        match self {
            Self::Unstarted => None,
            Self::Ringing(call) | Self::Active { call, .. } | Self::Over(CallOver { call, .. }) => Some(call),
        }
    }

    /// Whether it rings, and may still be answered.
    #[must_use]
    pub fn is_ringing(&self, at: Timestamp) -> bool {
        matches!(self, Self::Ringing(call) if at < call.rings_until)
    }

    /// Whether it rings, or people talk.
    #[must_use]
    pub fn is_live(&self, at: Timestamp) -> bool {
        self.is_ringing(at) || matches!(self, Self::Active { .. })
    }
}

impl CallOver {
    /// How long they talked, in milliseconds; none when nobody answered.
    #[must_use]
    pub fn duration_ms(&self) -> Option<u64> {
        self.accepted_at.map(|accepted_at| duration_ms(accepted_at, self.ended_at))
    }
}

impl CallEvent {
    /// Which call, and whose.
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
    /// Whether this person called or was called.
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
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ALICE: UserId = UserId(Uuid::from_u128(7));
    const BOB: UserId = UserId(Uuid::from_u128(8));
    const MALLORY: UserId = UserId(Uuid::from_u128(9));

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_ms(s * 1000)
    }

    fn parties() -> CallParties {
        CallParties {
            call_id: CallId(Uuid::from_u128(1)),
            conversation_id: ConversationId::between(ALICE, BOB),
            business_id: BusinessId(Uuid::from_u128(2)),
            caller_id: ALICE,
            receiver_id: BOB,
        }
    }

    fn start(receiver_id: UserId, callee_is_busy: bool) -> CallCommand {
        CallCommand::Start(StartCall {
            id: parties().call_id,
            business_id: parties().business_id,
            caller_id: ALICE,
            receiver_id,
            call_type: CallType::Video,
            room_id: RoomId::parse("room_123").unwrap(),
            callee_is_busy,
            rings_until: at(45),
            at: at(0),
        })
    }

    fn started() -> CallEvent {
        CallEvent::Started(CallStarted {
            parties: parties(),
            call_type: CallType::Video,
            room_id: "room_123".into(),
            started_at: at(0),
            rings_until: at(45),
        })
    }

    fn found_busy() -> CallEvent {
        CallEvent::FoundBusy(CallFoundBusy {
            parties: parties(),
            call_type: CallType::Video,
            room_id: "room_123".into(),
            started_at: at(0),
        })
    }

    fn accepted() -> CallEvent {
        CallEvent::Accepted(CallAccepted { parties: parties(), accepted_at: at(10) })
    }

    fn rejected() -> CallEvent {
        CallEvent::Rejected(CallRejected { parties: parties(), rejected_at: at(10) })
    }

    fn cancelled() -> CallEvent {
        CallEvent::Cancelled(CallCancelled { parties: parties(), cancelled_at: at(10) })
    }

    fn missed() -> CallEvent {
        CallEvent::Missed(CallMissed { parties: parties(), missed_at: at(45) })
    }

    fn call_ended(ended_by: Option<UserId>, reason: EndReason, s: i64) -> CallEvent {
        let duration_ms = u64::try_from((s - 10) * 1000).unwrap();
        CallEvent::Ended(CallEnded { parties: parties(), ended_by, reason, duration_ms, ended_at: at(s) })
    }

    fn accept(by: UserId) -> CallCommand {
        CallCommand::Accept { by, at: at(10) }
    }

    fn reject(by: UserId) -> CallCommand {
        CallCommand::Reject { by, at: at(10) }
    }

    fn end(by: UserId) -> CallCommand {
        CallCommand::End { by, at: at(10) }
    }

    #[test]
    fn a_call_rings_once_it_is_started() {
        given::<Call>([]).when(start(BOB, false)).then([started()]);
    }

    #[test]
    fn a_call_to_somebody_who_is_in_another_is_recorded_and_never_rings() {
        given::<Call>([]).when(start(BOB, true)).then([found_busy()]);
    }

    #[test]
    fn nobody_calls_themselves() {
        let invalid = Invalid::new("recipientId", "must be somebody else");
        given::<Call>([]).when(start(ALICE, false)).then_err(CallError::ToOneself(invalid));
    }

    /// Every state of a call × every command × both parties, a stranger, and the system.
    #[test]
    fn every_command_in_every_state_by_everybody() {
        use CallError::{AlreadyOver, AlreadyStarted, NoLongerRinging, NoSuchCall, NotTheCallee};
        type Row = (&'static str, CallCommand, [Result<Option<CallEvent>, CallError>; 4]);
        let fine = |event: CallEvent| Ok(Some(event));
        let nothing = || Ok(None);
        let over_by = |s| CallCommand::LoseConnection { at: at(s) };
        // In the states: unstarted, ringing, active, over.
        let table: Vec<Row> = vec![
            (
                "start",
                start(BOB, false),
                [fine(started()), Err(AlreadyStarted), Err(AlreadyStarted), Err(AlreadyStarted)],
            ),
            (
                "accept by the callee",
                accept(BOB),
                [Err(NoSuchCall), fine(accepted()), Err(NoLongerRinging), Err(NoLongerRinging)],
            ),
            (
                "accept by the caller",
                accept(ALICE),
                [Err(NoSuchCall), Err(NotTheCallee), Err(NotTheCallee), Err(NotTheCallee)],
            ),
            (
                "accept by a stranger",
                accept(MALLORY),
                [Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall)],
            ),
            (
                "reject by the callee",
                reject(BOB),
                [Err(NoSuchCall), fine(rejected()), Err(NoLongerRinging), Err(NoLongerRinging)],
            ),
            (
                "reject by the caller",
                reject(ALICE),
                [Err(NoSuchCall), Err(NotTheCallee), Err(NotTheCallee), Err(NotTheCallee)],
            ),
            (
                "reject by a stranger",
                reject(MALLORY),
                [Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall)],
            ),
            (
                "end by the caller",
                end(ALICE),
                [
                    Err(NoSuchCall),
                    fine(cancelled()),
                    fine(call_ended(Some(ALICE), EndReason::HungUp, 10)),
                    Err(AlreadyOver),
                ],
            ),
            (
                "end by the callee",
                end(BOB),
                [
                    Err(NoSuchCall),
                    fine(rejected()),
                    fine(call_ended(Some(BOB), EndReason::HungUp, 10)),
                    Err(AlreadyOver),
                ],
            ),
            ("end by a stranger", end(MALLORY), [Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall), Err(NoSuchCall)]),
            (
                "time-out in time",
                CallCommand::TimeOut { at: at(45) },
                [Err(NoSuchCall), fine(missed()), nothing(), nothing()],
            ),
            (
                "time-out too early",
                CallCommand::TimeOut { at: at(44) },
                [Err(NoSuchCall), nothing(), nothing(), nothing()],
            ),
            (
                "loss of the connection",
                over_by(70),
                [Err(NoSuchCall), nothing(), fine(call_ended(None, EndReason::ConnectionLost, 70)), nothing()],
            ),
        ];
        let ways_to_be_over = [
            vec![found_busy()],
            vec![started(), rejected()],
            vec![started(), cancelled()],
            vec![started(), missed()],
            vec![started(), accepted(), call_ended(Some(BOB), EndReason::HungUp, 10)],
            vec![started(), accepted(), call_ended(None, EndReason::ConnectionLost, 70)],
        ];
        for (name, command, expected) in table {
            let check = |history: &[CallEvent], expected: &Result<Option<CallEvent>, CallError>| {
                let outcome = Call::replay(history).decide(command.clone());
                let expected = expected.clone().map(|event| event.into_iter().collect::<Vec<_>>());
                assert_eq!(outcome, expected, "{name} after {history:?}");
            };
            check(&[], &expected[0]);
            check(&[started()], &expected[1]);
            check(&[started(), accepted()], &expected[2]);
            for history in &ways_to_be_over {
                check(history, &expected[3]);
            }
        }
    }

    #[test]
    fn nobody_answers_or_declines_what_has_rung_for_too_long() {
        let late = CallCommand::Accept { by: BOB, at: at(45) };
        given::<Call>([started()]).when(late).then_err(CallError::NoLongerRinging);
        let late = CallCommand::Reject { by: BOB, at: at(45) };
        given::<Call>([started()]).when(late).then_err(CallError::NoLongerRinging);
    }

    #[test]
    fn a_call_lasts_from_the_answer_to_the_end() {
        let hang_up = CallCommand::End { by: BOB, at: at(70) };
        given::<Call>([started(), accepted()]).when(hang_up).then([call_ended(Some(BOB), EndReason::HungUp, 70)]);
    }

    #[test]
    fn clocks_that_disagree_make_no_call_last_less_than_nothing() {
        let hang_up = CallCommand::End { by: BOB, at: at(9) };
        let CallEvent::Ended(ended) = &Call::replay(&[started(), accepted()]).decide(hang_up).unwrap()[0] else {
            panic!("it ends")
        };
        assert_eq!(ended.duration_ms, 0);
    }

    #[test]
    fn events_are_stored_flat() {
        let json = serde_json::to_value(accepted()).unwrap();
        assert_eq!(json["callId"], parties().call_id.to_string());
        assert_eq!(json["acceptedAt"], "1970-01-01T00:00:10.000Z");
    }

    fn any_event() -> impl Strategy<Value = CallEvent> {
        let ended = call_ended(Some(BOB), EndReason::HungUp, 60);
        prop::sample::select(vec![started(), found_busy(), accepted(), rejected(), cancelled(), missed(), ended])
    }

    proptest! {
        #[test]
        fn any_history_replays_and_what_is_over_stays_so(history in prop::collection::vec(any_event(), 0..12)) {
            let mut state = Call::default();
            for event in &history {
                let before = state.clone();
                state.evolve(event);
                prop_assert!(!matches!(before, Call::Over(_)) || state == before);
            }
        }
    }
}

//! A person's line: which calls they are in. It is why somebody who is in a call isn't called by two others at once.
//!
//! A line is never given back: whoever wants it looks whether the calls on it are over, and says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{BusinessId, CallId, Decider, RefusalKind, RuleError, Timestamp, UserId};

/// State of one person's line.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Calls that have taken it and are not known to be over.
    pub calls: Vec<CallOnLine>,
}

/// A call that has taken a line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallOnLine {
    pub call_id: CallId,
    pub taken_at: Timestamp,
    /// True if the owner of the line is the caller.
    pub is_outgoing: bool,
}

/// Maximum outgoing calls of a user that ring at the same time.
const MAX_RINGING: usize = 3;
/// Maximum calls on a line: it bounds what has to be looked up before another one.
const MAX_CALLS: usize = 8;

/// Commands that a line accepts.
#[derive(Clone, Debug)]
pub enum LineCommand {
    /// Takes it for a call.
    Take(TakeLine),
}

/// A call that needs the line.
#[derive(Clone, Debug)]
pub struct TakeLine {
    pub user_id: UserId,
    pub business_id: BusinessId,
    pub call_id: CallId,
    /// True for a callee, who must be in no other call. A caller may be.
    pub must_be_free: bool,
    /// Calls on the line that are known to be over.
    pub over: Vec<CallId>,
    /// Calls on the line that are known to have been answered.
    pub answered: Vec<CallId>,
    pub at: Timestamp,
}

domain_events! {
    /// Events of a line.
    pub enum LineEvent {
        "LineTaken", version 1 => Taken(LineTaken),
    }
}

/// A call has the line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LineTaken {
    pub user_id: UserId,
    pub business_id: BusinessId,
    pub call_id: CallId,
    /// True if the owner of the line is the caller.
    pub is_outgoing: bool,
    /// Calls that had it and are over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<CallId>,
    pub taken_at: Timestamp,
}

/// The rules of a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The person is in another call.
    #[error("this person is in another call")]
    Busy,
    /// A user has too many outgoing calls that ring.
    #[error("you are calling {MAX_RINGING} people already: wait until one of them answers")]
    TooManyRinging,
    /// A user is in too many calls.
    #[error("you are in too many calls: end one of them")]
    TooManyCalls,
}

impl RuleError for LineError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Busy | Self::TooManyRinging | Self::TooManyCalls => RefusalKind::Conflict,
        }
    }
}

impl Decider for Line {
    const CATEGORY: &'static str = "line";
    type Command = LineCommand;
    type Event = LineEvent;
    type Error = LineError;

    fn decide(&self, command: LineCommand) -> Result<Vec<LineEvent>, LineError> {
        let LineCommand::Take(command) = command;
        if self.calls.iter().any(|call| call.call_id == command.call_id) {
            return Ok(vec![]);
        }
        let is_over = |call: &CallId| command.over.contains(call);
        let live = || self.calls.iter().filter(|call| !is_over(&call.call_id));
        if command.must_be_free && live().next().is_some() {
            return Err(LineError::Busy);
        }
        if live().count() >= MAX_CALLS {
            return Err(LineError::TooManyCalls);
        }
        // A call that was not known when the command was made has just begun to ring.
        let rings = |call: &&CallOnLine| call.is_outgoing && !command.answered.contains(&call.call_id);
        if !command.must_be_free && live().filter(rings).count() >= MAX_RINGING {
            return Err(LineError::TooManyRinging);
        }
        Ok(vec![LineEvent::Taken(LineTaken {
            user_id: command.user_id,
            business_id: command.business_id,
            call_id: command.call_id,
            is_outgoing: !command.must_be_free,
            over: self.calls.iter().map(|call| call.call_id).filter(is_over).collect(),
            taken_at: command.at,
        })])
    }

    fn evolve(&mut self, event: &LineEvent) {
        let LineEvent::Taken(event) = event;
        self.calls.retain(|call| !event.over.contains(&call.call_id) && call.call_id != event.call_id);
        self.calls.push(CallOnLine {
            call_id: event.call_id,
            taken_at: event.taken_at,
            is_outgoing: event.is_outgoing,
        });
    }

    fn heap_bytes(&self) -> usize {
        self.calls.capacity() * size_of::<CallOnLine>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    fn call(n: u128) -> CallId {
        CallId(Uuid::from_u128(n))
    }

    fn take(n: u128, must_be_free: bool, over: &[u128]) -> LineCommand {
        LineCommand::Take(TakeLine {
            user_id: UserId(Uuid::from_u128(8)),
            business_id: BusinessId(Uuid::from_u128(2)),
            call_id: call(n),
            must_be_free,
            over: over.iter().copied().map(call).collect(),
            answered: vec![],
            at: Timestamp::from_unix_ms(0),
        })
    }

    fn outgoing(n: u128) -> LineEvent {
        let LineEvent::Taken(event) = taken(n, &[]);
        LineEvent::Taken(LineTaken { is_outgoing: true, ..event })
    }

    fn taken(n: u128, over: &[u128]) -> LineEvent {
        LineEvent::Taken(LineTaken {
            user_id: UserId(Uuid::from_u128(8)),
            business_id: BusinessId(Uuid::from_u128(2)),
            call_id: call(n),
            is_outgoing: false,
            over: over.iter().copied().map(call).collect(),
            taken_at: Timestamp::from_unix_ms(0),
        })
    }

    #[test]
    fn a_free_line_is_taken() {
        given::<Line>([]).when(take(1, true, &[])).then([taken(1, &[])]);
    }

    #[test]
    fn somebody_who_is_in_a_call_is_not_called_by_another() {
        given::<Line>([taken(1, &[])]).when(take(2, true, &[])).then_err(LineError::Busy);
    }

    #[test]
    fn somebody_who_is_in_a_call_may_call_another() {
        given::<Line>([taken(1, &[])]).when(take(2, false, &[])).then([outgoing(2)]);
        given::<Line>([taken(1, &[]), taken(2, &[])]).when(take(3, true, &[2])).then_err(LineError::Busy);
    }

    #[test]
    fn a_user_rings_three_others_at_once_and_no_more() {
        let ringing = [outgoing(1), outgoing(2), outgoing(3)];
        given::<Line>(ringing.clone()).when(take(4, false, &[])).then_err(LineError::TooManyRinging);
        given::<Line>([taken(9, &[]), outgoing(2), outgoing(3)]).when(take(4, false, &[])).then([outgoing(4)]);
        let LineCommand::Take(command) = take(4, false, &[]);
        let answered = LineCommand::Take(TakeLine { answered: vec![call(2)], ..command });
        given::<Line>(ringing).when(answered).then([outgoing(4)]);
    }

    #[test]
    fn a_line_has_room_for_so_many_calls() {
        let calls: Vec<LineEvent> = (1..=8).map(|n| taken(n, &[])).collect();
        given::<Line>(calls[..7].to_vec()).when(take(9, false, &[])).then([outgoing(9)]);
        given::<Line>(calls).when(take(9, false, &[])).then_err(LineError::TooManyCalls);
    }

    #[test]
    fn a_line_whose_calls_are_over_is_free() {
        given::<Line>([taken(1, &[])]).when(take(2, true, &[1, 7])).then([taken(2, &[1])]);
        given::<Line>([taken(1, &[]), taken(2, &[1])]).when(take(3, true, &[2])).then([taken(3, &[2])]);
    }

    #[test]
    fn taking_a_line_again_for_the_same_call_changes_nothing() {
        given::<Line>([taken(1, &[])]).when(take(1, true, &[])).then_nothing();
    }

    proptest! {
        #[test]
        fn whoever_must_have_it_free_has_it_alone(takes in prop::collection::vec((1_u128..9, any::<bool>(), prop::collection::vec(1_u128..9, 0..4)), 0..30)) {
            let mut line = Line::default();
            for (n, must_be_free, over) in takes {
                let was_on_it = line.calls.iter().any(|on_it| on_it.call_id == call(n));
                if let Ok(events) = line.decide(take(n, must_be_free, &over)) {
                    for event in &events {
                        line.evolve(event);
                    }
                    prop_assert!(line.calls.iter().any(|on_it| on_it.call_id == call(n)));
                    prop_assert!(!must_be_free || was_on_it || line.calls.len() == 1);
                }
            }
        }
    }
}

//! A person's line: which calls they are in. It is why somebody who is in a call isn't called by two others at once.
//!
//! A line is never given back: whoever wants it looks whether the calls on it are over, and says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{BusinessId, CallId, Decider, Timestamp, UserId};

/// State of one person's line.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The calls that have taken it and are not known to be over, with when they did.
    pub calls: Vec<(CallId, Timestamp)>,
}

/// What may be asked of a line.
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
    /// Somebody who is called has to be in no other call; somebody who calls may be.
    pub must_be_free: bool,
    /// Calls on the line that are known to be over.
    pub over: Vec<CallId>,
    pub at: Timestamp,
}

domain_events! {
    /// What may have happened to a line.
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
}

impl Decider for Line {
    const CATEGORY: &'static str = "line";
    type Command = LineCommand;
    type Event = LineEvent;
    type Error = LineError;

    fn decide(&self, command: LineCommand) -> Result<Vec<LineEvent>, LineError> {
        let LineCommand::Take(command) = command;
        if self.calls.iter().any(|(call, _)| *call == command.call_id) {
            return Ok(vec![]);
        }
        let is_over = |call: &CallId| command.over.contains(call);
        if command.must_be_free && !self.calls.iter().all(|(call, _)| is_over(call)) {
            return Err(LineError::Busy);
        }
        Ok(vec![LineEvent::Taken(LineTaken {
            user_id: command.user_id,
            business_id: command.business_id,
            call_id: command.call_id,
            over: self.calls.iter().map(|(call, _)| *call).filter(is_over).collect(),
            taken_at: command.at,
        })])
    }

    fn evolve(&mut self, event: &LineEvent) {
        let LineEvent::Taken(event) = event;
        self.calls.retain(|(call, _)| !event.over.contains(call) && *call != event.call_id);
        self.calls.push((event.call_id, event.taken_at));
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
            at: Timestamp::from_unix_ms(0),
        })
    }

    fn taken(n: u128, over: &[u128]) -> LineEvent {
        LineEvent::Taken(LineTaken {
            user_id: UserId(Uuid::from_u128(8)),
            business_id: BusinessId(Uuid::from_u128(2)),
            call_id: call(n),
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
        given::<Line>([taken(1, &[])]).when(take(2, false, &[])).then([taken(2, &[])]);
        given::<Line>([taken(1, &[]), taken(2, &[])]).when(take(3, true, &[2])).then_err(LineError::Busy);
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
                let was_on_it = line.calls.iter().any(|(on_it, _)| *on_it == call(n));
                if let Ok(events) = line.decide(take(n, must_be_free, &over)) {
                    for event in &events {
                        line.evolve(event);
                    }
                    prop_assert!(line.calls.iter().any(|(on_it, _)| *on_it == call(n)));
                    prop_assert!(!must_be_free || was_on_it || line.calls.len() == 1);
                }
            }
        }
    }
}

//! What happens to calls.

use domain::call::{CallCommand, CallType, StartCall};
use domain::line::{LineCommand, TakeLine};
use domain::{CallId, RoomId};

use super::Invented;
use super::deciding::{begin, begin_or_go_on, change, recent};

impl Invented {
    pub(super) fn start_call(&mut self) {
        let Some((caller_id, receiver_id, business_id)) = self.two() else { return };
        let (id, at) = (CallId(self.id()), self.now());
        let start = StartCall {
            id,
            business_id,
            caller_id,
            receiver_id,
            call_type: if self.random.below(2) == 0 { CallType::Audio } else { CallType::Video },
            room_id: RoomId::parse("room_123").unwrap(),
            callee_is_busy: self.random.below(5) == 0,
            rings_until: at.plus_ms(45_000),
            at,
        };
        begin(self, |world| &mut world.calls, id.to_string(), business_id, CallCommand::Start(start));
    }

    pub(super) fn change_call(&mut self) {
        if self.calls.all.is_empty() {
            return;
        }
        let (at, n) = (self.now(), recent(&mut self.random, self.calls.all.len()));
        let Some(call) = self.calls.all[n].state.started() else { return };
        let (caller, receiver, rings_until) = (call.parties.caller_id, call.parties.receiver_id, call.rings_until);
        let command = match self.random.below(8) {
            0..3 => CallCommand::Accept { by: receiver, at: call.started_at.plus_ms(1000) },
            3 => CallCommand::Reject { by: receiver, at: call.started_at.plus_ms(1000) },
            4 => CallCommand::End { by: caller, at },
            5 => CallCommand::End { by: receiver, at },
            6 => CallCommand::TimeOut { at: rings_until },
            _ => CallCommand::LoseConnection { at },
        };
        change(self, |world| &mut world.calls, n, command);
    }

    pub(super) fn take_line(&mut self) {
        let Some((user_id, _, business_id)) = self.two() else { return };
        let over = match self.lines.places.get(&user_id.to_string()) {
            Some(place) => self.lines.all[*place].state.calls.iter().map(|call| call.call_id).collect(),
            None => vec![],
        };
        let call_id = CallId(self.id());
        let take =
            TakeLine { user_id, business_id, call_id, must_be_free: true, over, answered: vec![], at: self.now() };
        begin_or_go_on(self, |world| &mut world.lines, user_id.to_string(), business_id, LineCommand::Take(take));
    }
}

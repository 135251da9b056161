//! Calls: starting them, and what either party does to them.

use domain::call::{Call, CallCommand, CallError, CallParties, CallStarted, CallType, StartCall};
use domain::line::{CallOnLine, Line, LineCommand, LineError, TakeLine};
use domain::{CallId, Invalid, RoomId, UserId};

use crate::repository::{Created, Refusal};
use crate::{Commands, Done, Error, Request};

/// Time for which a line counts as taken by a call without a stream, in milliseconds: its node may be about to start it, or may have
/// died.
const HESITATION_MS: i64 = 10_000;

/// A call that somebody wants to make.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// To whom.
    pub recipient_id: UserId,
    /// With or without a picture.
    pub call_type: CallType,
    /// Room in which the clients meet; the call's id if none is given.
    pub room_id: Option<RoomId>,
}

impl Commands {
    /// Calls somebody. When they are in another call, this one is recorded as such and never rings.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such person in the caller's business; [`Error::Invalid`] when it is the caller, or
    /// somebody who is suspended.
    pub async fn start_call(&self, request: &Request, new: NewCall) -> Result<Done<Call>, Error> {
        let caller_id = request.caller.user_id;
        if new.recipient_id == caller_id {
            return Err(Invalid::new("recipientId", "must be somebody else").into());
        }
        self.reachable(request, new.recipient_id).await?;
        let id = CallId(self.ids.next());
        let room_id = match new.room_id {
            Some(room_id) => room_id,
            None => RoomId::parse(&id.to_string())?,
        };
        // The callee's line decides. The caller's is taken too, or else others could call somebody who is calling; and before that,
        // or else a refused call would keep the callee busy.
        self.take_line(request, caller_id, id, false).await?;
        let line_of_callee = self.take_line(request, new.recipient_id, id, true).await?;
        let at = self.clock.now();
        let start = CallCommand::Start(StartCall {
            id,
            business_id: request.caller.business_id,
            caller_id,
            receiver_id: new.recipient_id,
            call_type: new.call_type,
            room_id,
            callee_is_busy: line_of_callee == LineIs::Busy,
            rings_until: at.plus_ms(self.ring_timeout_ms),
            at,
        });
        let metadata = request.metadata(request.caller.business_id);
        match self.repository.create::<Call>(&id.to_string(), start, &metadata).await? {
            Created::New(call) => Ok(self.done(call.state, call.position)),
            Created::Existing(_) => Err(Error::rule(&CallError::AlreadyStarted)),
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such call, or none that the caller is a party of; [`Error::Forbidden`] for the one
    /// who called; [`Error::Conflict`] when it doesn't ring any more.
    pub async fn accept_call(&self, request: &Request, id: CallId) -> Result<Done<Call>, Error> {
        let accept = CallCommand::Accept { by: request.caller.user_id, at: self.clock.now() };
        self.change_call(request, id, accept).await
    }

    /// Declines a call.
    ///
    /// # Errors
    /// As [`Self::accept_call`].
    pub async fn reject_call(&self, request: &Request, id: CallId) -> Result<Done<Call>, Error> {
        let reject = CallCommand::Reject { by: request.caller.user_id, at: self.clock.now() };
        self.change_call(request, id, reject).await
    }

    /// Ends a call. One that still rings is cancelled by the caller, or declined by the callee.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such call, or none that the caller is a party of; [`Error::Conflict`] when it is
    /// over.
    pub async fn end_call(&self, request: &Request, id: CallId) -> Result<Done<Call>, Error> {
        let end = CallCommand::End { by: request.caller.user_id, at: self.clock.now() };
        self.change_call(request, id, end).await
    }

    /// A live call of the caller's; for talking to its other party.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such call, or none that the caller is a party of; [`Error::Conflict`] when it is
    /// over.
    pub async fn live_call(&self, request: &Request, id: CallId) -> Result<CallParties, Error> {
        let call = self.repository.load::<Call>(&id.to_string()).await?;
        let parties = call.state.started().map(|call| call.parties);
        let parties = parties
            .filter(|parties| parties.include(request.caller.user_id))
            .ok_or_else(|| Error::rule(&CallError::NoSuchCall))?;
        if call.state.is_live(self.clock.now()) { Ok(parties) } else { Err(Error::rule(&CallError::AlreadyOver)) }
    }

    /// Returns true if a call still rings, for a client that connects after its start.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn is_ringing(&self, call: &CallStarted) -> Result<bool, Error> {
        if self.clock.now() >= call.rings_until {
            return Ok(false);
        }
        let call = self.repository.load::<Call>(&call.parties.call_id.to_string()).await?;
        Ok(call.state.is_ringing(self.clock.now()))
    }

    async fn change_call(&self, request: &Request, id: CallId, command: CallCommand) -> Result<Done<Call>, Error> {
        let metadata = request.metadata(request.caller.business_id);
        let changed = self.repository.execute::<Call>(&id.to_string(), command, &metadata).await?;
        Ok(self.done(changed.state.clone(), changed.position))
    }

    /// Puts a call on somebody's line, unless it has to be free and isn't.
    async fn take_line(
        &self,
        request: &Request,
        user_id: UserId,
        call_id: CallId,
        must_be_free: bool,
    ) -> Result<LineIs, Error> {
        let id = user_id.to_string();
        let line = self.repository.load::<Line>(&id).await?;
        let (mut over, mut answered) = (vec![], vec![]);
        // As many as a line has room for.
        for call in &line.state.calls {
            match self.progress_of(call).await? {
                Progress::Rings => {}
                Progress::Answered => answered.push(call.call_id),
                Progress::Over => over.push(call.call_id),
            }
        }
        let business_id = request.caller.business_id;
        let take = TakeLine { user_id, business_id, call_id, must_be_free, over, answered, at: self.clock.now() };
        match self.repository.execute::<Line>(&id, LineCommand::Take(take), &request.metadata(business_id)).await {
            Ok(_) => Ok(LineIs::Taken),
            Err(Refusal::Rule(LineError::Busy)) => Ok(LineIs::Busy),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Returns the progress of a call that has taken a line.
    async fn progress_of(&self, on_line: &CallOnLine) -> Result<Progress, Error> {
        let id = on_line.call_id.to_string();
        if let Call::Over(_) = self.repository.load::<Call>(&id).await?.state {
            return Ok(Progress::Over);
        }
        // What is remembered may be a moment old, and nobody should be told that somebody is busy who isn't.
        let call = self.repository.read::<Call>(&id).await?;
        let now = self.clock.now();
        Ok(match &call.state {
            Call::Unstarted if now < on_line.taken_at.plus_ms(HESITATION_MS) => Progress::Rings,
            state if state.is_ringing(now) => Progress::Rings,
            state if state.is_live(now) => Progress::Answered,
            _ => Progress::Over,
        })
    }
}

/// Progress of a call.
enum Progress {
    Rings,
    Answered,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineIs {
    Taken,
    Busy,
}

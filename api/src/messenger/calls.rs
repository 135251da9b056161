//! Calling people, and the history of calls.

use std::sync::Arc;

use commands::{Done, NewCall};
use domain::call::{self, CallError, CallOver, CallType as DomainCallType, EndReason, Outcome};
use domain::user::UserError;
use domain::{CallId, RoomId, Timestamp, UserId};
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};
use projections::calls::{CallFilter, CallRow, Direction};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::auth::MessengerToken;
use crate::bodies::{Created, Found};
use crate::error::ApiError;
use crate::json_body::JsonBody;
use crate::openapi::Tag;
use crate::paging::{PageSize, cursor, page};

pub(crate) struct CallsApi;

/// With or without a picture
#[derive(Clone, Copy, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(try_from = "String")]
enum CallType {
    Audio,
    Video,
}

/// Serde's own way would take `{"audio": null}` for `"audio"`.
impl TryFrom<String> for CallType {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "audio" => Ok(Self::Audio),
            "video" => Ok(Self::Video),
            _ => Err("must be audio or video"),
        }
    }
}

/// Status of a call
#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
enum CallStatus {
    Ringing,
    Active,
    Ended,
    Rejected,
    Missed,
    Cancelled,
    Busy,
}

/// Direction of a call, seen from you
#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
enum CallDirection {
    Incoming,
    Outgoing,
}

/// A call to be started
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StartCall {
    /// Callee: a user of the same business
    recipient_id: String,
    /// With or without a picture
    call_type: CallType,
    /// Room in which the clients meet: 1 to 200 characters; the call's id by default
    room_id: Option<String>,
}

impl Example for StartCall {
    fn example() -> Self {
        Self { recipient_id: "user_id".into(), call_type: CallType::Video, room_id: Some("room_123".into()) }
    }
}

/// A call
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct Call {
    id: String,
    caller_id: String,
    caller_name: String,
    caller_avatar: Option<String>,
    receiver_id: String,
    receiver_name: String,
    receiver_avatar: Option<String>,
    /// `audio` or `video`
    call_type: String,
    /// Room in which the clients meet
    room_id: String,
    /// `ringing`, `active`, `ended`, `rejected`, `missed`, `cancelled`, or `busy` when the callee was in another call
    status: String,
    created_at: String,
    /// Time of the answer
    accepted_at: Option<String>,
    /// Time of the end
    ended_at: Option<String>,
    /// User who ended it; null if the system did, and while it is not over
    ended_by: Option<String>,
    /// `hung_up` or `connection_lost` for one that ended, `timeout` for one that was missed, `busy`
    end_reason: Option<String>,
    /// Duration of the conversation, in milliseconds
    duration_ms: Option<u64>,
    /// The conversation of the two people: the same whoever asks
    conversation_id: String,
}

impl Example for Call {
    fn example() -> Self {
        Self {
            id: "call_id".into(),
            caller_id: "your_id".into(),
            caller_name: "You".into(),
            caller_avatar: None,
            receiver_id: "user_id".into(),
            receiver_name: "John Doe".into(),
            receiver_avatar: Some("https://example.com/john.png".into()),
            call_type: "video".into(),
            room_id: "room_123".into(),
            status: "ringing".into(),
            created_at: "2025-11-22T10:30:00.000Z".into(),
            accepted_at: None,
            ended_at: None,
            ended_by: None,
            end_reason: None,
            duration_ms: None,
            conversation_id: "conversation_id".into(),
        }
    }
}

/// One call
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct OneCall {
    /// Always true
    success: bool,
    call: Call,
}

impl Example for OneCall {
    fn example() -> Self {
        Self { success: true, call: Example::example() }
    }
}

/// Some calls, the latest first
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct Calls {
    /// Always true
    success: bool,
    calls: Vec<Call>,
    /// To be sent as `cursor` to get those before; null when there are none
    next_cursor: Option<String>,
}

impl Example for Calls {
    fn example() -> Self {
        Self { success: true, calls: vec![Example::example()], next_cursor: Some("41".into()) }
    }
}

impl From<CallRow> for Call {
    fn from(row: CallRow) -> Self {
        Self {
            id: row.id.to_string(),
            caller_id: row.caller_id.to_string(),
            caller_name: row.caller_name.unwrap_or_default(),
            caller_avatar: row.caller_avatar,
            receiver_id: row.receiver_id.to_string(),
            receiver_name: row.receiver_name.unwrap_or_default(),
            receiver_avatar: row.receiver_avatar,
            call_type: row.call_type,
            room_id: row.room_id,
            status: row.status,
            created_at: Timestamp::from(row.created_at).to_string(),
            accepted_at: row.accepted_at.map(|at| Timestamp::from(at).to_string()),
            ended_at: row.ended_at.map(|at| Timestamp::from(at).to_string()),
            ended_by: row.ended_by.map(|user| user.to_string()),
            end_reason: row.end_reason,
            duration_ms: row.duration_ms.map(i64::cast_unsigned),
            conversation_id: row.conversation_id.to_string(),
        }
    }
}

impl OneCall {
    /// A call as the command that has just changed it left it.
    async fn of(api: &Api, call: &call::Call) -> Result<Self, ApiError> {
        let started = call.started().ok_or_else(|| ApiError::rule(&CallError::NoSuchCall))?;
        let (accepted_at, over) = match call {
            call::Call::Unstarted | call::Call::Ringing(_) => (None, None),
            call::Call::Active { accepted_at, .. } => (Some(*accepted_at), None),
            call::Call::Over(over) => (over.accepted_at, Some(over)),
        };
        let (caller_name, caller_avatar) = name_and_avatar(api, started.parties.caller_id).await?;
        let (receiver_name, receiver_avatar) = name_and_avatar(api, started.parties.receiver_id).await?;
        let call = Call {
            id: started.parties.call_id.to_string(),
            caller_id: started.parties.caller_id.to_string(),
            caller_name,
            caller_avatar,
            receiver_id: started.parties.receiver_id.to_string(),
            receiver_name,
            receiver_avatar,
            call_type: started.call_type.as_str().to_owned(),
            room_id: started.room_id.clone(),
            status: call_status(call).to_owned(),
            created_at: started.started_at.to_string(),
            accepted_at: accepted_at.map(|at| at.to_string()),
            ended_at: over.map(|over| over.ended_at.to_string()),
            ended_by: over.and_then(|over| over.ended_by).map(|user| user.to_string()),
            end_reason: over.and_then(end_reason).map(str::to_owned),
            duration_ms: over.and_then(CallOver::duration_ms),
            conversation_id: started.parties.conversation_id.to_string(),
        };
        Ok(Self { success: true, call })
    }
}

/// Returns the status of a call as the API names it.
pub(crate) fn call_status(call: &call::Call) -> &'static str {
    match call {
        call::Call::Unstarted => "unstarted",
        call::Call::Ringing(_) => "ringing",
        call::Call::Active { .. } => "active",
        call::Call::Over(over) => match over.outcome {
            Outcome::Ended(_) => "ended",
            Outcome::Rejected => "rejected",
            Outcome::Cancelled => "cancelled",
            Outcome::Missed => "missed",
            Outcome::Busy => "busy",
        },
    }
}

fn end_reason(over: &CallOver) -> Option<&'static str> {
    match over.outcome {
        Outcome::Ended(reason) => Some(EndReason::as_str(reason)),
        Outcome::Missed => Some("timeout"),
        Outcome::Busy => Some("busy"),
        Outcome::Rejected | Outcome::Cancelled => None,
    }
}

async fn name_and_avatar(api: &Api, user: UserId) -> Result<(String, Option<String>), ApiError> {
    let account = api.commands.account(user).await?;
    let name = account.as_ref().and_then(|account| account.name.known()).cloned().unwrap_or_default();
    let avatar = account.as_ref().and_then(|account| account.avatar.as_ref()).and_then(|avatar| avatar.known());
    Ok((name, avatar.cloned()))
}

fn call_id(id: &str) -> Result<CallId, ApiError> {
    id.parse().map_err(|_| ApiError::rule(&CallError::NoSuchCall))
}

async fn found(api: &Api, done: Done<call::Call>) -> Result<Found<OneCall>, ApiError> {
    Ok(Found::at(done.position, OneCall::of(api, &done.value).await?))
}

#[OpenApi(prefix_path = "/api/messenger/calls", tag = "Tag::Calls")]
impl CallsApi {
    /// Call somebody
    ///
    /// The callee's connections get `call:incoming`. A call to somebody who is in another call is recorded with the status `busy`
    /// and never rings; the callee gets `call:missed`.
    #[oai(path = "/", method = "post", operation_id = "startCall")]
    async fn start(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        body: JsonBody<StartCall>,
    ) -> Result<Created<OneCall>, ApiError> {
        let new = NewCall {
            recipient_id: body.0.recipient_id.parse().map_err(|_| ApiError::rule(&UserError::NoSuchRecipient))?,
            call_type: match body.0.call_type {
                CallType::Audio => DomainCallType::Audio,
                CallType::Video => DomainCallType::Video,
            },
            room_id: body.0.room_id.as_deref().map(RoomId::parse).transpose()?,
        };
        let done = api.commands.start_call(&token.request(&api), new).await?;
        Ok(Created::at(done.position, OneCall::of(&api, &done.value).await?))
    }

    /// List one's calls
    ///
    /// The latest first.
    #[oai(path = "/", method = "get", operation_id = "listCalls")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the request")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        /// Only those with this status
        status: Query<Option<CallStatus>>,
        /// Only those in this direction
        direction: Query<Option<CallDirection>>,
        /// Calls on a page, 1 to 100
        limit: Query<Option<u32>>,
        /// From the page before, as `nextCursor`
        cursor: Query<Option<String>>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<Calls>, ApiError> {
        let limit = PageSize::LIST.limit(limit.0)?;
        let filter = CallFilter {
            status: status.0.map(|status| {
                let name = match status {
                    CallStatus::Ringing => "ringing",
                    CallStatus::Active => "active",
                    CallStatus::Ended => "ended",
                    CallStatus::Rejected => "rejected",
                    CallStatus::Missed => "missed",
                    CallStatus::Cancelled => "cancelled",
                    CallStatus::Busy => "busy",
                };
                name.to_owned()
            }),
            direction: direction.0.map(|direction| match direction {
                CallDirection::Incoming => Direction::Incoming,
                CallDirection::Outgoing => Direction::Outgoing,
            }),
            before: self::cursor(cursor.0.as_deref())?,
        };
        let (calls, position) = api.calls(min_position.0).await?;
        let rows = calls.history(token.caller().user_id, &filter, limit + 1).await?;
        let (rows, next_cursor) = page(rows, limit, |row| row.position);
        let calls = rows.into_iter().map(Call::from).collect();
        Ok(Found::at(position, Calls { success: true, calls, next_cursor }))
    }

    /// Get a call
    ///
    /// For its two parties.
    #[oai(path = "/:id", method = "get", operation_id = "getCall")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        id: Path<String>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<OneCall>, ApiError> {
        let id = call_id(&id.0)?;
        let (calls, position) = api.calls(min_position.0).await?;
        let row =
            calls.call(id, token.caller().user_id).await?.ok_or_else(|| ApiError::rule(&CallError::NoSuchCall))?;
        Ok(Found::at(position, OneCall { success: true, call: row.into() }))
    }

    /// Answer a call
    ///
    /// For the one who is called, while it rings; as `call:accept` does.
    #[oai(path = "/:id/accept", method = "post", operation_id = "acceptCall")]
    async fn accept(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        id: Path<String>,
    ) -> Result<Found<OneCall>, ApiError> {
        found(&api, api.commands.accept_call(&token.request(&api), call_id(&id.0)?).await?).await
    }

    /// Decline a call
    ///
    /// For the one who is called, while it rings; as `call:reject` does.
    #[oai(path = "/:id/reject", method = "post", operation_id = "rejectCall")]
    async fn reject(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        id: Path<String>,
    ) -> Result<Found<OneCall>, ApiError> {
        found(&api, api.commands.reject_call(&token.request(&api), call_id(&id.0)?).await?).await
    }

    /// End a call
    ///
    /// For both parties; as `call:end` does. One that still rings is cancelled by the caller, and declined by the callee.
    #[oai(path = "/:id/end", method = "post", operation_id = "endCall")]
    async fn end(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        id: Path<String>,
    ) -> Result<Found<OneCall>, ApiError> {
        found(&api, api.commands.end_call(&token.request(&api), call_id(&id.0)?).await?).await
    }
}

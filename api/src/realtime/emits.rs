//! Client events over a live stream of any transport. Each is answered with `success` or the standard error.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use commands::{Caller, Request};
use domain::call::{Call, CallError, CallParties};
use domain::message::MessageError;
use domain::user::UserError;
use domain::{CallId, MessageId, UserId};
use event_store::Position;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::Shared;
use super::passing::{MAX_SIGNAL_BYTES, Passing, fits};
use super::payloads::{CallSignal, SignalKind};
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::json_body;
use crate::limits::Emit;
use crate::messenger::{Message, SendMessage, call_status};

/// Emits of one connection that may wait to be worked on: with what they carry, up to so many bytes of it, and without, to be
/// refused.
const WAITING: usize = 64;
const WAITING_BYTES: usize = 512 * 1024;
const WAITING_TO_BE_REFUSED: usize = 1_024;

/// Sends the outcome of an emit to its client, once there is room.
pub(super) type Answer = Box<dyn FnOnce(Outcome) -> BoxFuture<'static, ()> + Send>;

/// Outcome of an emit: its acknowledgement, or the standard error.
pub(super) type Outcome = Result<Box<RawValue>, ApiError>;

/// Payload of an emit; none if it is not JSON.
pub(super) type Payload = Option<Box<RawValue>>;

/// You have read a message, and all before it in its conversation
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReadMessage {
    message_id: String,
}

/// One of your calls
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OneCall {
    call_id: String,
}

/// To whom you type
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TypingTo {
    recipient_id: String,
}

/// Signalling for the other party of a live call of yours; up to 64 KiB
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SendSignal {
    call_id: String,
    kind: SignalKind,
    /// Whatever your WebRTC says
    payload: Value,
}

/// The answer to `message:send`.
#[derive(Serialize)]
struct Sent {
    success: bool,
    message: Message,
    position: Position,
}

/// Client that emits. Its emits are executed in order.
pub(super) struct Client {
    shared: Arc<Shared>,
    caller: Caller,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Emitted>,
    /// Of what they carry.
    bytes: usize,
    is_worked_on: bool,
}

/// An emit: the action, or the reason for which it is refused.
struct Emitted {
    what: Result<(String, Payload), Box<ApiError>>,
    answer: Answer,
}

impl Emitted {
    fn bytes(&self) -> usize {
        let Ok((event, payload)) = &self.what else { return 0 };
        event.len() + payload.as_ref().map_or(0, |payload| payload.get().len())
    }
}

/// A client says more than anybody could keep.
#[derive(Debug)]
pub(super) struct Flooded;

impl Client {
    pub(super) fn new(shared: Arc<Shared>, caller: Caller) -> Self {
        Self { shared, caller, queue: Mutex::default() }
    }

    /// Does what a client asks for, after what it has asked for before, and has it answered.
    pub(super) fn hear(self: &Arc<Self>, event: String, payload: Payload, answer: Answer) -> Result<(), Flooded> {
        self.take_in(Emitted { what: Ok((event, payload)), answer })
    }

    /// Refuses what a client asks for, after what it has asked for before.
    pub(super) fn refuse(self: &Arc<Self>, why: ApiError, answer: Answer) -> Result<(), Flooded> {
        self.take_in(Emitted { what: Err(Box::new(why)), answer })
    }

    fn take_in(self: &Arc<Self>, mut emitted: Emitted) -> Result<(), Flooded> {
        {
            let mut queue = self.queue();
            if queue.waiting.len() >= WAITING_TO_BE_REFUSED {
                return Err(Flooded);
            }
            if queue.waiting.len() >= WAITING || queue.bytes + emitted.bytes() > WAITING_BYTES {
                emitted.what = Err(Box::new(too_many()));
            }
            queue.bytes += emitted.bytes();
            queue.waiting.push_back(emitted);
            if std::mem::replace(&mut queue.is_worked_on, true) {
                return Ok(());
            }
        }
        let client = self.clone();
        tokio::spawn(async move { client.work().await });
        Ok(())
    }

    async fn work(&self) {
        loop {
            let next = {
                let mut queue = self.queue();
                let next = queue.waiting.pop_front();
                queue.bytes -= next.as_ref().map_or(0, Emitted::bytes);
                queue.is_worked_on = next.is_some();
                next
            };
            let Some(Emitted { what, answer }) = next else { return };
            let outcome = match what {
                Ok((event, payload)) => self.handle(&event, payload.as_deref()).await,
                Err(why) => Err(*why),
            };
            answer(outcome).await;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(&self, event: &str, payload: Option<&RawValue>) -> Outcome {
        let kind = match event {
            "call:signal" => Emit::Signal,
            "typing:start" | "typing:stop" => Emit::Typing,
            _ => Emit::Other,
        };
        let request = self.accept(kind).await?;
        let commands = &self.shared.api.commands;
        match event {
            "message:send" => {
                let message = parse::<SendMessage>(payload)?.into_command(None)?;
                let sent = commands.send_message(&request, message).await?;
                acknowledge(&Sent { success: true, message: sent.value.into(), position: sent.position })
            }
            "message:read" => {
                let id = parse::<ReadMessage>(payload)?.message_id;
                let id: MessageId = id.parse().map_err(|_| ApiError::rule(&MessageError::NoSuchMessage))?;
                let read = commands.read_message(&request, id).await?;
                acknowledge(&json!({"success": true, "messageId": read.value.message_id, "position": read.position}))
            }
            "call:accept" => {
                let done = commands.accept_call(&request, call_id(&parse::<OneCall>(payload)?.call_id)?).await?;
                about_call(&done)
            }
            "call:reject" => {
                let done = commands.reject_call(&request, call_id(&parse::<OneCall>(payload)?.call_id)?).await?;
                about_call(&done)
            }
            "call:end" => {
                let done = commands.end_call(&request, call_id(&parse::<OneCall>(payload)?.call_id)?).await?;
                about_call(&done)
            }
            "call:signal" => self.signal(&request, parse(payload)?).await,
            "typing:start" => {
                let to = self.typing_to(&request, payload).await?;
                let from = self.caller.user_id;
                if self.shared.typists.start(from, to) {
                    self.shared.pass_on(&Passing::Typing { to, from });
                }
                acknowledge(&json!({"success": true}))
            }
            "typing:stop" => {
                let to = self.typing_to(&request, payload).await?;
                let from = self.caller.user_id;
                if self.shared.typists.stop(from, to) {
                    self.shared.pass_on(&Passing::TypingStopped { to, from });
                }
                acknowledge(&json!({"success": true}))
            }
            unknown => Err(invalid(&format!("there is no event {unknown:.100}"))),
        }
    }

    /// Counts an emit, and finds out whether the person may still be here.
    async fn accept(&self, kind: Emit) -> Result<Request, ApiError> {
        let api = &self.shared.api;
        api.limits.count_emit(self.caller.session_id, kind)?;
        let caller = api.commands.still_authentic(&self.caller).await?;
        Ok(Request { caller, correlation_id: api.ids.next() })
    }

    async fn signal(&self, request: &Request, signal: SendSignal) -> Outcome {
        if !fits(&signal.payload) {
            let reason = format!("payload: must be at most {MAX_SIGNAL_BYTES} bytes");
            return Err(ErrorBody::new(ErrorCode::PayloadTooLarge, reason).into());
        }
        let id = call_id(&signal.call_id)?;
        let parties: CallParties = self.shared.api.commands.live_call(request, id).await?;
        let to = parties.other(request.caller.user_id);
        let signal = CallSignal { call_id: id.to_string(), kind: signal.kind, payload: signal.payload };
        self.shared.pass_on(&Passing::Signal { to, signal });
        acknowledge(&json!({"success": true}))
    }

    async fn typing_to(&self, request: &Request, payload: Option<&RawValue>) -> Result<UserId, ApiError> {
        let to = parse::<TypingTo>(payload)?.recipient_id;
        let to: UserId = to.parse().map_err(|_| ApiError::rule(&UserError::NoSuchRecipient))?;
        if to == request.caller.user_id {
            return Err(ApiError::invalid("recipientId", "must be somebody else"));
        }
        self.shared.api.commands.reachable(request, to).await?;
        Ok(to)
    }
}

fn too_many() -> ApiError {
    ErrorBody::new(ErrorCode::RateLimit, "Too many emits at once: wait for their acknowledgements").into()
}

fn call_id(id: &str) -> Result<CallId, ApiError> {
    id.parse().map_err(|_| ApiError::rule(&CallError::NoSuchCall))
}

fn about_call(done: &commands::Done<Call>) -> Outcome {
    let id = done.value.started().map(|call| call.parties.call_id);
    acknowledge(&json!({"success": true, "callId": id, "status": call_status(&done.value), "position": done.position}))
}

/// The payload of an emit: an object, whose fields are named when they are wrong.
fn parse<T: DeserializeOwned>(payload: Option<&RawValue>) -> Result<T, ApiError> {
    json_body::read("payload", payload.map_or("", RawValue::get).as_bytes()).map_err(|reason| invalid(&reason))
}

fn acknowledge(answer: &impl Serialize) -> Outcome {
    to_raw_value(answer).map_err(|error| ApiError::internal(&error))
}

fn invalid(reason: &str) -> ApiError {
    ErrorBody::new(ErrorCode::ValidationError, reason.chars().take(300).collect::<String>()).into()
}

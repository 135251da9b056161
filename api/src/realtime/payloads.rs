//! Payloads of the live events, to the field name of the contract. `/asyncapi.json` is made from these types.

use domain::UserId;
use domain::call::{CallEvent, CallFoundBusy, CallParties, CallStarted};
use domain::delivery::{Delivered, MessagesDelivered};
use domain::file::FileUploaded;
use domain::message::{MessageDeleted, MessageEdited, MessageSent};
use domain::reading::MessagesRead;
use domain::user::Account;
use event_store::Position;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::FileInfo;

/// A message that was sent, with its current state.
pub(super) struct MessageNow {
    pub(super) sent: MessageSent,
    pub(super) is_edited: bool,
    pub(super) is_deleted: bool,
}

/// A message for you
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageReceived<'a> {
    /// Current name of the sender
    pub(crate) sender_name: &'a str,
    /// URL of the sender's current avatar; null without one
    pub(crate) sender_avatar: Option<&'a str>,
    #[serde(flatten)]
    pub(crate) message: MessagePayload<'a>,
}

/// You wrote to somebody, perhaps on another device
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessagePayload<'a> {
    id: String,
    sender_id: String,
    recipient_id: String,
    content: &'a str,
    /// `text`, `image`, `video`, `audio` or `file`
    #[serde(rename = "type")]
    kind: &'static str,
    /// Time of sending
    timestamp: String,
    /// Always false: it is new
    read: bool,
    /// Ids of files
    attachments: Vec<String>,
    /// The files themselves
    files: Vec<FileInfo>,
    /// The message that it replies to
    reply_to: Option<String>,
    /// True if it was edited since; `content` is the current text
    edited: bool,
    /// True if it was deleted since; its text is gone
    deleted: bool,
    conversation_id: String,
    position: Position,
}

/// A message says something else now
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageEditedPayload<'a> {
    message_id: String,
    sender_id: String,
    content: &'a str,
    /// Always true
    edited: bool,
    edited_at: String,
    conversation_id: String,
    position: Position,
}

/// A message was taken back
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageDeletedPayload<'a> {
    message_id: String,
    sender_id: String,
    /// User who deleted it: its sender, or an administrator
    deleted_by: String,
    /// Why an administrator did it; null when none was given
    reason: Option<&'a str>,
    deleted_at: String,
    conversation_id: String,
    position: Position,
}

/// A recipient has read your messages up to this one
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageRead {
    message_id: String,
    reader_id: String,
    read_at: String,
    conversation_id: String,
    position: Position,
}

/// A device of somebody has what you wrote, up to this message
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageDelivered {
    message_id: String,
    recipient_id: String,
    at: String,
    conversation_id: String,
    position: Position,
}

/// A call for you
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallIncoming<'a> {
    call_id: String,
    caller_id: String,
    /// Current name of the caller
    caller_name: &'a str,
    /// URL of the caller's current avatar; null without one
    caller_avatar: Option<&'a str>,
    /// `audio` or `video`
    call_type: &'static str,
    room_id: &'a str,
    /// Until when it rings
    rings_until: String,
    conversation_id: String,
    position: Position,
}

/// Something happened to a call of yours
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallProgress {
    call_id: String,
    /// User who did it; null if the system did
    by: Option<String>,
    /// `busy` or `timeout` for a missed call, `hung_up` or `connection_lost` for one that ended; null otherwise
    reason: Option<&'static str>,
    at: String,
    conversation_id: String,
    position: Position,
}

/// Signalling from the other party of a call
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallSignal {
    pub(crate) call_id: String,
    pub(crate) kind: SignalKind,
    /// Whatever the other party's WebRTC says
    pub(crate) payload: Value,
}

/// Content of a signal
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", try_from = "String")]
#[schemars(!try_from)]
pub(crate) enum SignalKind {
    Offer,
    Answer,
    Candidate,
}

/// Serde's own way would take `{"offer": null}` for `"offer"`.
impl TryFrom<String> for SignalKind {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "offer" => Ok(Self::Offer),
            "answer" => Ok(Self::Answer),
            "candidate" => Ok(Self::Candidate),
            _ => Err("must be offer, answer or candidate"),
        }
    }
}

/// Online users; sent after you have connected
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct UsersOnline {
    /// Ids of everybody of your business who is online, you included
    pub(crate) users: Vec<String>,
}

/// A user types, or has stopped
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Typing {
    pub(crate) user_id: String,
}

/// A place in the feed
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct FeedPosition {
    /// You have got everything up to here: connect with it as `since` to get what comes after
    pub(crate) position: Position,
}

impl<'a> MessagePayload<'a> {
    pub(in crate::realtime) fn of(now: &'a MessageNow, files: &[FileUploaded], position: Position) -> Self {
        let message = &now.sent;
        Self {
            id: message.message_id.to_string(),
            sender_id: message.sender_id.to_string(),
            recipient_id: message.recipient_id.to_string(),
            content: message.content.known().map_or("", String::as_str),
            kind: message.kind.as_str(),
            timestamp: message.sent_at.to_string(),
            read: false,
            attachments: message.attachments.iter().map(ToString::to_string).collect(),
            files: files.iter().map(FileInfo::from).collect(),
            reply_to: message.reply_to.map(|id| id.to_string()),
            edited: now.is_edited,
            deleted: now.is_deleted,
            conversation_id: message.conversation_id.to_string(),
            position,
        }
    }
}

impl<'a> MessageReceived<'a> {
    pub(in crate::realtime) fn of(
        now: &'a MessageNow,
        files: &[FileUploaded],
        sender: Option<&'a Account>,
        position: Position,
    ) -> Self {
        let (sender_name, sender_avatar) = name_and_avatar(sender);
        Self { sender_name, sender_avatar, message: MessagePayload::of(now, files, position) }
    }
}

impl<'a> MessageEditedPayload<'a> {
    pub(crate) fn of(edited: &'a MessageEdited, position: Position) -> Self {
        Self {
            message_id: edited.message_id.to_string(),
            sender_id: edited.sender_id.to_string(),
            content: edited.content.known().map_or("", String::as_str),
            edited: true,
            edited_at: edited.edited_at.to_string(),
            conversation_id: edited.conversation_id.to_string(),
            position,
        }
    }
}

impl<'a> MessageDeletedPayload<'a> {
    pub(crate) fn of(deleted: &'a MessageDeleted, position: Position) -> Self {
        Self {
            message_id: deleted.message_id.to_string(),
            sender_id: deleted.sender_id.to_string(),
            deleted_by: deleted.deleted_by.to_string(),
            reason: deleted.reason.as_ref().and_then(|reason| reason.known()).map(String::as_str),
            deleted_at: deleted.deleted_at.to_string(),
            conversation_id: deleted.conversation_id.to_string(),
            position,
        }
    }
}

impl MessageRead {
    pub(crate) fn of(read: &MessagesRead, position: Position) -> Self {
        Self {
            message_id: read.message_id.to_string(),
            reader_id: read.reader_id.to_string(),
            read_at: read.read_at.to_string(),
            conversation_id: read.conversation_id.to_string(),
            position,
        }
    }
}

impl MessageDelivered {
    pub(crate) fn of(event: &MessagesDelivered, message: &Delivered, position: Position) -> Self {
        Self {
            message_id: message.message_id.to_string(),
            recipient_id: event.recipient_id.to_string(),
            at: event.delivered_at.to_string(),
            conversation_id: message.conversation_id.to_string(),
            position,
        }
    }
}

impl<'a> CallIncoming<'a> {
    pub(crate) fn of(call: &'a CallStarted, caller: Option<&'a Account>, position: Position) -> Self {
        let (caller_name, caller_avatar) = name_and_avatar(caller);
        Self {
            call_id: call.parties.call_id.to_string(),
            caller_id: call.parties.caller_id.to_string(),
            caller_name,
            caller_avatar,
            call_type: call.call_type.as_str(),
            room_id: &call.room_id,
            rings_until: call.rings_until.to_string(),
            conversation_id: call.parties.conversation_id.to_string(),
            position,
        }
    }
}

impl CallProgress {
    /// Returns the client event of a call, and its name; none for a call that begins to ring.
    pub(crate) fn of(event: &CallEvent, position: Position) -> Option<(&'static str, Self)> {
        let progress = |parties: &CallParties, by: Option<UserId>, reason, at: domain::Timestamp| Self {
            call_id: parties.call_id.to_string(),
            by: by.map(|user| user.to_string()),
            reason,
            at: at.to_string(),
            conversation_id: parties.conversation_id.to_string(),
            position,
        };
        Some(match event {
            CallEvent::Started(_) => return None,
            CallEvent::FoundBusy(CallFoundBusy { parties, started_at, .. }) => {
                ("call:missed", progress(parties, Some(parties.caller_id), Some("busy"), *started_at))
            }
            CallEvent::Accepted(event) => {
                let by = event.parties.receiver_id;
                ("call:accepted", progress(&event.parties, Some(by), None, event.accepted_at))
            }
            CallEvent::Rejected(event) => {
                let by = event.parties.receiver_id;
                ("call:rejected", progress(&event.parties, Some(by), None, event.rejected_at))
            }
            CallEvent::Cancelled(event) => {
                let by = event.parties.caller_id;
                ("call:cancelled", progress(&event.parties, Some(by), None, event.cancelled_at))
            }
            CallEvent::Missed(event) => {
                ("call:missed", progress(&event.parties, None, Some("timeout"), event.missed_at))
            }
            CallEvent::Ended(event) => {
                let reason = Some(event.reason.as_str());
                ("call:ended", progress(&event.parties, event.ended_by, reason, event.ended_at))
            }
        })
    }
}

fn name_and_avatar(account: Option<&Account>) -> (&str, Option<&str>) {
    let name = account.and_then(|account| account.name.known()).map_or("", String::as_str);
    let avatar = account.and_then(|account| account.avatar.as_ref()).and_then(|avatar| avatar.known());
    (name, avatar.map(String::as_str))
}

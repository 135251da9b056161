//! The AsyncAPI document: everything that the live streams say and hear, made from the types that they are made of; and a page that
//! shows it.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::error::ErrorBody;
use crate::messenger::SendMessage;
use crate::realtime::emits::{OneCall, ReadMessage, SendSignal, TypingTo};
use crate::realtime::payloads::{
    CallIncoming, CallProgress, CallSignal, FeedPosition, MessageDeletedPayload, MessageDelivered,
    MessageEditedPayload, MessagePayload, MessageRead, MessageReceived, Typing, UsersOnline,
};

/// The page that shows the document.
pub(crate) const PAGE: &str = include_str!("asyncapi.html");

const DESCRIPTION: &str = "\
What Switchboard says and hears over its live streams. All of them carry the same events:

- **Socket.IO** at `/socket.io`, with `auth: {token, since}`: each event by its name, with its payload. Emits accept an \
acknowledgement: `{success: true, …}` or the standard error; without one, an error comes as an `error` event.
- **WebSocket** at `/api/messenger/events/ws?since=`: frames `{position, type, data}`; it hears `{id, emit, data}` and answers \
`{id, ack}`.
- **Server-sent events** at `/api/messenger/events?since=`, with `id:` the position, `event:` the type and `data:` the payload; \
honours `Last-Event-ID`.

`since` is the position of the last durable event that a client has got, or of the last `feed:` event. What has happened since comes \
first, in order and once; then `feed:caught-up`; then what happens. Without it, only what happens from now on. A stream is opened \
with `Authorization: Bearer {token}`, or from a browser with `?ticket=` (`POST /api/messenger/events/ticket`).

Events with a `position` are durable: none is lost and none comes twice. Those without are only of the moment.";

/// A message of the live streams.
struct Word {
    name: &'static str,
    summary: &'static str,
    payload: Schema,
}

fn word<T: JsonSchema>(schemas: &mut SchemaGenerator, name: &'static str, summary: &'static str) -> Word {
    Word { name, summary, payload: schemas.subschema_for::<T>() }
}

/// Messages to clients.
fn told(schemas: &mut SchemaGenerator) -> Vec<Word> {
    let s = schemas;
    vec![
        word::<MessageReceived<'_>>(s, "message:received", "Somebody wrote to you"),
        word::<MessagePayload<'_>>(s, "message:sent", "You wrote to somebody, perhaps on another device"),
        word::<MessageDelivered>(s, "message:delivered", "A device of the recipient has what you wrote, up to here"),
        word::<MessageRead>(s, "message:read", "The recipient has read what you wrote, up to here"),
        word::<MessageEditedPayload<'_>>(
            s,
            "message:edited",
            "A message of one of your conversations says something else",
        ),
        word::<MessageDeletedPayload<'_>>(
            s,
            "message:deleted",
            "A message of one of your conversations was taken back",
        ),
        word::<CallIncoming<'_>>(s, "call:incoming", "Somebody calls you; sent only while it rings"),
        word::<CallProgress>(s, "call:accepted", "The call was answered, perhaps on another device"),
        word::<CallProgress>(s, "call:rejected", "The callee declined"),
        word::<CallProgress>(s, "call:cancelled", "The caller gave up"),
        word::<CallProgress>(s, "call:missed", "Nobody answered in time, or the callee was in another call"),
        word::<CallProgress>(s, "call:ended", "The call is over"),
        word::<CallSignal>(s, "call:signal", "Signalling from the other party; never stored"),
        word::<String>(s, "user:online", "Somebody of your business came online: their id"),
        word::<String>(s, "user:offline", "Somebody of your business went offline: their id"),
        word::<UsersOnline>(s, "users:online", "Who is online, once you are connected"),
        word::<Typing>(s, "typing:indicator", "Somebody began to type to you"),
        word::<Typing>(s, "typing:stopped", "They stopped, or said nothing for 6 seconds"),
        word::<FeedPosition>(s, "feed:caught-up", "You have everything up to here; what follows is live"),
        word::<FeedPosition>(s, "feed:heartbeat", "You have everything up to here; every 15 seconds"),
        word::<FeedPosition>(
            s,
            "feed:reset",
            "What you missed isn't known any more: load everything anew, go on from here",
        ),
        word::<ErrorBody>(
            s,
            "error",
            "An emit without acknowledgement failed, or the connection is about to be closed",
        ),
    ]
}

/// Messages from clients.
fn heard(schemas: &mut SchemaGenerator) -> Vec<Word> {
    let s = schemas;
    vec![
        word::<SendMessage>(s, "message:send", "Send a message; as POST /api/messenger/messages"),
        word::<ReadMessage>(s, "message:read", "You have read a message, and all before it in its conversation"),
        word::<OneCall>(s, "call:accept", "Answer a call"),
        word::<OneCall>(s, "call:reject", "Decline a call"),
        word::<OneCall>(s, "call:end", "End a call; cancel it, while it rings"),
        word::<SendSignal>(s, "call:signal", "Signalling for the other party of a live call"),
        word::<TypingTo>(s, "typing:start", "You type; to be said again at least every 6 seconds"),
        word::<TypingTo>(s, "typing:stop", "You have stopped"),
    ]
}

/// The operation of a message: what clients send is answered.
fn operation(word: &Word, id: &str, action: &str) -> Value {
    let mut operation = json!({
        "action": action,
        "channel": {"$ref": "#/channels/stream"},
        "summary": word.summary,
        "messages": [{"$ref": format!("#/channels/stream/messages/{id}")}],
    });
    if action == "receive" {
        operation["reply"] = json!({
            "channel": {"$ref": "#/channels/stream"},
            "messages": [{"$ref": "#/channels/stream/messages/acknowledgement"}],
        });
    }
    operation
}

/// The document.
pub(crate) fn document() -> String {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    // What is told always has all of its fields; of what is heard, some may be left out.
    let mut schemas = settings.clone().for_serialize().into_generator();
    let mut heard_schemas = settings.into_generator();
    let (told, heard) = (told(&mut schemas), heard(&mut heard_schemas));
    let error = schemas.subschema_for::<ErrorBody>();
    let mut all_schemas = schemas.take_definitions(true);
    all_schemas.extend(heard_schemas.take_definitions(true));
    let mut messages = Map::new();
    let mut operations = Map::new();
    for (words, action, kind) in [(&told, "send", "told"), (&heard, "receive", "heard")] {
        for word in words {
            // Some names are both said and heard.
            let id = format!("{kind}.{}", word.name.replace(':', "."));
            messages.insert(
                id.clone(),
                json!({"name": word.name, "title": word.name, "summary": word.summary, "payload": word.payload}),
            );
            operations.insert(id.clone(), operation(word, &id, action));
        }
    }
    let success = json!({"type": "object", "properties": {"success": {"const": true}}, "required": ["success"]});
    messages.insert(
        "acknowledgement".to_owned(),
        json!({
            "name": "acknowledgement",
            "title": "acknowledgement",
            "summary": "How an emit went",
            "payload": {"oneOf": [success, error]},
        }),
    );
    let in_channel: Map<String, Value> =
        messages.keys().map(|id| (id.clone(), json!({"$ref": format!("#/components/messages/{id}")}))).collect();
    let document = json!({
        "asyncapi": "3.1.0",
        "info": {
            "title": "Switchboard",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "socketIo": {"host": "localhost:8080", "pathname": "/socket.io", "protocol": "socketio"},
            "webSocket": {"host": "localhost:8080", "pathname": "/api/messenger/events/ws", "protocol": "ws"},
            "eventStream": {"host": "localhost:8080", "pathname": "/api/messenger/events", "protocol": "sse"},
        },
        "channels": {
            "stream": {
                "address": null,
                "description": "A live stream, over whichever transport; clients speak over the first two.",
                "messages": in_channel,
            },
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": all_schemas},
    });
    serde_json::to_string_pretty(&document).expect("a JSON value is written as JSON")
}

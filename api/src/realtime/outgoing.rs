//! One event on its way to clients: made once, sent over any number of connections, each in the form of its transport.

use std::sync::Arc;

use domain::delivery::Delivered;
use event_store::Position;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::payloads::FeedPosition;

/// An event as clients get it.
#[derive(Clone, Debug)]
pub(super) struct Outgoing(Arc<Content>);

#[derive(Debug)]
struct Content {
    event: &'static str,
    kind: Kind,
    /// Written once, however many connections it goes to.
    data: Box<RawValue>,
}

#[derive(Debug)]
enum Kind {
    /// It is only of the moment.
    Passing,
    /// It tells the client up to where it has got everything.
    Place(Position),
    /// It stands in the log.
    Durable(Position),
    /// It is a message for whoever gets it, who has been handed it then.
    Message(Delivered),
}

impl Outgoing {
    /// Something of the moment.
    pub(super) fn passing(event: &'static str, data: impl Serialize) -> Self {
        Self::new(event, Kind::Passing, data)
    }

    /// A place in the feed, for the client to come back to.
    pub(super) fn place(event: &'static str, position: Position) -> Self {
        Self::new(event, Kind::Place(position), FeedPosition { position })
    }

    /// Something that stands in the log.
    pub(super) fn durable(event: &'static str, position: Position, data: impl Serialize) -> Self {
        Self::new(event, Kind::Durable(position), data)
    }

    /// A message for its recipient.
    pub(super) fn message(event: &'static str, message: Delivered, data: impl Serialize) -> Self {
        Self::new(event, Kind::Message(message), data)
    }

    fn new(event: &'static str, kind: Kind, data: impl Serialize) -> Self {
        let data = to_raw_value(&data).expect("what clients are told is made of structs, strings and numbers");
        Self(Arc::new(Content { event, kind, data }))
    }

    pub(super) fn event(&self) -> &'static str {
        self.0.event
    }

    /// Returns the position in the log, if it has one.
    pub(super) fn position(&self) -> Option<Position> {
        match &self.0.kind {
            Kind::Durable(position) => Some(*position),
            Kind::Message(message) => Some(message.message_position),
            Kind::Passing | Kind::Place(_) => None,
        }
    }

    /// Returns its size in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.0.event.len() + self.0.data.get().len()
    }

    /// As a packet of Socket.IO: an event with one argument.
    pub(super) fn packet(&self) -> String {
        format!("2[\"{}\",{}]", self.0.event, self.0.data.get())
    }

    /// Returns its payload as a JSON value, for clients that poll.
    pub(super) fn value(&self) -> Value {
        serde_json::from_str(self.0.data.get()).unwrap_or_default()
    }

    /// The message that whoever gets this has been handed.
    pub(super) fn hands_over(&self) -> Option<&Delivered> {
        match &self.0.kind {
            Kind::Message(message) => Some(message),
            Kind::Passing | Kind::Place(_) | Kind::Durable(_) => None,
        }
    }

    /// As a frame of the plain WebSocket: `{position, type, data}`, without a position when it has none.
    pub(super) fn frame(&self) -> String {
        #[derive(Serialize)]
        struct Frame<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            position: Option<Position>,
            r#type: &'static str,
            data: &'a RawValue,
        }
        let frame = Frame { position: self.position(), r#type: self.0.event, data: &self.0.data };
        serde_json::to_string(&frame).unwrap_or_default()
    }

    /// As an event of an event stream. A place in the feed has an id as well, so that `Last-Event-ID` moves on with it.
    pub(super) fn server_sent(&self) -> String {
        let (event, data) = (self.0.event, self.0.data.get());
        let id = match self.0.kind {
            Kind::Place(position) => Some(position),
            _ => self.position(),
        };
        id.map_or_else(
            || format!("event: {event}\ndata: {data}\n\n"),
            |id| format!("id: {id}\nevent: {event}\ndata: {data}\n\n"),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_transport_has_its_form() {
        let event = Outgoing::durable("message:read", 7, json!({"messageId": "x\ny"}));
        assert_eq!(event.frame(), r#"{"position":7,"type":"message:read","data":{"messageId":"x\ny"}}"#);
        assert_eq!(event.packet(), r#"2["message:read",{"messageId":"x\ny"}]"#);
        assert_eq!(event.server_sent(), "id: 7\nevent: message:read\ndata: {\"messageId\":\"x\\ny\"}\n\n");
        let passing = Outgoing::passing("user:online", "id");
        assert_eq!(passing.frame(), r#"{"type":"user:online","data":"id"}"#);
        assert_eq!(passing.server_sent(), "event: user:online\ndata: \"id\"\n\n");
        let place = Outgoing::place("feed:heartbeat", 9);
        assert_eq!(place.server_sent(), "id: 9\nevent: feed:heartbeat\ndata: {\"position\":9}\n\n");
    }
}

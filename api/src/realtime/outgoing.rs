//! One event on its way to clients: made once, sent over any number of connections, each in the form of its transport.

use std::sync::Arc;

use domain::delivery::Delivered;
use event_store::Position;
use serde::Serialize;
use serde_json::Value;

/// An event as clients get it.
#[derive(Clone, Debug)]
pub(super) struct Outgoing(Arc<Content>);

#[derive(Debug)]
struct Content {
    event: &'static str,
    /// Where it stands in the log, unless it is only of the moment.
    position: Option<Position>,
    data: Value,
    /// The message that whoever gets this has been handed.
    hands_over: Option<Delivered>,
}

impl Outgoing {
    /// Something of the moment.
    pub(super) fn passing(event: &'static str, data: impl Serialize) -> Self {
        Self::new(event, None, data, None)
    }

    /// Something that stands in the log.
    pub(super) fn durable(event: &'static str, position: Position, data: impl Serialize) -> Self {
        Self::new(event, Some(position), data, None)
    }

    /// A message for its recipient.
    pub(super) fn message(event: &'static str, message: Delivered, data: impl Serialize) -> Self {
        Self::new(event, Some(message.message_position), data, Some(message))
    }

    fn new(
        event: &'static str,
        position: Option<Position>,
        data: impl Serialize,
        hands_over: Option<Delivered>,
    ) -> Self {
        let data = serde_json::to_value(data).unwrap_or_default();
        Self(Arc::new(Content { event, position, data, hands_over }))
    }

    pub(super) fn event(&self) -> &'static str {
        self.0.event
    }

    pub(super) fn position(&self) -> Option<Position> {
        self.0.position
    }

    pub(super) fn data(&self) -> &Value {
        &self.0.data
    }

    pub(super) fn hands_over(&self) -> Option<&Delivered> {
        self.0.hands_over.as_ref()
    }

    /// As a frame of the plain WebSocket: `{position, type, data}`, without a position when it has none.
    pub(super) fn frame(&self) -> String {
        #[derive(Serialize)]
        struct Frame<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            position: Option<Position>,
            r#type: &'static str,
            data: &'a Value,
        }
        let frame = Frame { position: self.0.position, r#type: self.0.event, data: &self.0.data };
        serde_json::to_string(&frame).unwrap_or_default()
    }

    /// As an event of an event stream. A place in the feed has an id as well, so that `Last-Event-ID` moves on with it.
    pub(super) fn server_sent(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let place = || self.0.event.starts_with("feed:").then(|| self.0.data["position"].as_u64()).flatten();
        if let Some(position) = self.0.position.or_else(place) {
            let _ = writeln!(text, "id: {position}");
        }
        let _ = write!(text, "event: {}\ndata: {}\n\n", self.0.event, self.0.data);
        text
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
        assert_eq!(event.server_sent(), "id: 7\nevent: message:read\ndata: {\"messageId\":\"x\\ny\"}\n\n");
        let passing = Outgoing::passing("user:online", "id");
        assert_eq!(passing.frame(), r#"{"type":"user:online","data":"id"}"#);
        assert_eq!(passing.server_sent(), "event: user:online\ndata: \"id\"\n\n");
        let place = Outgoing::passing("feed:heartbeat", json!({"position": 9}));
        assert_eq!(place.server_sent(), "id: 9\nevent: feed:heartbeat\ndata: {\"position\":9}\n\n");
    }
}

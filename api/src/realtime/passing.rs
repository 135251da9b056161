//! Transient events between nodes: each node tells the others, and all deliver them to the user's connections.

use domain::UserId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Shared;
use super::outgoing::Outgoing;
use super::payloads::{CallSignal, Typing};
use cluster::Notice;

/// Something of the moment for one person.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "passing")]
pub(super) enum Passing {
    Signal { to: UserId, signal: CallSignal },
    Typing { to: UserId, from: UserId },
    TypingStopped { to: UserId, from: UserId },
}

impl Passing {
    fn outgoing(&self) -> (UserId, Outgoing) {
        let typing = |event, from: UserId| Outgoing::passing(event, Typing { user_id: from.to_string() });
        match self {
            Self::Signal { to, signal } => (*to, Outgoing::passing("call:signal", signal)),
            Self::Typing { to, from } => (*to, typing("typing:indicator", *from)),
            Self::TypingStopped { to, from } => (*to, typing("typing:stopped", *from)),
        }
    }
}

impl Shared {
    /// Tells a person something of the moment, wherever they are connected.
    pub(super) fn pass_on(&self, passing: &Passing) {
        let (to, outgoing) = passing.outgoing();
        self.connections.mention(to, &outgoing);
        self.bus.publish(serde_json::to_string(passing).unwrap_or_default());
    }

    /// Tells people what other nodes pass on. Never returns.
    pub(super) async fn listen_to_others(&self) {
        let mut listener = self.bus.listen();
        loop {
            let Notice::Message(message) = listener.next().await else { continue };
            // What others tell each other besides isn't for people.
            if let Ok(passing) = serde_json::from_str::<Passing>(&message) {
                let (to, outgoing) = passing.outgoing();
                self.connections.mention(to, &outgoing);
            }
        }
    }
}

/// Maximum size of a signal, in bytes of its JSON.
pub(super) const MAX_SIGNAL_BYTES: usize = 64 * 1024;

/// Returns true if a signal is small enough to be relayed.
pub(super) fn fits(payload: &Value) -> bool {
    serde_json::to_vec(payload).is_ok_and(|json| json.len() <= MAX_SIGNAL_BYTES)
}

//! The bus over NATS.

use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use futures_util::StreamExt;
use tokio::sync::{broadcast, mpsc};

use super::{BusError, Notice};
use crate::NodeId;

/// Length of the sender's id before a message, in characters.
const NODE_CHARS: usize = 32;

/// Connects, as soon as that can be done: a server that isn't there yet is waited for in the background.
pub(super) async fn connect(url: &str, incoming: broadcast::Sender<Notice>) -> Result<Client, BusError> {
    let address: ServerAddr = url.parse().map_err(|_| BusError::Address(url.to_owned()))?;
    let options = ConnectOptions::new().name("switchboard").retry_on_initial_connect().event_callback(move |event| {
        let incoming = incoming.clone();
        async move {
            match event {
                Event::Connected | Event::SlowConsumer(_) => drop(incoming.send(Notice::Interrupted)),
                Event::Disconnected => tracing::warn!("connection to NATS lost; reconnecting"),
                other => tracing::debug!(event = %other, "NATS"),
            }
        }
    });
    options.connect(address).await.map_err(|error| BusError::Connect(error.into()))
}

pub(super) async fn run(
    client: Client,
    subject: String,
    node: NodeId,
    outgoing: mpsc::Receiver<String>,
    incoming: broadcast::Sender<Notice>,
) {
    tokio::join!(send(&client, &subject, node, outgoing), receive(&client, &subject, node, incoming));
}

async fn send(client: &Client, subject: &str, node: NodeId, mut outgoing: mpsc::Receiver<String>) {
    while let Some(message) = outgoing.recv().await {
        let message = format!("{node}{message}");
        if let Err(error) = client.publish(subject.to_owned(), message.into()).await {
            tracing::warn!(%error, "message to other nodes lost");
            metrics::counter!("switchboard_bus_lost_total").increment(1);
        }
    }
}

async fn receive(client: &Client, subject: &str, node: NodeId, incoming: broadcast::Sender<Notice>) {
    loop {
        match client.subscribe(subject.to_owned()).await {
            Ok(mut messages) => {
                while let Some(message) = messages.next().await {
                    if let Some(notice) = hear(node, &message.payload) {
                        // Nobody listening is fine.
                        let _ = incoming.send(notice);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "receiving messages of other nodes failed; retrying"),
        }
        tokio::time::sleep(super::RETRY_PAUSE).await;
    }
}

/// Parses a message of another node; none for this node's own, and for nonsense.
fn hear(own: NodeId, payload: &[u8]) -> Option<Notice> {
    let (node, message) = std::str::from_utf8(payload).ok()?.split_at_checked(NODE_CHARS)?;
    (node != own.to_string()).then(|| Notice::Message(message.into()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn nobody_hears_themselves_or_nonsense() {
        let (here, there) = (NodeId(Uuid::from_u128(1)), NodeId(Uuid::from_u128(2)));
        assert_eq!(hear(here, format!("{there}hello").as_bytes()), Some(Notice::Message("hello".into())));
        assert_eq!(hear(here, format!("{here}hello").as_bytes()), None);
        for nonsense in [b"".as_slice(), b"short", &[255; 40]] {
            assert_eq!(hear(here, nonsense), None);
        }
    }
}

//! A part of a log that is used by others too, looking like a log of its own: the suite assumes that it is alone.

use std::sync::Arc;

use async_trait::async_trait;
use event_store::{
    Append, AppendError, Appended, Delivery, EventStore, Position, RecordedEvent, StoreError, StreamId, Subscription,
};
use futures_util::stream;
use uuid::Uuid;

/// The streams of one test, whose names nobody else has, from a position on that was the head when it began.
#[derive(Clone)]
pub(super) struct Share {
    prefix: Arc<str>,
    beginning: Position,
}

impl Share {
    pub(super) fn beginning_at(beginning: Position) -> Self {
        Self { prefix: format!("share{}-", Uuid::now_v7().simple()).into(), beginning }
    }

    /// This part of the log as a node sees it.
    pub(super) fn of(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        Arc::new(Node { share: self.clone(), store })
    }

    fn stream(&self, stream: &StreamId) -> StreamId {
        StreamId::from(format!("{}{stream}", self.prefix))
    }

    /// Those of the events that belong to the test.
    fn own(&self, events: &[RecordedEvent]) -> Vec<RecordedEvent> {
        let own = events.iter().filter_map(|event| {
            let stream = event.stream.as_str().strip_prefix(&*self.prefix)?;
            Some(RecordedEvent { stream: StreamId::from(stream.to_owned()), ..event.clone() })
        });
        own.collect()
    }
}

struct Node {
    share: Share,
    store: Arc<dyn EventStore>,
}

#[async_trait]
impl EventStore for Node {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let stream = self.share.stream(&append.stream);
        self.store.append(Append { stream, ..append }).await
    }

    async fn read_stream(&self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        let events = self.store.read_stream(&self.share.stream(stream), after, limit).await?;
        Ok(self.share.own(&events))
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<RecordedEvent>, StoreError> {
        let (mut after, mut own) = (after.max(self.share.beginning), vec![]);
        while own.len() < limit {
            let events = self.store.read_all(after, limit).await?;
            let Some(last) = events.last() else { break };
            after = last.position;
            own.extend(self.share.own(&events));
        }
        own.truncate(limit);
        Ok(own)
    }

    async fn read_at(&self, positions: &[Position]) -> Result<Vec<RecordedEvent>, StoreError> {
        Ok(self.share.own(&self.store.read_at(positions).await?))
    }

    /// Of the whole log, no more is known than that it goes at least as far.
    async fn head(&self) -> Result<Position, StoreError> {
        let whole = self.store.head().await?;
        let (mut head, mut looked_up_to) = (0, self.share.beginning);
        while looked_up_to < whole {
            let events = self.store.read_all(looked_up_to, 1000).await?;
            let Some(last) = events.last() else { break };
            looked_up_to = last.position;
            head = self.share.own(&events).last().map_or(head, |own| own.position);
        }
        Ok(head)
    }

    fn subscribe(&self, after: Position) -> Subscription {
        let share = self.share.clone();
        let whole = self.store.subscribe(after.max(share.beginning));
        Subscription::new(stream::unfold((whole, share, after), |(mut whole, share, mut seen)| async move {
            loop {
                let delivery = match whole.next().await {
                    Ok(Delivery::Events(events)) => {
                        let own = share.own(&events);
                        let Some(last) = own.last() else { continue };
                        seen = last.position;
                        Ok(Delivery::Events(own.into()))
                    }
                    Ok(Delivery::CaughtUp(_)) => Ok(Delivery::CaughtUp(seen)),
                    Err(error) => Err(error),
                };
                return Some((delivery, (whole, share, seen)));
            }
        }))
    }
}

/// The suite passes on a part of a log too, so what fails on a real server is not for that.
mod tests {
    use async_trait::async_trait;
    use event_store::conformance::Harness;
    use event_store::memory::MemoryStore;
    use event_store::{Actor, Expected, Metadata, NewEvent};
    use time::OffsetDateTime;
    use tokio::task::JoinSet;

    use super::*;

    struct Shared {
        share: Share,
        log: MemoryStore,
        _others: JoinSet<()>,
    }

    #[async_trait]
    impl Harness for Shared {
        async fn node(&self) -> Arc<dyn EventStore> {
            self.share.of(Arc::new(self.log.clone()))
        }

        async fn interrupt(&self) {}
    }

    /// What another one writes, who is there before and goes on all the time.
    async fn write(log: &MemoryStore, n: u128) -> Appended {
        let metadata = Metadata {
            business_id: Uuid::nil(),
            actor: Actor::default(),
            correlation_id: Uuid::nil(),
            causation_id: None,
        };
        let event =
            NewEvent { event_id: Uuid::from_u128(n), event_type: "Other".into(), schema_version: 1, data: "{}".into() };
        let stream = StreamId::new("conformance", format!("other{n}"));
        log.append(Append { stream, expected: Expected::NoStream, metadata, events: vec![event] }).await.unwrap()
    }

    async fn shared() -> Shared {
        let log = MemoryStore::new(OffsetDateTime::now_utc);
        let beginning = write(&log, 0).await.position;
        let mut others = JoinSet::new();
        let other = log.clone();
        others.spawn(async move {
            for n in 1.. {
                write(&other, n).await;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        });
        Shared { share: Share::beginning_at(beginning), log, _others: others }
    }

    event_store::conformance_suite!(shared());
}

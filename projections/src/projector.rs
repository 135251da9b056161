//! A projection as a value, for whoever feeds it without caring which it is.

use std::collections::HashSet;

use event_store::{Position, RecordedEvent, StreamId};
use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use crate::audit::Audit;
use crate::calls::Calls;
use crate::feed::Feed;
use crate::messaging::Messaging;
use crate::people::People;
use crate::projection::{Projection, Unreadable};

/// A projection, seen from whoever feeds it.
#[derive(Clone, Copy)]
pub struct Projector {
    /// Its name in checkpoints, metrics and on the command line.
    pub name: &'static str,
    /// Its version; see [`Projection::VERSION`].
    pub version: i32,
    /// Its tables.
    pub tables: &'static [&'static str],
    /// See [`Projection::INDEXED_LAST`].
    pub(crate) indexed_last: &'static [&'static str],
    take_in: TakeIn,
    carry_over: CarryOver,
}

type TakeIn = for<'a> fn(
    &'a mut PgConnection,
    &'a [&'a RecordedEvent],
    &'a HashSet<StreamId>,
) -> BoxFuture<'a, Result<Vec<Parked>, sqlx::Error>>;
type CarryOver = for<'a> fn(&'a str, &'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>>;

/// An event that couldn't be taken in.
pub(crate) struct Parked {
    pub(crate) position: Position,
    pub(crate) stream: StreamId,
    pub(crate) event_type: String,
    pub(crate) error: String,
}

impl Projector {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::of::<People>(), Self::of::<Messaging>(), Self::of::<Calls>(), Self::of::<Feed>(), Self::of::<Audit>()];

    /// That of a projection.
    #[must_use]
    pub const fn of<P: Projection>() -> Self {
        Self {
            name: P::NAME,
            version: P::VERSION,
            tables: P::TABLES,
            indexed_last: P::INDEXED_LAST,
            take_in: |connection, events, parked| Box::pin(take_in::<P>(connection, events, parked)),
            carry_over: |live, connection| P::carry_over(live, connection),
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|projector| projector.name == name)
    }

    /// Writes what these events come to. Returns those that can't be read, and those whose streams wait for such a one.
    pub(crate) async fn take_in(
        &self,
        connection: &mut PgConnection,
        events: &[&RecordedEvent],
        parked: &HashSet<StreamId>,
    ) -> Result<Vec<Parked>, sqlx::Error> {
        (self.take_in)(connection, events, parked).await
    }

    /// Brings what doesn't come from the log over from the tables in schema `live`.
    pub(crate) async fn carry_over(&self, live: &str, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        (self.carry_over)(live, connection).await
    }
}

impl Parked {
    pub(crate) fn because(error: impl std::fmt::Display, event: &RecordedEvent) -> Self {
        Self {
            position: event.position,
            stream: event.stream.clone(),
            event_type: event.event_type.to_string(),
            error: error.to_string(),
        }
    }
}

async fn take_in<P: Projection>(
    connection: &mut PgConnection,
    events: &[&RecordedEvent],
    parked_streams: &HashSet<StreamId>,
) -> Result<Vec<Parked>, sqlx::Error> {
    let mut changes = P::Changes::default();
    let mut parked: Vec<Parked> = vec![];
    for event in events {
        // What comes later in a stream may not be taken in before what came earlier.
        if parked_streams.contains(&event.stream) || parked.iter().any(|earlier| earlier.stream == event.stream) {
            parked.push(Parked::because("an earlier event of its stream is parked", event));
        } else if let Err(Unreadable(error)) = P::collect(&mut changes, event) {
            parked.push(Parked::because(error, event));
        }
    }
    P::write(changes, connection).await?;
    Ok(parked)
}

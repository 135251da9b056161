//! Reading one's own writes, on any node.

use std::time::Duration;

use event_store::Position;
use projections::calls::CallQueries;
use projections::messaging::MessagingQueries;
use projections::people::PeopleQueries;
use projections::{Checkpoint, NotThereYet, ReadModel};

use crate::Api;
use crate::error::ApiError;

/// Time that a read with a position may wait for it.
const PATIENCE: Duration = Duration::from_secs(2);

impl Api {
    /// Queries about people, fresh enough for this reader, and how fresh they are.
    pub(crate) async fn people(&self, min_position: Option<Position>) -> Result<(&PeopleQueries, Position), ApiError> {
        let people = &self.read_models.people;
        Ok((&people.queries, self.fresh(people, min_position).await?))
    }

    /// Queries about messages, fresh enough for this reader, and how fresh they are.
    pub(crate) async fn messaging(
        &self,
        min_position: Option<Position>,
    ) -> Result<(&MessagingQueries, Position), ApiError> {
        let messaging = &self.read_models.messaging;
        Ok((&messaging.queries, self.fresh(messaging, min_position).await?))
    }

    /// Queries about messages, once the names of their senders, which are of another projection, are as fresh.
    pub(crate) async fn messaging_and_people(
        &self,
        min_position: Option<Position>,
    ) -> Result<(&MessagingQueries, Position), ApiError> {
        let ((messaging, position), (_, of_people)) =
            tokio::try_join!(self.messaging(min_position), self.people(min_position))?;
        Ok((messaging, position.min(of_people)))
    }

    /// Queries about calls, once the names of their parties are as fresh.
    pub(crate) async fn calls(&self, min_position: Option<Position>) -> Result<(&CallQueries, Position), ApiError> {
        let calls = &self.read_models.calls;
        let (position, (_, of_people)) = tokio::try_join!(self.fresh(calls, min_position), self.people(min_position))?;
        Ok((&calls.queries, position.min(of_people)))
    }

    /// Waits until a read model is fresh enough to be read: up to the position that the reader names, or else up to what this
    /// node has itself acknowledged, so that a client that knows of no positions reads its own writes too. Returns how fresh it
    /// is.
    pub(crate) async fn fresh<Q>(
        &self,
        model: &ReadModel<Q>,
        min_position: Option<Position>,
    ) -> Result<Position, ApiError> {
        match min_position {
            Some(position) => self.knows(position, &model.checkpoint).await?,
            None => model.catch_up_with(self.commands.acknowledged()).await,
        }
        Ok(model.checkpoint.position())
    }

    /// Waits until a projection has taken in `position`, and until this node decides by it too: a client that names the position of
    /// a suspension, and gets an answer, sees the suspension from then on in everything that it asks this node.
    async fn knows(&self, position: Position, checkpoint: &Checkpoint) -> Result<(), NotThereYet> {
        let followed = tokio::time::timeout(PATIENCE, self.commands.followed(position));
        let (reached, followed) = tokio::join!(checkpoint.reached(position, PATIENCE), followed);
        reached?;
        followed.map_err(|_| NotThereYet { at: checkpoint.position(), wanted: position })
    }
}

//! Reading one's own writes, on any node.

use std::time::Duration;

use event_store::Position;
use projections::calls::CallQueries;
use projections::messaging::MessagingQueries;
use projections::people::PeopleQueries;
use projections::{Checkpoint, NotThereYet};

use crate::Api;
use crate::error::ApiError;

/// How long a reader who says what they must see is made to wait for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a reader who says nothing is made to wait for what this node has acknowledged.
const COURTESY: Duration = Duration::from_millis(250);

impl Api {
    /// What can be asked about people, fresh enough for this reader, and how fresh that is.
    pub(crate) async fn people(&self, min_position: Option<Position>) -> Result<(&PeopleQueries, Position), ApiError> {
        let (people, checkpoint) = &self.people;
        Ok((people, self.fresh(checkpoint, min_position).await?))
    }

    /// What can be asked about messages, fresh enough for this reader, and how fresh that is.
    pub(crate) async fn messaging(
        &self,
        min_position: Option<Position>,
    ) -> Result<(&MessagingQueries, Position), ApiError> {
        let (messaging, checkpoint) = &self.messaging;
        Ok((messaging, self.fresh(checkpoint, min_position).await?))
    }

    /// What can be asked about messages and those who write them, fresh enough for this reader, and how fresh that is: names are of
    /// another projection.
    pub(crate) async fn messaging_and_people(
        &self,
        min_position: Option<Position>,
    ) -> Result<(&MessagingQueries, Position), ApiError> {
        let ((messaging, position), (_, of_people)) =
            tokio::try_join!(self.messaging(min_position), self.people(min_position))?;
        Ok((messaging, position.min(of_people)))
    }

    /// What can be asked about calls and those who are in them, fresh enough for this reader, and how fresh that is.
    pub(crate) async fn calls(&self, min_position: Option<Position>) -> Result<(&CallQueries, Position), ApiError> {
        let (calls, checkpoint) = &self.calls;
        let (position, (_, of_people)) =
            tokio::try_join!(self.fresh(checkpoint, min_position), self.people(min_position))?;
        Ok((calls, position.min(of_people)))
    }

    /// Waits until a projection is fresh enough to be read: up to the position that the reader names, or else up to what this
    /// node has itself acknowledged, so that a client that knows of no positions reads its own writes too. Returns how fresh it
    /// is.
    pub(crate) async fn fresh(
        &self,
        checkpoint: &Checkpoint,
        min_position: Option<Position>,
    ) -> Result<Position, ApiError> {
        match min_position {
            Some(position) => self.knows(position, checkpoint).await?,
            // Late is better than never.
            None => drop(checkpoint.reached(self.commands.acknowledged(), COURTESY).await),
        }
        Ok(checkpoint.position())
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

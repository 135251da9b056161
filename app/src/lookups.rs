//! What commands look up, answered by the read models.

use std::time::Duration;

use async_trait::async_trait;
use commands::{ActiveCall, LookupError, Lookups, UnfinishedLogin};
use domain::{CallId, EmailAddress, FileId, MessageId, Timestamp, UserId};
use event_store::Position;
use projections::Checkpoint;
use projections::calls::CallQueries;
use projections::messaging::MessagingQueries;
use projections::people::PeopleQueries;

/// How long what this node has acknowledged is waited for.
const COURTESY: Duration = Duration::from_millis(250);

pub(crate) struct ReadModelLookups {
    pub(crate) people: (PeopleQueries, Checkpoint),
    pub(crate) calls: CallQueries,
    pub(crate) messaging: MessagingQueries,
}

impl ReadModelLookups {
    /// What can be asked about people, once it knows what has been acknowledged, if that doesn't take long.
    async fn people(&self, acknowledged: Position) -> &PeopleQueries {
        let (people, checkpoint) = &self.people;
        // Late is better than never.
        let _ = checkpoint.reached(acknowledged, COURTESY).await;
        people
    }
}

#[async_trait]
impl Lookups for ReadModelLookups {
    async fn admin_accounts(
        &self,
        email: &EmailAddress,
        limit: u32,
        acknowledged: Position,
    ) -> Result<Vec<UserId>, LookupError> {
        let people = self.people(acknowledged).await;
        people.admin_accounts(email, limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn unfinished_logins(&self, before: Timestamp, limit: u32) -> Result<Vec<UnfinishedLogin>, LookupError> {
        let found = self.people.0.unfinished_logins(before, limit).await.map_err(|error| LookupError(error.into()))?;
        Ok(found.into_iter().map(|(login_id, user_id)| UnfinishedLogin { login_id, user_id }).collect())
    }

    async fn calls_rung_out(&self, by: Timestamp, limit: u32) -> Result<Vec<CallId>, LookupError> {
        self.calls.rung_out(by, limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn super_admins(&self, limit: u32, acknowledged: Position) -> Result<Vec<UserId>, LookupError> {
        let people = self.people(acknowledged).await;
        people.super_admins(limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn idle_files(&self, before: Timestamp, limit: u32) -> Result<Vec<FileId>, LookupError> {
        self.messaging.idle_files(before, limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn stale_carriers(&self, before: Timestamp, limit: u32) -> Result<Vec<(FileId, MessageId)>, LookupError> {
        self.messaging.stale_carriers(before, limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn active_calls(&self) -> Result<Vec<ActiveCall>, LookupError> {
        let active = self.calls.active().await.map_err(|error| LookupError(error.into()))?;
        Ok(active.into_iter().map(|(id, caller_id, receiver_id)| ActiveCall { id, caller_id, receiver_id }).collect())
    }
}

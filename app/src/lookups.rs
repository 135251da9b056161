//! Lookups of commands, answered by the read models.

use async_trait::async_trait;
use commands::{ActiveCall, LookupError, Lookups, UnfinishedLogin};
use domain::{CallId, EmailAddress, FileId, MessageId, Timestamp, UserId};
use event_store::Position;
use projections::ReadModels;
use projections::people::PeopleQueries;

pub(crate) struct ReadModelLookups(pub(crate) ReadModels);

impl ReadModelLookups {
    /// Queries about people, once they know what has been acknowledged, if that doesn't take long.
    async fn people(&self, acknowledged: Position) -> &PeopleQueries {
        let people = &self.0.people;
        people.catch_up_with(acknowledged).await;
        &people.queries
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
        let found =
            self.0.people.queries.unfinished_logins(before, limit).await.map_err(|error| LookupError(error.into()))?;
        Ok(found.into_iter().map(|(login_id, user_id)| UnfinishedLogin { login_id, user_id }).collect())
    }

    async fn calls_rung_out(&self, by: Timestamp, limit: u32) -> Result<Vec<CallId>, LookupError> {
        self.0.calls.queries.rung_out(by, limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn super_admins(&self, limit: u32, acknowledged: Position) -> Result<Vec<UserId>, LookupError> {
        let people = self.people(acknowledged).await;
        people.super_admins(limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn idle_files(&self, before: Timestamp, limit: u32) -> Result<Vec<FileId>, LookupError> {
        self.0.messaging.queries.idle_files(before, limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn stale_carriers(&self, before: Timestamp, limit: u32) -> Result<Vec<(FileId, MessageId)>, LookupError> {
        self.0.messaging.queries.stale_carriers(before, limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn active_calls(&self) -> Result<Vec<ActiveCall>, LookupError> {
        let active = self.0.calls.queries.active().await.map_err(|error| LookupError(error.into()))?;
        Ok(active.into_iter().map(|(id, caller_id, receiver_id)| ActiveCall { id, caller_id, receiver_id }).collect())
    }
}

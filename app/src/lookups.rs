//! What commands look up, answered by the read models.

use async_trait::async_trait;
use commands::{ActiveCall, LookupError, Lookups, UnfinishedLogin};
use domain::{CallId, EmailAddress, Timestamp, UserId};
use projections::calls::CallQueries;
use projections::people::PeopleQueries;

pub(crate) struct ReadModelLookups {
    pub(crate) people: PeopleQueries,
    pub(crate) calls: CallQueries,
}

#[async_trait]
impl Lookups for ReadModelLookups {
    async fn admin_accounts(&self, email: &EmailAddress, limit: u32) -> Result<Vec<UserId>, LookupError> {
        self.people.admin_accounts(email, limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn unfinished_logins(&self, before: Timestamp, limit: u32) -> Result<Vec<UnfinishedLogin>, LookupError> {
        let found = self.people.unfinished_logins(before, limit).await.map_err(|error| LookupError(error.into()))?;
        Ok(found.into_iter().map(|(login_id, user_id)| UnfinishedLogin { login_id, user_id }).collect())
    }

    async fn calls_rung_out(&self, by: Timestamp, limit: u32) -> Result<Vec<CallId>, LookupError> {
        self.calls.rung_out(by, limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn active_calls(&self) -> Result<Vec<ActiveCall>, LookupError> {
        let active = self.calls.active().await.map_err(|error| LookupError(error.into()))?;
        Ok(active.into_iter().map(|(id, caller_id, receiver_id)| ActiveCall { id, caller_id, receiver_id }).collect())
    }
}

//! What commands look up, answered by the read models.

use async_trait::async_trait;
use commands::{LookupError, Lookups, UnfinishedLogin};
use domain::{EmailAddress, Timestamp, UserId};
use projections::people::PeopleQueries;

pub(crate) struct ReadModelLookups(pub(crate) PeopleQueries);

#[async_trait]
impl Lookups for ReadModelLookups {
    async fn admin_accounts(&self, email: &EmailAddress, limit: u32) -> Result<Vec<UserId>, LookupError> {
        self.0.admin_accounts(email, limit).await.map_err(|error| LookupError(error.into()))
    }

    async fn unfinished_logins(&self, before: Timestamp, limit: u32) -> Result<Vec<UnfinishedLogin>, LookupError> {
        let found = self.0.unfinished_logins(before, limit).await.map_err(|error| LookupError(error.into()))?;
        Ok(found.into_iter().map(|(login_id, user_id)| UnfinishedLogin { login_id, user_id }).collect())
    }
}

//! Logins that were reserved for somebody who was then never created, because the node died in between. They are released, so
//! that the email can be used; and before that the account is fenced off, so that a creator who was only slow can't create it
//! without its login.

use std::sync::Arc;

use domain::UserId;
use domain::login::{Login, LoginCommand, LoginError};
use domain::user::{User, UserCommand, UserError};
use event_store::Metadata;

use crate::caller::by_the_system;
use crate::repository::Refusal;
use crate::state_cache::Loaded;
use crate::{Commands, Error};

/// Time for which a reservation may wait for its account, in milliseconds.
pub(crate) const PATIENCE_MS: i64 = 60_000;
/// Logins that are released in one go.
const LIMIT: u32 = 100;

impl Commands {
    /// Releases logins that have waited too long for their accounts. To be called now and then; any number of nodes may do it at
    /// the same time. Returns how many were released.
    ///
    /// # Errors
    /// If the log or the database is unavailable. The next run finds what is left.
    pub async fn release_unfinished_logins(&self) -> Result<usize, Error> {
        let before = self.clock.now().plus_ms(-PATIENCE_MS);
        let unfinished = self.lookups.unfinished_logins(before, LIMIT).await?;
        let mut released = 0;
        for login in unfinished {
            match self.release_login(&login.login_id, login.user_id).await {
                Ok(()) => released += 1,
                // The account exists after all: the lookup was late.
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(released)
    }

    /// Makes sure that the account is never created, then frees its login.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the account exists.
    pub(crate) async fn release_login(&self, login_id: &str, user_id: UserId) -> Result<(), Error> {
        let Login::Reserved { business_id, .. } = self.login(login_id).await?.state else { return Ok(()) };
        let metadata = by_the_system(business_id, self.ids.next());
        let at = self.clock.now();
        let abandon = UserCommand::Abandon { at };
        let abandoned = match self.repository.execute::<User>(&user_id.to_string(), abandon, &metadata).await {
            Ok(abandoned) => abandoned.last_event,
            Err(Refusal::Rule(UserError::AlreadyCreated)) => {
                return Err(Error::rule(&LoginError::Taken));
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let metadata = Metadata { causation_id: abandoned, ..metadata };
        let release = LoginCommand::Release { user_id, at };
        self.repository.execute::<Login>(login_id, release, &metadata).await?;
        Ok(())
    }

    pub(crate) async fn login(&self, login_id: &str) -> Result<Arc<Loaded<Login>>, Error> {
        self.repository.load::<Login>(login_id).await
    }
}

//! Businesses and accounts that are made when there are none yet. Their ids are fixed, so that nodes which start together agree.

use domain::business::{Business, BusinessCommand, BusinessError};
use domain::user::User;
use domain::{BusinessId, DisplayName, UserId};
use uuid::Uuid;

use crate::caller::by_the_system;
use crate::repository::Refusal;
use crate::{Commands, Error, HashedFor, NewUser};

/// Current state of an account with a fixed id.
pub(crate) enum FixedAccount {
    /// It has been made.
    Exists(UserId),
    /// It can be made, under this id.
    Missing(UserId),
}

impl Commands {
    /// Registers a business, unless it is.
    pub(crate) async fn ensure_business(&self, id: BusinessId, name: DisplayName) -> Result<(), Error> {
        let register = BusinessCommand::Register { id, name, at: self.clock.now() };
        let metadata = by_the_system(id, self.ids.next());
        match self.repository.execute::<Business>(&id.to_string(), register, &metadata).await {
            Ok(_) | Err(Refusal::Rule(BusinessError::AlreadyRegistered)) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Suspends or reactivates a business, if it is registered.
    pub(crate) async fn set_business_active(&self, id: BusinessId, is_active: bool) -> Result<(), Error> {
        if self.business(id).await?.state.registered().is_none() {
            return Ok(());
        }
        let at = self.clock.now();
        let command = if is_active { BusinessCommand::Reactivate { at } } else { BusinessCommand::Suspend { at } };
        let metadata = by_the_system(id, self.ids.next());
        let changed = self.repository.execute::<Business>(&id.to_string(), command, &metadata).await;
        Ok(changed.map(drop)?)
    }

    /// Creates the account that `seed` names in its business, unless it exists. Returns its id, and whether this call created it.
    pub(crate) async fn ensure_user(&self, seed: &str, new: NewUser) -> Result<(UserId, bool), Error> {
        let metadata = by_the_system(new.business_id, self.ids.next());
        loop {
            let id = match self.fixed_account(new.business_id, seed).await? {
                FixedAccount::Exists(id) => return Ok((id, false)),
                FixedAccount::Missing(id) => id,
            };
            match self.create_user_as(id, new.clone(), HashedFor::System, &metadata).await {
                Ok(_) => return Ok((id, true)),
                // Another node was faster, or the account was given up meanwhile; otherwise somebody else has the email.
                Err(Error::Conflict(_)) if !matches!(self.user(id).await?.state, User::Uncreated) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks for the account that `seed` names. An id whose creation was once given up is passed over: it is of no use any more.
    pub(crate) async fn fixed_account(&self, business: BusinessId, seed: &str) -> Result<FixedAccount, Error> {
        let mut name = seed.to_owned();
        loop {
            let id = UserId(Uuid::new_v5(&business.0, name.as_bytes()));
            match self.user(id).await?.state {
                User::Active(_) | User::Suspended(_) => return Ok(FixedAccount::Exists(id)),
                User::Uncreated => return Ok(FixedAccount::Missing(id)),
                User::Abandoned => name.push('+'),
            }
        }
    }
}

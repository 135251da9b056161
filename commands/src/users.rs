//! Managing people.

use domain::user::{Account, User, UserCommand, UserError};
use domain::{Invalid, UserId};

use crate::aggregates::Refusal;
use crate::{Commands, Done, Error, Request};

impl Commands {
    /// Shuts a person out, everywhere and at once. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such person, or none that the caller may see; [`Error::Forbidden`] when the caller
    /// may see but not manage them; [`Error::Conflict`] for oneself.
    pub async fn suspend_user(&self, request: &Request, id: UserId) -> Result<Done<User>, Error> {
        let suspend = UserCommand::Suspend { by: request.caller.user_id, at: self.clock.now() };
        self.manage_user(request, id, suspend).await
    }

    /// Lets a person in again. Repeating it changes nothing.
    ///
    /// # Errors
    /// As [`Self::suspend_user`].
    pub async fn reactivate_user(&self, request: &Request, id: UserId) -> Result<Done<User>, Error> {
        self.manage_user(request, id, UserCommand::Reactivate { at: self.clock.now() }).await
    }

    async fn manage_user(&self, request: &Request, id: UserId, command: UserCommand) -> Result<Done<User>, Error> {
        let caller = &request.caller;
        let user = self.user(id).await?;
        let account = user.state.account().ok_or(Error::NotFound("user"))?;
        if !caller.role.may_see(caller.business_id, account.business_id) {
            return Err(Error::NotFound("user"));
        }
        if !caller.role.may_manage(caller.business_id, account.role, account.business_id) {
            return Err(Error::Forbidden("you can't manage this user"));
        }
        let changed = self
            .aggregates
            .execute::<User>(&id.to_string(), command, &request.metadata(account.business_id))
            .await
            .map_err(explain_user)?;
        Ok(self.done(changed.state.clone(), changed.position))
    }

    /// What is known of a person today; for showing who sent something. None when there is nobody of that id.
    ///
    /// # Errors
    /// When the log can't be used.
    pub async fn account(&self, id: UserId) -> Result<Option<Account>, Error> {
        Ok(self.user(id).await?.state.account().cloned())
    }

    /// A person whom somebody wants to reach: of the same business, and let in.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such person in the caller's business; [`Error::Invalid`] when they are suspended.
    pub async fn reachable(&self, request: &Request, id: UserId) -> Result<(), Error> {
        let user = self.user(id).await?;
        let account = user.state.account().ok_or(Error::NotFound("recipient"))?;
        if account.business_id != request.caller.business_id {
            return Err(Error::NotFound("recipient"));
        }
        match user.state.active() {
            Some(_) => Ok(()),
            None => Err(Invalid::new("recipientId", "this person is suspended").into()),
        }
    }
}

pub(crate) fn explain_user(refusal: Refusal<UserError>) -> Error {
    refusal.explain(|rule| match rule {
        UserError::NoSuchUser => Error::NotFound("user"),
        UserError::AlreadyCreated => Error::Conflict("this user exists already"),
        UserError::CreationAbandoned => Error::Conflict("creating this user took too long: try again"),
        UserError::RoleDoesNotFit(invalid) => invalid.into(),
        UserError::NotOneself => Error::Conflict("nobody can suspend themselves"),
    })
}

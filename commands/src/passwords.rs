//! Changing passwords.

use domain::user::{SetPassword, User, UserCommand, UserError};
use domain::{AuthenticationError, Invalid, Password, UserId};

use crate::{Commands, Done, Error, HashedFor, Request};

impl Commands {
    /// Gives the caller another password, and ends their other sessions.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the current password isn't right, or the new one is the same; [`Error::Conflict`] when the account was
    /// changed meanwhile.
    pub async fn change_own_password(
        &self,
        request: &Request,
        current: String,
        new: Password,
    ) -> Result<Done<()>, Error> {
        let caller = &request.caller;
        let user = self.user(caller.user_id).await?;
        let account = user.state.active().ok_or_else(|| Error::rule(&AuthenticationError::Token))?;
        let (hash, epoch) = (account.password_hash.known().cloned(), account.epoch);
        let is_same = current == new.as_str();
        if !self.passwords.verify(hashed_for(request), current, hash).await? {
            return Err(Invalid::new("currentPassword", "is not your password").into());
        }
        if is_same {
            return Err(Invalid::new("newPassword", "must be another one").into());
        }
        self.set_password(request, caller.user_id, new, Some(epoch)).await
    }

    /// Gives somebody another password whom the caller manages, and ends all of their sessions. For those who have forgotten
    /// theirs.
    ///
    /// # Errors
    /// As [`Self::suspend_user`]; [`Error::Conflict`] for oneself: one's own password is changed by whoever knows it.
    pub async fn reset_password(&self, request: &Request, id: UserId, new: Password) -> Result<Done<()>, Error> {
        self.managed(request, id).await?;
        if id == request.caller.user_id {
            return Err(Error::rule(&UserError::OwnPassword));
        }
        self.set_password(request, id, new, None).await
    }

    async fn set_password(
        &self,
        request: &Request,
        id: UserId,
        new: Password,
        proved_in: Option<u32>,
    ) -> Result<Done<()>, Error> {
        let account =
            self.user(id).await?.state.account().cloned().ok_or_else(|| Error::rule(&UserError::NoSuchUser))?;
        let set = UserCommand::SetPassword(SetPassword {
            password_hash: self.passwords.hash(hashed_for(request), new).await?,
            is_temporary: proved_in.is_none(),
            kept_session: proved_in.map(|_| request.caller.session_id),
            proved_in,
            at: self.clock.now(),
        });
        let metadata = request.metadata(account.business_id);
        let changed = self.repository.execute::<User>(&id.to_string(), set, &metadata).await?;
        Ok(self.done((), changed.position))
    }
}

pub(crate) fn hashed_for(request: &Request) -> HashedFor {
    HashedFor::User(request.caller.business_id, request.caller.user_id)
}

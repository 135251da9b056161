//! Authentication of each request, from the cached states of three streams.

use std::sync::Arc;

use domain::session::Audience;
use domain::user::{Account, User};
use domain::{AuthenticationError, PermissionError, SessionId, UserId};

use crate::state_cache::Loaded;
use crate::{Caller, Commands, Error};

/// Claims of a token whose signature and times have been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// User who logged in.
    pub user_id: UserId,
    /// In which session.
    pub session_id: SessionId,
    /// For which API.
    pub audience: Audience,
}

/// A caller, and whether they have to change their password before they do anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identified {
    /// The caller.
    pub caller: Caller,
    must_change_password: bool,
}

impl Identified {
    /// The caller, if nothing has to be done first.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when they have to change their password.
    pub fn ready(&self) -> Result<Caller, Error> {
        if self.must_change_password {
            return Err(Error::rule(&PermissionError::UseTemporaryPassword));
        }
        Ok(self.caller)
    }
}

impl Commands {
    /// Finds out again whether a caller who has been here for a while may still be.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn still_authentic(&self, caller: &Caller) -> Result<Caller, Error> {
        let Caller { user_id, session_id, audience, .. } = *caller;
        self.authenticate(Claims { user_id, session_id, audience }).await
    }

    /// Finds out whether the session lives and its person and business are active, and what the person may do today.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when any of it isn't so; [`Error::Forbidden`] when the person may not administer any more, or has
    /// to change their password first.
    pub async fn authenticate(&self, claims: Claims) -> Result<Caller, Error> {
        self.identify(claims).await?.ready()
    }

    /// As [`Self::authenticate`], also for those who have to change their password first.
    ///
    /// # Errors
    /// As [`Self::authenticate`], but for that.
    pub async fn identify(&self, claims: Claims) -> Result<Identified, Error> {
        let (caller, user) = self.whoever_has(claims).await?;
        let account = user.state.account();
        let must_change_password = account.is_some_and(|account| self.must_change_password(account, claims.audience));
        Ok(Identified { caller, must_change_password })
    }

    /// Returns true if the user has to change their password before anything else.
    pub(crate) fn must_change_password(&self, account: &Account, audience: Audience) -> bool {
        self.temporary_passwords_must_change && account.password_is_temporary && audience == Audience::Messenger
    }

    /// Returns the caller behind a token, if it is valid.
    pub(crate) async fn whoever_has(&self, claims: Claims) -> Result<(Caller, Arc<Loaded<User>>), Error> {
        let refused = || Error::rule(&AuthenticationError::Token);
        let session = self.session(claims.session_id).await?;
        let session = session.state.live(self.clock.now()).ok_or_else(refused)?;
        if session.user_id != claims.user_id || session.audience != claims.audience {
            return Err(refused());
        }
        let user = self.user(session.user_id).await?;
        let account = user.state.active().ok_or_else(refused)?;
        let is_live = account.keeps(session.id, session.epoch);
        if !is_live || !self.business(account.business_id).await?.state.is_active() {
            return Err(refused());
        }
        if session.audience == Audience::Admin && !account.role.may_administer() {
            return Err(Error::rule(&PermissionError::Administer));
        }
        let caller = Caller {
            user_id: account.id,
            business_id: account.business_id,
            role: account.role,
            session_id: session.id,
            audience: session.audience,
        };
        Ok((caller, user))
    }
}

//! Who is it? Answered for every request, from what is remembered of three streams.

use domain::session::Audience;
use domain::{SessionId, UserId};

use crate::{Caller, Commands, Error};

/// What a token says, once its signature and its times have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who logged in.
    pub user_id: UserId,
    /// In which session.
    pub session_id: SessionId,
    /// For which API.
    pub audience: Audience,
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
    /// [`Error::Unauthorized`] when any of it isn't so.
    pub async fn authenticate(&self, claims: Claims) -> Result<Caller, Error> {
        const REFUSED: Error = Error::Unauthorized("invalid or expired token");
        let session = self.session(claims.session_id).await?;
        let session = session.state.live(self.clock.now()).ok_or(REFUSED)?;
        if session.user_id != claims.user_id || session.audience != claims.audience {
            return Err(REFUSED);
        }
        let user = self.user(session.user_id).await?;
        let account = user.state.active().ok_or(REFUSED)?;
        let is_admin = session.audience == Audience::Admin;
        if (is_admin && !account.role.may_administer()) || !self.business(account.business_id).await?.state.is_active()
        {
            return Err(REFUSED);
        }
        Ok(Caller {
            user_id: account.id,
            business_id: account.business_id,
            role: account.role,
            session_id: session.id,
            audience: session.audience,
        })
    }
}

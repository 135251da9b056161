//! Ending sessions: one's own, and as an administrator those of others.

use domain::session::{RevokeReason, Session, SessionCommand, SessionError};
use domain::user::{User, UserCommand};
use domain::{BusinessId, SessionId, UserId};

use crate::{Caller, Commands, Done, Error, Request};

impl Commands {
    /// Ends the session of the request.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn log_out(&self, request: &Request) -> Result<Done<()>, Error> {
        let Caller { session_id, business_id, .. } = request.caller;
        self.revoke(request, business_id, session_id, RevokeReason::LoggedOut).await
    }

    /// Ends a session of the caller's. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the caller has no such session.
    pub async fn end_own_session(&self, request: &Request, id: SessionId) -> Result<Done<()>, Error> {
        self.must_be_of(request.caller.user_id, id).await?;
        self.revoke(request, request.caller.business_id, id, RevokeReason::EndedByOwner).await
    }

    /// Ends a session of somebody whom the caller manages. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such person or session, or none that the caller may see; [`Error::Forbidden`] when the
    /// caller may see but not manage the person.
    pub async fn end_session_of(&self, request: &Request, user: UserId, id: SessionId) -> Result<Done<()>, Error> {
        let account = self.managed(request, user).await?;
        self.must_be_of(user, id).await?;
        self.revoke(request, account.business_id, id, RevokeReason::EndedByAdmin).await
    }

    /// Logs somebody out everywhere whom the caller manages.
    ///
    /// # Errors
    /// As [`Self::suspend_user`], but for oneself.
    pub async fn end_sessions_of(&self, request: &Request, user: UserId) -> Result<Done<()>, Error> {
        let account = self.managed(request, user).await?;
        let end = UserCommand::EndSessions { at: self.clock.now() };
        let metadata = request.metadata(account.business_id);
        let ended = self.repository.execute::<User>(&user.to_string(), end, &metadata).await?;
        Ok(self.done((), ended.position))
    }

    async fn must_be_of(&self, user: UserId, id: SessionId) -> Result<(), Error> {
        match &self.session(id).await?.state {
            Session::Live(session) | Session::Revoked(session) if session.user_id == user => Ok(()),
            Session::Unstarted | Session::Live(_) | Session::Revoked(_) => {
                Err(Error::rule(&SessionError::NoSuchSession))
            }
        }
    }

    async fn revoke(
        &self,
        request: &Request,
        business: BusinessId,
        id: SessionId,
        reason: RevokeReason,
    ) -> Result<Done<()>, Error> {
        let revoke = SessionCommand::Revoke { reason, at: self.clock.now() };
        let metadata = request.metadata(business);
        let revoked = self.repository.execute::<Session>(&id.to_string(), revoke, &metadata).await;
        Ok(self.done((), revoked?.position))
    }
}

//! A session: one login on one device, until it is revoked or runs out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{BusinessId, Decider, Personal, RefusalKind, RuleError, SessionId, Timestamp, UserAgent, UserId};

/// State of one session.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Session {
    /// Not started yet.
    #[default]
    Unstarted,
    /// Its tokens are good until it runs out.
    Live(Started),
    /// Its tokens are good for nothing.
    Revoked(Started),
}

/// Data of a session.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// Its id.
    pub id: SessionId,
    /// User who logged in.
    pub user_id: UserId,
    /// The business of that person.
    pub business_id: BusinessId,
    /// API of the login.
    pub audience: Audience,
    /// The person's epoch in which they did; see [`crate::user::Account::epoch`].
    pub epoch: u32,
    /// Number of the valid refresh token, counted from 1.
    pub generation: u32,
    /// Expiry of that refresh token.
    pub expires_at: Timestamp,
}

/// API that a session is for. A token of one is invalid at the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// `/api/admin`
    Admin,
    /// `/api/messenger` and the sockets
    Messenger,
}

impl Audience {
    /// The name in tokens and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Messenger => "messenger",
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevokeReason {
    /// The person logged out.
    LoggedOut,
    /// A refresh token was used a second time: one of the two who have it has stolen it.
    RefreshTokenReused,
    /// The person ended it from another device.
    EndedByOwner,
    /// An administrator ended it.
    EndedByAdmin,
}

/// Commands that a session accepts.
#[derive(Clone, Debug)]
pub enum SessionCommand {
    /// Begins it.
    Start(StartSession),
    /// Trades a refresh token in for the next one.
    Refresh { generation: u32, expires_at: Timestamp, at: Timestamp },
    /// Ends it.
    Revoke { reason: RevokeReason, at: Timestamp },
}

/// A new session.
#[derive(Clone, Debug)]
pub struct StartSession {
    pub id: SessionId,
    pub user_id: UserId,
    pub business_id: BusinessId,
    pub audience: Audience,
    /// The person's epoch.
    pub epoch: u32,
    /// Name that the device gives itself.
    pub user_agent: Option<UserAgent>,
    pub expires_at: Timestamp,
    pub at: Timestamp,
}

domain_events! {
    /// Events of a session.
    pub enum SessionEvent {
        "SessionStarted", version 1 => Started(SessionStarted),
        "SessionRefreshed", version 1 => Refreshed(SessionRefreshed),
        "SessionRevoked", version 1 => Revoked(SessionRevoked),
    }
}

/// A person logged in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionStarted {
    pub session_id: SessionId,
    pub user_id: UserId,
    pub business_id: BusinessId,
    pub audience: Audience,
    #[serde(default)]
    pub epoch: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Personal<String>>,
    pub expires_at: Timestamp,
    pub started_at: Timestamp,
}

/// The session goes on under its next refresh token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRefreshed {
    pub generation: u32,
    pub expires_at: Timestamp,
    pub refreshed_at: Timestamp,
}

/// The session is over before its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRevoked {
    pub reason: RevokeReason,
    pub revoked_at: Timestamp,
}

/// The rules of a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is no such session.
    #[error("session not found")]
    NoSuchSession,
    /// An id names one session for ever.
    #[error("this session has been started already")]
    AlreadyStarted,
    /// The session was revoked, or has run out.
    #[error("this session is over")]
    Over,
    /// No such refresh token has been given out yet.
    #[error("{}", Self::Over)]
    NoSuchRefreshToken,
}

impl RuleError for SessionError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NoSuchSession => RefusalKind::NotFound,
            Self::AlreadyStarted => RefusalKind::Conflict,
            Self::Over | Self::NoSuchRefreshToken => RefusalKind::Unauthorized,
        }
    }
}

impl Session {
    /// The session, if its tokens are good at this time.
    #[must_use]
    pub fn live(&self, at: Timestamp) -> Option<&Started> {
        match self {
            Self::Live(session) if at < session.expires_at => Some(session),
            Self::Unstarted | Self::Live(_) | Self::Revoked(_) => None,
        }
    }
}

impl Decider for Session {
    const CATEGORY: &'static str = "session";
    type Command = SessionCommand;
    type Event = SessionEvent;
    type Error = SessionError;

    fn decide(&self, command: SessionCommand) -> Result<Vec<SessionEvent>, SessionError> {
        use SessionCommand::{Refresh, Revoke, Start};
        match (command, self) {
            (Start(command), Self::Unstarted) => Ok(vec![SessionEvent::Started(SessionStarted {
                session_id: command.id,
                user_id: command.user_id,
                business_id: command.business_id,
                audience: command.audience,
                epoch: command.epoch,
                user_agent: command.user_agent.map(|agent| Personal::of(command.user_id, agent.into_string())),
                expires_at: command.expires_at,
                started_at: command.at,
            })]),
            (Start(_), Self::Live(_) | Self::Revoked(_)) => Err(SessionError::AlreadyStarted),
            (Refresh { .. } | Revoke { .. }, Self::Unstarted) => Err(SessionError::NoSuchSession),
            (Refresh { .. }, Self::Revoked(_)) => Err(SessionError::Over),
            (Refresh { at, .. }, Self::Live(session)) if at >= session.expires_at => Err(SessionError::Over),
            (Refresh { generation, .. }, Self::Live(session)) if generation > session.generation => {
                Err(SessionError::NoSuchRefreshToken)
            }
            (Refresh { generation, at, .. }, Self::Live(session)) if generation < session.generation => {
                let reason = RevokeReason::RefreshTokenReused;
                Ok(vec![SessionEvent::Revoked(SessionRevoked { reason, revoked_at: at })])
            }
            (Refresh { generation, expires_at, at }, Self::Live(_)) => {
                let generation = generation.saturating_add(1);
                Ok(vec![SessionEvent::Refreshed(SessionRefreshed { generation, expires_at, refreshed_at: at })])
            }
            (Revoke { reason, at }, Self::Live(_)) => {
                Ok(vec![SessionEvent::Revoked(SessionRevoked { reason, revoked_at: at })])
            }
            (Revoke { .. }, Self::Revoked(_)) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: &SessionEvent) {
        *self = match (event, std::mem::take(self)) {
            (SessionEvent::Started(event), Self::Unstarted) => Self::Live(Started {
                id: event.session_id,
                user_id: event.user_id,
                business_id: event.business_id,
                audience: event.audience,
                epoch: event.epoch,
                generation: 1,
                expires_at: event.expires_at,
            }),
            (SessionEvent::Refreshed(event), Self::Live(now)) => {
                Self::Live(Started { generation: event.generation, expires_at: event.expires_at, ..now })
            }
            (SessionEvent::Revoked(_), Self::Live(session)) => Self::Revoked(session),
            (SessionEvent::Started(_) | SessionEvent::Refreshed(_) | SessionEvent::Revoked(_), unchanged) => unchanged,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ID: SessionId = SessionId(Uuid::from_u128(3));

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_ms(s * 1000)
    }

    fn start() -> SessionCommand {
        SessionCommand::Start(StartSession {
            id: ID,
            user_id: UserId(Uuid::from_u128(7)),
            business_id: BusinessId(Uuid::from_u128(1)),
            audience: Audience::Messenger,
            epoch: 1,
            user_agent: UserAgent::tidied("Firefox"),
            expires_at: at(100),
            at: at(0),
        })
    }

    fn started() -> SessionEvent {
        SessionEvent::Started(SessionStarted {
            session_id: ID,
            user_id: UserId(Uuid::from_u128(7)),
            business_id: BusinessId(Uuid::from_u128(1)),
            audience: Audience::Messenger,
            epoch: 1,
            user_agent: Some(Personal::of(UserId(Uuid::from_u128(7)), "Firefox".to_owned())),
            expires_at: at(100),
            started_at: at(0),
        })
    }

    fn revoke() -> SessionCommand {
        SessionCommand::Revoke { reason: RevokeReason::LoggedOut, at: at(1) }
    }

    fn revoked() -> SessionEvent {
        SessionEvent::Revoked(SessionRevoked { reason: RevokeReason::LoggedOut, revoked_at: at(1) })
    }

    #[test]
    fn a_session_is_started_once() {
        given::<Session>([]).when(start()).then([started()]);
        given::<Session>([started()]).when(start()).then_err(SessionError::AlreadyStarted);
        given::<Session>([started(), revoked()]).when(start()).then_err(SessionError::AlreadyStarted);
    }

    #[test]
    fn a_session_is_revoked_for_good_and_repeating_it_changes_nothing() {
        given::<Session>([started()]).when(revoke()).then([revoked()]);
        given::<Session>([started(), revoked()]).when(revoke()).then_nothing();
        assert_eq!(Session::replay(&[started(), revoked()]).live(at(2)), None);
    }

    #[test]
    fn nothing_can_be_done_to_a_session_that_does_not_exist() {
        given::<Session>([]).when(revoke()).then_err(SessionError::NoSuchSession);
        given::<Session>([]).when(refresh(1, 50)).then_err(SessionError::NoSuchSession);
    }

    fn refresh(generation: u32, s: i64) -> SessionCommand {
        SessionCommand::Refresh { generation, expires_at: at(s + 100), at: at(s) }
    }

    fn refreshed(generation: u32, s: i64) -> SessionEvent {
        SessionEvent::Refreshed(SessionRefreshed { generation, expires_at: at(s + 100), refreshed_at: at(s) })
    }

    #[test]
    fn each_refresh_token_is_good_for_the_next_one() {
        given::<Session>([started()]).when(refresh(1, 50)).then([refreshed(2, 50)]);
        given::<Session>([started(), refreshed(2, 50)]).when(refresh(2, 140)).then([refreshed(3, 140)]);
    }

    #[test]
    fn a_refresh_token_used_again_ends_the_session() {
        let reused = SessionRevoked { reason: RevokeReason::RefreshTokenReused, revoked_at: at(60) };
        given::<Session>([started(), refreshed(2, 50)]).when(refresh(1, 60)).then([SessionEvent::Revoked(reused)]);
    }

    #[test]
    fn a_session_that_is_over_is_not_refreshed() {
        given::<Session>([started()]).when(refresh(1, 100)).then_err(SessionError::Over);
        given::<Session>([started(), revoked()]).when(refresh(1, 50)).then_err(SessionError::Over);
    }

    #[test]
    fn a_refresh_token_that_was_never_given_out_is_good_for_nothing() {
        given::<Session>([started()]).when(refresh(2, 50)).then_err(SessionError::NoSuchRefreshToken);
    }

    #[test]
    fn a_session_runs_out() {
        let session = Session::replay(&[started()]);
        assert!(session.live(at(99)).is_some());
        assert!(session.live(at(100)).is_none());
    }

    proptest! {
        #[test]
        fn once_revoked_it_never_lives_again(
            before in prop::collection::vec(prop::sample::select(vec![started(), refreshed(2, 50), revoked()]), 0..8),
            after in prop::collection::vec(prop::sample::select(vec![started(), refreshed(2, 50), revoked()]), 0..8),
        ) {
            let mut state = Session::replay(&before);
            let was_revoked = matches!(state, Session::Revoked(_));
            for event in &after {
                state.evolve(event);
            }
            prop_assert!(!was_revoked || state.live(at(0)).is_none());
        }
    }
}

//! A login: the reservation of one email in one business.
//!
//! Two streams can't be written at once, so creating a person takes two appends: the email is reserved here, then the person is
//! created. Whoever finds a reservation without its person fences it off (see [`UserCommand::Abandon`]) and releases it.
//!
//! [`UserCommand::Abandon`]: crate::user::UserCommand::Abandon

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{BusinessId, Decider, RefusalKind, RuleError, Timestamp, UserId};

/// State of one login.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Login {
    /// Available.
    #[default]
    Free,
    /// It belongs to a person who was, or is just about to be, created.
    Reserved {
        /// Where.
        business_id: BusinessId,
        /// That person.
        user_id: UserId,
        /// Since when.
        reserved_at: Timestamp,
    },
}

/// Commands that a login accepts.
#[derive(Clone, Debug)]
pub enum LoginCommand {
    /// Takes the email for a person about to be created.
    Reserve { business_id: BusinessId, user_id: UserId, at: Timestamp },
    /// Gives it back, because that person can never be created.
    Release { user_id: UserId, at: Timestamp },
}

domain_events! {
    /// Events of a login.
    pub enum LoginEvent {
        "LoginReserved", version 1 => Reserved(LoginReserved),
        "LoginReleased", version 1 => Released(LoginReleased),
    }
}

/// The email is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoginReserved {
    pub business_id: BusinessId,
    pub user_id: UserId,
    pub reserved_at: Timestamp,
}

/// The email is free again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoginReleased {
    pub user_id: UserId,
    pub released_at: Timestamp,
}

/// The rules of a login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Logins are unique within a business.
    #[error("this email is in use already")]
    Taken,
    /// An administrator's email and password fit accounts of several businesses.
    #[error("this email belongs to several businesses: say which with businessId")]
    SeveralBusinesses,
}

impl RuleError for LoginError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::Taken | Self::SeveralBusinesses => RefusalKind::Conflict,
        }
    }
}

impl Login {
    /// Returns the user who has reserved it.
    #[must_use]
    pub fn holder(&self) -> Option<UserId> {
        match self {
            Self::Free => None,
            Self::Reserved { user_id, .. } => Some(*user_id),
        }
    }
}

impl Decider for Login {
    const CATEGORY: &'static str = "login";
    type Command = LoginCommand;
    type Event = LoginEvent;
    type Error = LoginError;

    fn decide(&self, command: LoginCommand) -> Result<Vec<LoginEvent>, LoginError> {
        use LoginCommand::{Release, Reserve};
        match (command, self) {
            (Reserve { business_id, user_id, at }, Self::Free) => {
                Ok(vec![LoginEvent::Reserved(LoginReserved { business_id, user_id, reserved_at: at })])
            }
            (Reserve { user_id, .. }, Self::Reserved { user_id: holder, .. }) if user_id == *holder => Ok(vec![]),
            (Reserve { .. }, Self::Reserved { .. }) => Err(LoginError::Taken),
            (Release { user_id, at }, Self::Reserved { user_id: holder, .. }) if user_id == *holder => {
                Ok(vec![LoginEvent::Released(LoginReleased { user_id, released_at: at })])
            }
            // Somebody else has released it, and perhaps taken it, meanwhile.
            (Release { .. }, Self::Free | Self::Reserved { .. }) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: &LoginEvent) {
        *self = match event {
            LoginEvent::Reserved(event) => Self::Reserved {
                business_id: event.business_id,
                user_id: event.user_id,
                reserved_at: event.reserved_at,
            },
            LoginEvent::Released(_) => Self::Free,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const BUSINESS: BusinessId = BusinessId(Uuid::from_u128(1));

    fn user(n: u128) -> UserId {
        UserId(Uuid::from_u128(n))
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_ms(s * 1000)
    }

    fn reserve(n: u128) -> LoginCommand {
        LoginCommand::Reserve { business_id: BUSINESS, user_id: user(n), at: at(1) }
    }

    fn release(n: u128) -> LoginCommand {
        LoginCommand::Release { user_id: user(n), at: at(2) }
    }

    fn reserved(n: u128) -> LoginEvent {
        LoginEvent::Reserved(LoginReserved { business_id: BUSINESS, user_id: user(n), reserved_at: at(1) })
    }

    fn released(n: u128) -> LoginEvent {
        LoginEvent::Released(LoginReleased { user_id: user(n), released_at: at(2) })
    }

    #[test]
    fn a_free_login_can_be_reserved() {
        given::<Login>([]).when(reserve(1)).then([reserved(1)]);
        given::<Login>([reserved(1), released(1)]).when(reserve(2)).then([reserved(2)]);
    }

    #[test]
    fn a_reserved_login_is_taken_for_everyone_else() {
        given::<Login>([reserved(1)]).when(reserve(2)).then_err(LoginError::Taken);
    }

    #[test]
    fn reserving_it_again_for_the_same_person_changes_nothing() {
        given::<Login>([reserved(1)]).when(reserve(1)).then_nothing();
    }

    #[test]
    fn only_its_own_reservation_is_released() {
        given::<Login>([reserved(1)]).when(release(1)).then([released(1)]);
        given::<Login>([reserved(1)]).when(release(2)).then_nothing();
        given::<Login>([]).when(release(1)).then_nothing();
    }

    proptest! {
        #[test]
        fn a_login_changes_hands_only_through_being_free(
            commands in prop::collection::vec((1_u128..4, any::<bool>()), 0..30),
        ) {
            let mut state = Login::default();
            for (n, reserving) in commands {
                let before = state.holder();
                for event in state.decide(if reserving { reserve(n) } else { release(n) }).unwrap_or_default() {
                    state.evolve(&event);
                }
                prop_assert!(before.is_none() || state.holder().is_none() || before == state.holder());
            }
        }
    }
}

//! A person's account in one business.

use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{Avatar, BusinessId, Decider, EmailAddress, Invalid, PersonName, Personal, Role, Timestamp, UserId};

/// State of one account.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum User {
    /// Nobody has created it.
    #[default]
    Uncreated,
    /// Its creation was given up half-way and the login released: it can never be created.
    Abandoned,
    /// In use.
    Active(Account),
    /// Shut out by an administrator.
    Suspended(Account),
}

/// What is known of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// The business it belongs to, for ever.
    pub business_id: BusinessId,
    /// The login.
    pub email: Personal<String>,
    /// What the person is called.
    pub name: Personal<String>,
    /// Where the person's picture is.
    pub avatar: Option<Personal<String>>,
    /// What the account may do.
    pub role: Role,
    /// The password, as a PHC string.
    pub password_hash: Personal<String>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// What may be asked of an account.
#[derive(Clone, Debug)]
pub enum UserCommand {
    /// Makes a new account.
    Create(CreateUser),
    /// Makes sure that an account which doesn't exist never will: its login is about to be given to somebody else.
    Abandon { at: Timestamp },
    /// Shuts the person out.
    Suspend { by: UserId, at: Timestamp },
    /// Lets the person in again.
    Reactivate { at: Timestamp },
}

/// A new account, with everything already checked that can be checked without looking at others.
#[derive(Clone, Debug)]
pub struct CreateUser {
    pub id: UserId,
    pub business_id: BusinessId,
    pub email: EmailAddress,
    pub name: PersonName,
    pub avatar: Option<Avatar>,
    pub role: Role,
    /// PHC string of a slow hash; never the password.
    pub password_hash: String,
    pub at: Timestamp,
}

domain_events! {
    /// What may have happened to an account.
    pub enum UserEvent {
        "UserCreated", version 1 => Created(UserCreated),
        "UserAbandoned", version 1 => Abandoned(UserAbandoned),
        "UserSuspended", version 1 => Suspended(UserSuspended),
        "UserReactivated", version 1 => Reactivated(UserReactivated),
    }
}

/// A person has an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserCreated {
    pub user_id: UserId,
    pub business_id: BusinessId,
    pub email: Personal<String>,
    pub name: Personal<String>,
    pub avatar: Option<Personal<String>>,
    pub role: Role,
    pub password_hash: Personal<String>,
    pub created_at: Timestamp,
}

/// The account will never be created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserAbandoned {
    pub abandoned_at: Timestamp,
}

/// The person is shut out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserSuspended {
    pub suspended_at: Timestamp,
}

/// The person gets in again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserReactivated {
    pub reactivated_at: Timestamp,
}

/// The rules of an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// There is no such account.
    #[error("there is no such user")]
    NoSuchUser,
    /// An id names one account for ever.
    #[error("this user exists already")]
    AlreadyCreated,
    /// Somebody took too long, and the email was given to somebody else.
    #[error("the creation of this user was given up")]
    CreationAbandoned,
    /// A business has business roles, the system business system roles.
    #[error("{0}")]
    RoleDoesNotFit(Invalid),
    /// Administrators can't shut themselves out: nobody might be left to let them in.
    #[error("nobody can suspend themselves")]
    NotOneself,
}

impl User {
    /// What is known of it, once it is created.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        match self {
            Self::Uncreated | Self::Abandoned => None,
            Self::Active(account) | Self::Suspended(account) => Some(account),
        }
    }

    /// The account, if the person gets in with it.
    #[must_use]
    pub fn active(&self) -> Option<&Account> {
        match self {
            Self::Active(account) => Some(account),
            Self::Uncreated | Self::Abandoned | Self::Suspended(_) => None,
        }
    }
}

impl Decider for User {
    const CATEGORY: &'static str = "user";
    type Command = UserCommand;
    type Event = UserEvent;
    type Error = UserError;

    fn decide(&self, command: UserCommand) -> Result<Vec<UserEvent>, UserError> {
        use UserCommand::{Abandon, Create, Reactivate, Suspend};
        match (command, self) {
            (Create(command), Self::Uncreated) => {
                if !command.role.fits(command.business_id) {
                    let reason = "must be a system role in the system business, a business role in every other";
                    return Err(UserError::RoleDoesNotFit(Invalid::new("role", reason)));
                }
                Ok(vec![UserEvent::Created(UserCreated {
                    user_id: command.id,
                    business_id: command.business_id,
                    email: Personal::of(command.id, command.email.into_string()),
                    name: Personal::of(command.id, command.name.into_string()),
                    avatar: command.avatar.map(|avatar| Personal::of(command.id, avatar.into_string())),
                    role: command.role,
                    password_hash: Personal::of(command.id, command.password_hash),
                    created_at: command.at,
                })])
            }
            (Create(_), Self::Abandoned) => Err(UserError::CreationAbandoned),
            (Create(_), Self::Active(_) | Self::Suspended(_)) => Err(UserError::AlreadyCreated),

            (Abandon { at }, Self::Uncreated) => Ok(vec![UserEvent::Abandoned(UserAbandoned { abandoned_at: at })]),
            (Abandon { .. }, Self::Abandoned) => Ok(vec![]),
            (Abandon { .. }, Self::Active(_) | Self::Suspended(_)) => Err(UserError::AlreadyCreated),

            (Suspend { .. } | Reactivate { .. }, Self::Uncreated | Self::Abandoned) => Err(UserError::NoSuchUser),
            (Suspend { by, .. }, Self::Active(account)) if by == account.id => Err(UserError::NotOneself),
            (Suspend { at, .. }, Self::Active(_)) => Ok(vec![UserEvent::Suspended(UserSuspended { suspended_at: at })]),
            (Suspend { .. }, Self::Suspended(_)) | (Reactivate { .. }, Self::Active(_)) => Ok(vec![]),
            (Reactivate { at }, Self::Suspended(_)) => {
                Ok(vec![UserEvent::Reactivated(UserReactivated { reactivated_at: at })])
            }
        }
    }

    fn evolve(&mut self, event: &UserEvent) {
        *self = match (event, std::mem::take(self)) {
            (UserEvent::Created(event), Self::Uncreated) => Self::Active(Account {
                id: event.user_id,
                business_id: event.business_id,
                email: event.email.clone(),
                name: event.name.clone(),
                avatar: event.avatar.clone(),
                role: event.role,
                password_hash: event.password_hash.clone(),
                created_at: event.created_at,
            }),
            (UserEvent::Abandoned(_), Self::Uncreated) => Self::Abandoned,
            (UserEvent::Suspended(_), Self::Active(account)) => Self::Suspended(account),
            (UserEvent::Reactivated(_), Self::Suspended(account)) => Self::Active(account),
            (
                UserEvent::Created(_) | UserEvent::Abandoned(_) | UserEvent::Suspended(_) | UserEvent::Reactivated(_),
                unchanged,
            ) => unchanged,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ID: UserId = UserId(Uuid::from_u128(7));
    const ADMIN: UserId = UserId(Uuid::from_u128(8));
    const BUSINESS: BusinessId = BusinessId(Uuid::from_u128(1));

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_ms(s * 1000)
    }

    fn create_as(role: Role, business_id: BusinessId) -> UserCommand {
        UserCommand::Create(CreateUser {
            id: ID,
            business_id,
            email: EmailAddress::parse("jane@business.com").unwrap(),
            name: PersonName::parse("Jane Smith").unwrap(),
            avatar: None,
            role,
            password_hash: "$argon2id$…".into(),
            at: at(0),
        })
    }

    fn created() -> UserEvent {
        UserEvent::Created(UserCreated {
            user_id: ID,
            business_id: BUSINESS,
            email: Personal::of(ID, "jane@business.com".into()),
            name: Personal::of(ID, "Jane Smith".into()),
            avatar: None,
            role: Role::BusinessUser,
            password_hash: Personal::of(ID, "$argon2id$…".into()),
            created_at: at(0),
        })
    }

    fn abandoned() -> UserEvent {
        UserEvent::Abandoned(UserAbandoned { abandoned_at: at(1) })
    }

    fn suspended() -> UserEvent {
        UserEvent::Suspended(UserSuspended { suspended_at: at(1) })
    }

    fn reactivated() -> UserEvent {
        UserEvent::Reactivated(UserReactivated { reactivated_at: at(2) })
    }

    fn create() -> UserCommand {
        create_as(Role::BusinessUser, BUSINESS)
    }

    fn suspend() -> UserCommand {
        UserCommand::Suspend { by: ADMIN, at: at(1) }
    }

    fn reactivate() -> UserCommand {
        UserCommand::Reactivate { at: at(2) }
    }

    fn abandon() -> UserCommand {
        UserCommand::Abandon { at: at(1) }
    }

    #[test]
    fn an_account_is_created_once() {
        given::<User>([]).when(create()).then([created()]);
        given::<User>([created()]).when(create()).then_err(UserError::AlreadyCreated);
        given::<User>([created(), suspended()]).when(create()).then_err(UserError::AlreadyCreated);
    }

    #[test]
    fn system_roles_are_for_the_system_business_alone() {
        for (role, business_id) in [(Role::SystemAuditor, BUSINESS), (Role::BusinessAdmin, BusinessId::SYSTEM)] {
            let invalid =
                Invalid::new("role", "must be a system role in the system business, a business role in every other");
            given::<User>([]).when(create_as(role, business_id)).then_err(UserError::RoleDoesNotFit(invalid));
        }
    }

    #[test]
    fn an_abandoned_account_is_never_created() {
        given::<User>([]).when(abandon()).then([abandoned()]);
        given::<User>([abandoned()]).when(abandon()).then_nothing();
        given::<User>([abandoned()]).when(create()).then_err(UserError::CreationAbandoned);
    }

    #[test]
    fn an_account_that_exists_is_not_abandoned() {
        given::<User>([created()]).when(abandon()).then_err(UserError::AlreadyCreated);
    }

    #[test]
    fn it_can_be_suspended_and_reactivated_and_repeating_either_changes_nothing() {
        given::<User>([created()]).when(suspend()).then([suspended()]);
        given::<User>([created(), suspended()]).when(suspend()).then_nothing();
        given::<User>([created(), suspended()]).when(reactivate()).then([reactivated()]);
        given::<User>([created()]).when(reactivate()).then_nothing();
    }

    #[test]
    fn nobody_suspends_themselves() {
        given::<User>([created()]).when(UserCommand::Suspend { by: ID, at: at(1) }).then_err(UserError::NotOneself);
    }

    #[test]
    fn nothing_can_be_done_to_an_account_that_does_not_exist() {
        for command in [suspend(), reactivate()] {
            given::<User>([]).when(command.clone()).then_err(UserError::NoSuchUser);
            given::<User>([abandoned()]).when(command).then_err(UserError::NoSuchUser);
        }
    }

    fn any_event() -> impl Strategy<Value = UserEvent> {
        prop::sample::select(vec![created(), abandoned(), suspended(), reactivated()])
    }

    fn any_command() -> impl Strategy<Value = UserCommand> {
        prop::sample::select(vec![create(), abandon(), suspend(), reactivate()])
    }

    proptest! {
        #[test]
        fn any_history_replays(history in prop::collection::vec(any_event(), 0..20)) {
            User::replay(&history);
        }

        #[test]
        fn whatever_is_asked_an_account_never_leaves_its_business(commands in prop::collection::vec(any_command(), 0..20)) {
            let mut state = User::default();
            for command in commands {
                let existed = state.account().is_some();
                for event in state.decide(command).unwrap_or_default() {
                    state.evolve(&event);
                }
                prop_assert!(!existed || state.account().is_some_and(|account| account.business_id == BUSINESS));
            }
        }
    }
}

//! A person's account in one business.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{
    Avatar, BusinessId, Decider, DisplayName, EmailAddress, Invalid, Personal, RefusalKind, Role, RuleError, SessionId,
    Timestamp, UserId,
};

#[cfg(test)]
mod tests;

/// State of one account.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum User {
    /// Not created yet.
    #[default]
    Uncreated,
    /// Its creation was given up half-way and the login released: it can never be created.
    Abandoned,
    /// In use.
    Active(Account),
    /// Shut out by an administrator.
    Suspended(Account),
}

/// Data of an account.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// The business it belongs to, for ever.
    pub business_id: BusinessId,
    /// The login.
    pub email: Personal<String>,
    /// Display name.
    pub name: Personal<String>,
    /// URL of the avatar.
    pub avatar: Option<Personal<String>>,
    /// Role of the account.
    pub role: Role,
    /// The password, as a PHC string. Never shown to anybody.
    #[serde(skip)]
    pub password_hash: Personal<String>,
    /// True if somebody else has set the password: at the creation, or by a reset.
    pub password_is_temporary: bool,
    /// Counts how often the person was logged out everywhere, or shut out. Sessions of earlier epochs are over, but for [`Self::kept_session`].
    pub epoch: u32,
    /// The session that outlived the end of the last epoch: the one in which the person ended it.
    pub kept_session: Option<SessionId>,
    /// Time of creation.
    pub created_at: Timestamp,
}

/// Commands that an account accepts.
#[derive(Clone, Debug)]
pub enum UserCommand {
    /// Makes a new account.
    Create(CreateUser),
    /// Makes sure that an account which doesn't exist never will: its login is about to be given to somebody else.
    Abandon { at: Timestamp },
    /// Shuts the person out, and logs them out everywhere.
    Suspend { by: UserId, at: Timestamp },
    /// Lets the person in again.
    Reactivate { at: Timestamp },
    /// Changes what is known of the person.
    Change(ChangeUser),
    /// Gives the account another password, and logs the person out of every session but the one in which they do so themselves.
    SetPassword(SetPassword),
    /// Logs the person out everywhere.
    EndSessions { at: Timestamp },
}

/// Change of an avatar.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AvatarChange {
    /// It stays.
    #[default]
    Unchanged,
    /// It is taken away.
    TakenAway,
    /// It is another one.
    Replaced(Avatar),
}

/// Whatever is said is changed, and nothing else.
#[derive(Clone, Debug)]
pub struct ChangeUser {
    pub name: Option<DisplayName>,
    pub avatar: AvatarChange,
    /// New role. Permission, and that a super admin is left, were checked before.
    pub role: Option<Role>,
    pub at: Timestamp,
}

/// Another password.
#[derive(Clone, Debug)]
pub struct SetPassword {
    /// PHC string of a slow hash; never the password.
    pub password_hash: String,
    /// True if an administrator has set it.
    pub is_temporary: bool,
    /// The session that goes on.
    pub kept_session: Option<SessionId>,
    /// The epoch in which the person has proved that they know the password of before; none when somebody else sets it.
    pub proved_in: Option<u32>,
    pub at: Timestamp,
}

/// A new account, with everything already checked that can be checked without looking at others.
#[derive(Clone, Debug)]
pub struct CreateUser {
    pub id: UserId,
    pub business_id: BusinessId,
    pub email: EmailAddress,
    pub name: DisplayName,
    pub avatar: Option<Avatar>,
    pub role: Role,
    /// PHC string of a slow hash; never the password.
    pub password_hash: String,
    pub at: Timestamp,
}

domain_events! {
    /// Events of an account.
    pub enum UserEvent {
        "UserCreated", version 1 => Created(UserCreated),
        "UserAbandoned", version 1 => Abandoned(UserAbandoned),
        "UserSuspended", version 1 => Suspended(UserSuspended),
        "UserReactivated", version 1 => Reactivated(UserReactivated),
        "UserRenamed", version 1 => Renamed(UserRenamed),
        "UserAvatarChanged", version 1 => AvatarChanged(UserAvatarChanged),
        "UserRoleChanged", version 1 => RoleChanged(UserRoleChanged),
        "UserPasswordChanged", version 1 => PasswordChanged(UserPasswordChanged),
        "UserSessionsEnded", version 1 => SessionsEnded(UserSessionsEnded),
    }
}

/// A person has an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserAbandoned {
    pub abandoned_at: Timestamp,
}

/// The person is shut out, and every session of theirs is over for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserSuspended {
    pub suspended_at: Timestamp,
}

/// The person gets in again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserReactivated {
    pub reactivated_at: Timestamp,
}

/// The person has another name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserRenamed {
    pub name: Personal<String>,
    pub renamed_at: Timestamp,
}

/// The person has another picture, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserAvatarChanged {
    pub avatar: Option<Personal<String>>,
    pub changed_at: Timestamp,
}

/// The account may do other things.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserRoleChanged {
    pub role: Role,
    pub changed_at: Timestamp,
}

/// The account has another password. Every session is over but the one that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserPasswordChanged {
    pub password_hash: Personal<String>,
    pub is_temporary: bool,
    pub kept_session: Option<SessionId>,
    pub changed_at: Timestamp,
}

/// Every session of the person is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserSessionsEnded {
    pub ended_at: Timestamp,
}

/// The rules of an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// There is no such account.
    #[error("user not found")]
    NoSuchUser,
    /// There is no such user in the sender's business.
    #[error("recipient not found")]
    NoSuchRecipient,
    /// An id names one account for ever.
    #[error("this user exists already")]
    AlreadyCreated,
    /// Creation took too long, and the email was given to another account.
    #[error("creating this user took too long: try again")]
    CreationAbandoned,
    /// The password, or the right to be here, has gone since it was proved.
    #[error("your account was changed meanwhile")]
    ChangedMeanwhile,
    /// A business has business roles, the system business system roles.
    #[error("{0}")]
    RoleDoesNotFit(Invalid),
    /// Administrators can't shut themselves out: nobody might be left to let them in.
    #[error("nobody can suspend themselves")]
    NotOneself,
    /// An administrator's own password is changed by whoever knows it.
    #[error("one's own password is changed, not reset")]
    OwnPassword,
}

impl RuleError for UserError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NoSuchUser | Self::NoSuchRecipient => RefusalKind::NotFound,
            Self::RoleDoesNotFit(invalid) => invalid.kind(),
            Self::AlreadyCreated
            | Self::CreationAbandoned
            | Self::ChangedMeanwhile
            | Self::NotOneself
            | Self::OwnPassword => RefusalKind::Conflict,
        }
    }
}

impl User {
    /// Returns its data, once it is created.
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

impl Account {
    /// Returns true if a session that began in this epoch is still valid.
    #[must_use]
    pub fn keeps(&self, session: SessionId, epoch: u32) -> bool {
        epoch == self.epoch || self.kept_session == Some(session)
    }

    fn changed_by(mut self, event: &UserEvent) -> Self {
        match event {
            UserEvent::Renamed(event) => self.name = event.name.clone(),
            UserEvent::AvatarChanged(event) => self.avatar.clone_from(&event.avatar),
            UserEvent::RoleChanged(event) => self.role = event.role,
            UserEvent::PasswordChanged(event) => {
                self.password_hash = event.password_hash.clone();
                self.password_is_temporary = event.is_temporary;
                self.epoch += 1;
                self.kept_session = event.kept_session;
            }
            // Whoever is let in again logs in again: what was stolen before stays worthless.
            UserEvent::SessionsEnded(_) | UserEvent::Suspended(_) => {
                self.epoch += 1;
                self.kept_session = None;
            }
            UserEvent::Created(_) | UserEvent::Abandoned(_) | UserEvent::Reactivated(_) => {}
        }
        self
    }

    /// Returns the events of a change.
    fn change(&self, change: ChangeUser) -> Result<Vec<UserEvent>, UserError> {
        let at = change.at;
        let mut events = vec![];
        if let Some(name) = change.name
            && self.name.known().is_none_or(|known| known != name.as_str())
        {
            let name = Personal::of(self.id, name.into_string());
            events.push(UserEvent::Renamed(UserRenamed { name, renamed_at: at }));
        }
        let avatar = match change.avatar {
            AvatarChange::Unchanged => self.avatar.clone(),
            AvatarChange::TakenAway => None,
            AvatarChange::Replaced(avatar) => Some(Personal::of(self.id, avatar.into_string())),
        };
        if avatar != self.avatar {
            events.push(UserEvent::AvatarChanged(UserAvatarChanged { avatar, changed_at: at }));
        }
        if let Some(role) = change.role
            && role != self.role
        {
            must_fit(role, self.business_id)?;
            events.push(UserEvent::RoleChanged(UserRoleChanged { role, changed_at: at }));
        }
        Ok(events)
    }
}

fn must_fit(role: Role, business: BusinessId) -> Result<(), UserError> {
    if role.fits(business) {
        return Ok(());
    }
    let reason = "must be a system role in the system business, a business role in every other";
    Err(UserError::RoleDoesNotFit(Invalid::new("role", reason)))
}

impl Decider for User {
    const CATEGORY: &'static str = "user";
    type Command = UserCommand;
    type Event = UserEvent;
    type Error = UserError;

    fn decide(&self, command: UserCommand) -> Result<Vec<UserEvent>, UserError> {
        use UserCommand::{Abandon, Change, Create, EndSessions, Reactivate, SetPassword, Suspend};
        match (command, self) {
            (Create(command), Self::Uncreated) => {
                must_fit(command.role, command.business_id)?;
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

            (
                Suspend { .. } | Reactivate { .. } | Change(_) | SetPassword(_) | EndSessions { .. },
                Self::Uncreated | Self::Abandoned,
            ) => Err(UserError::NoSuchUser),
            (Suspend { by, .. }, Self::Active(account)) if by == account.id => Err(UserError::NotOneself),
            (Suspend { at, .. }, Self::Active(_)) => Ok(vec![UserEvent::Suspended(UserSuspended { suspended_at: at })]),
            (Suspend { .. }, Self::Suspended(_)) | (Reactivate { .. }, Self::Active(_)) => Ok(vec![]),
            (Reactivate { at }, Self::Suspended(_)) => {
                Ok(vec![UserEvent::Reactivated(UserReactivated { reactivated_at: at })])
            }

            (Change(change), Self::Active(account) | Self::Suspended(account)) => account.change(change),
            (SetPassword(command), Self::Suspended(_)) if command.proved_in.is_some() => {
                Err(UserError::ChangedMeanwhile)
            }
            (SetPassword(command), Self::Active(account))
                if command.proved_in.is_some_and(|epoch| epoch != account.epoch) =>
            {
                Err(UserError::ChangedMeanwhile)
            }
            (SetPassword(command), Self::Active(account) | Self::Suspended(account)) => {
                Ok(vec![UserEvent::PasswordChanged(UserPasswordChanged {
                    password_hash: Personal::of(account.id, command.password_hash),
                    is_temporary: command.is_temporary,
                    kept_session: command.kept_session,
                    changed_at: command.at,
                })])
            }
            (EndSessions { at }, Self::Active(_) | Self::Suspended(_)) => {
                Ok(vec![UserEvent::SessionsEnded(UserSessionsEnded { ended_at: at })])
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
                // Whoever creates an account for somebody knows its password.
                password_is_temporary: true,
                epoch: 0,
                kept_session: None,
                created_at: event.created_at,
            }),
            (UserEvent::Abandoned(_), Self::Uncreated) => Self::Abandoned,
            (UserEvent::Suspended(_), Self::Active(account)) => Self::Suspended(account.changed_by(event)),
            (UserEvent::Reactivated(_), Self::Suspended(account)) => Self::Active(account),
            (event, Self::Active(account)) => Self::Active(account.changed_by(event)),
            (event, Self::Suspended(account)) => Self::Suspended(account.changed_by(event)),
            (_, unchanged @ (Self::Uncreated | Self::Abandoned)) => unchanged,
        };
    }

    fn heap_bytes(&self) -> usize {
        let Some(account) = self.account() else { return 0 };
        let avatar = account.avatar.as_ref().map_or(0, Personal::heap_bytes);
        account.email.heap_bytes() + account.name.heap_bytes() + account.password_hash.heap_bytes() + avatar
    }
}

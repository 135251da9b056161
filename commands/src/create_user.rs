//! Creating a person: first the login is reserved, then the account is created under it.

use domain::business::BusinessError;
use domain::login::{Login, LoginCommand, LoginError};
use domain::user::{Account, CreateUser, User, UserCommand, UserError};
use domain::{
    Avatar, BusinessId, Decider, DisplayName, EmailAddress, Password, PermissionError, Role, Timestamp, UserId,
};
use event_store::Metadata;
use uuid::Uuid;

use crate::passwords::hashed_for;
use crate::unfinished_logins::PATIENCE_MS;
use crate::{Commands, Done, Error, HashedFor, Request};

/// A person about to get an account.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Where.
    pub business_id: BusinessId,
    /// The login.
    pub email: EmailAddress,
    /// Display name.
    pub name: DisplayName,
    /// URL of the avatar.
    pub avatar: Option<Avatar>,
    /// Role of the account.
    pub role: Role,
    /// The first password.
    pub password: Password,
}

impl Commands {
    /// Creates an account.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when the caller manages nobody, or nobody of that role; [`Error::NotFound`] when there is no such
    /// business, or none that the caller may see; [`Error::Conflict`] when the email is in use there.
    pub async fn create_user(&self, request: &Request, new: NewUser) -> Result<Done<Account>, Error> {
        let caller = &request.caller;
        if !Role::ALL.into_iter().any(|role| caller.role.may_manage(caller.business_id, role, caller.business_id)) {
            return Err(Error::rule(&PermissionError::CreateUsers));
        }
        if !caller.role.may_see(caller.business_id, new.business_id) {
            return Err(Error::rule(&BusinessError::NoSuchBusiness));
        }
        self.registered_business(new.business_id).await?;
        if !caller.role.may_manage(caller.business_id, new.role, new.business_id) {
            return Err(Error::rule(&PermissionError::CreateUsersWithRole));
        }
        let id = UserId(self.ids.next());
        self.create_user_as(id, new, hashed_for(request), &request.metadata(request.caller.business_id)).await
    }

    /// Creates an account under an id that is known beforehand, without asking who may.
    pub(crate) async fn create_user_as(
        &self,
        id: UserId,
        new: NewUser,
        whom: HashedFor,
        metadata: &Metadata,
    ) -> Result<Done<Account>, Error> {
        let metadata = Metadata { business_id: new.business_id.0, ..metadata.clone() };
        let login_id = self.keyed_hash.login_id(new.business_id, &new.email);
        // Looked at before the slow hash is computed; the reservation decides.
        if self.login(&login_id).await?.state.holder().is_some_and(|holder| holder != id) {
            self.release_if_unfinished(&login_id).await?;
        }
        let password_hash = self.passwords.hash(whom, new.password).await?;
        let at = self.clock.now();
        let create = UserCommand::Create(CreateUser {
            id,
            business_id: new.business_id,
            email: new.email,
            name: new.name,
            avatar: new.avatar,
            role: new.role,
            password_hash,
            at,
        });
        // What the rules refuse anyway reserves nothing.
        User::default().decide(create.clone()).map_err(|rule| Error::rule(&rule))?;
        let reserved = self.reserve_login(&login_id, new.business_id, id, at, &metadata).await?;
        let metadata = Metadata { causation_id: reserved, ..metadata };
        // When this fails, whether the account was created is unknown; if it wasn't, its login is released later.
        let created = self.repository.execute::<User>(&id.to_string(), create, &metadata).await?;
        let account = created.state.account().cloned().ok_or_else(|| Error::rule(&UserError::NoSuchUser))?;
        Ok(self.done(account, created.position))
    }

    /// Returns the event of the reservation.
    async fn reserve_login(
        &self,
        login_id: &str,
        business_id: BusinessId,
        user_id: UserId,
        at: Timestamp,
        metadata: &Metadata,
    ) -> Result<Option<Uuid>, Error> {
        let reserve = LoginCommand::Reserve { business_id, user_id, at };
        Ok(self.repository.execute::<Login>(login_id, reserve, metadata).await?.last_event)
    }

    /// Frees a login that has waited too long for its account.
    ///
    /// # Errors
    /// [`Error::Conflict`] when its account exists, or may still come.
    async fn release_if_unfinished(&self, login_id: &str) -> Result<(), Error> {
        let login = self.login(login_id).await?;
        let Login::Reserved { user_id, reserved_at, .. } = login.state else { return Ok(()) };
        if self.user(user_id).await?.state.account().is_some() || self.clock.now() < reserved_at.plus_ms(PATIENCE_MS) {
            return Err(Error::rule(&LoginError::Taken));
        }
        self.release_login(login_id, user_id).await
    }
}

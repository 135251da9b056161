//! Managing people.

use domain::user::{Account, AvatarChange, ChangeUser, User, UserCommand, UserError};
use domain::{DisplayName, Invalid, PermissionError, Role, UserId};

use crate::{Commands, Done, Error, Request};

/// Changes of a user: the given fields, and no others.
#[derive(Clone, Debug, Default)]
pub struct UserChanges {
    /// Display name.
    pub name: Option<DisplayName>,
    /// Change of the avatar.
    pub avatar: AvatarChange,
    /// Role of the account.
    pub role: Option<Role>,
}

impl Commands {
    /// Changes what is known of somebody whom the caller manages, and what they may do.
    ///
    /// # Errors
    /// As [`Self::suspend_user`]; [`Error::Forbidden`] when the caller couldn't create somebody with that role;
    /// [`Error::Conflict`] when nobody would be left as a super admin.
    pub async fn change_user(&self, request: &Request, id: UserId, changes: UserChanges) -> Result<Done<User>, Error> {
        let account = self.managed(request, id).await?;
        let caller = &request.caller;
        if changes.role.is_some_and(|role| !caller.role.may_manage(caller.business_id, role, account.business_id)) {
            return Err(Error::rule(&PermissionError::GiveRole));
        }
        if changes.role.is_some_and(|role| role.fits(account.business_id) && role != Role::SystemSuperAdmin)
            && account.role == Role::SystemSuperAdmin
        {
            self.let_super_admin_go(request, id).await?;
        }
        self.execute_on_user(request, &account, self.change(changes)).await
    }

    /// Changes what is known of the caller.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn change_own_profile(
        &self,
        request: &Request,
        name: Option<DisplayName>,
        avatar: AvatarChange,
    ) -> Result<Done<User>, Error> {
        let user = self.user(request.caller.user_id).await?;
        let account = user.state.account().ok_or_else(|| Error::rule(&UserError::NoSuchUser))?;
        self.execute_on_user(request, account, self.change(UserChanges { name, avatar, role: None })).await
    }

    fn change(&self, UserChanges { name, avatar, role }: UserChanges) -> UserCommand {
        UserCommand::Change(ChangeUser { name, avatar, role, at: self.clock.now() })
    }

    /// Shuts a person out, everywhere and at once. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such person, or none that the caller may see; [`Error::Forbidden`] when the caller
    /// may see but not manage them; [`Error::Conflict`] for oneself, and for the last super admin.
    pub async fn suspend_user(&self, request: &Request, id: UserId) -> Result<Done<User>, Error> {
        let account = self.managed(request, id).await?;
        let is_active = self.user(id).await?.state.active().is_some();
        if account.role == Role::SystemSuperAdmin && id != request.caller.user_id && is_active {
            self.let_super_admin_go(request, id).await?;
        }
        let suspend = UserCommand::Suspend { by: request.caller.user_id, at: self.clock.now() };
        self.execute_on_user(request, &account, suspend).await
    }

    /// Lets a person in again. Repeating it changes nothing.
    ///
    /// # Errors
    /// As [`Self::suspend_user`].
    pub async fn reactivate_user(&self, request: &Request, id: UserId) -> Result<Done<User>, Error> {
        let account = self.managed(request, id).await?;
        self.execute_on_user(request, &account, UserCommand::Reactivate { at: self.clock.now() }).await
    }

    /// Makes sure that the caller manages somebody.
    ///
    /// # Errors
    /// As [`Self::reactivate_user`].
    pub async fn must_manage(&self, request: &Request, id: UserId) -> Result<(), Error> {
        self.managed(request, id).await.map(drop)
    }

    /// Returns a user whom the caller manages.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such person, or none that the caller may see; [`Error::Forbidden`] when the caller
    /// may see but not manage them.
    pub(crate) async fn managed(&self, request: &Request, id: UserId) -> Result<Account, Error> {
        let caller = &request.caller;
        let user = self.user(id).await?;
        let account = user.state.account().ok_or_else(|| Error::rule(&UserError::NoSuchUser))?;
        if !caller.role.may_see(caller.business_id, account.business_id) {
            return Err(Error::rule(&UserError::NoSuchUser));
        }
        if !caller.role.may_manage(caller.business_id, account.role, account.business_id) {
            return Err(Error::rule(&PermissionError::ManageUser));
        }
        Ok(account.clone())
    }

    async fn execute_on_user(
        &self,
        request: &Request,
        account: &Account,
        command: UserCommand,
    ) -> Result<Done<User>, Error> {
        let metadata = request.metadata(account.business_id);
        let changed = self.repository.execute::<User>(&account.id.to_string(), command, &metadata).await?;
        Ok(self.done(changed.state.clone(), changed.position))
    }

    /// Returns a user's current account, for display. None if there is no such user.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn account(&self, id: UserId) -> Result<Option<Account>, Error> {
        Ok(self.user(id).await?.state.account().cloned())
    }

    /// A person whom somebody wants to reach: of the same business, and let in.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such person in the caller's business; [`Error::Invalid`] when they are suspended.
    pub async fn reachable(&self, request: &Request, id: UserId) -> Result<(), Error> {
        let user = self.user(id).await?;
        let account = user.state.account().ok_or_else(|| Error::rule(&UserError::NoSuchRecipient))?;
        if account.business_id != request.caller.business_id {
            return Err(Error::rule(&UserError::NoSuchRecipient));
        }
        match user.state.active() {
            Some(_) => Ok(()),
            None => Err(Invalid::new("recipientId", "this person is suspended").into()),
        }
    }
}

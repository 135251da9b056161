//! The first super admin, made when there is none: somebody has to create the others.

use domain::{BusinessId, DisplayName, EmailAddress, Password, Role};

use crate::fixed_accounts::FixedAccount;
use crate::{Commands, Error, NewUser};

/// Data of the first super admin.
#[derive(Clone, Debug)]
pub struct FirstSuperAdmin {
    /// The login.
    pub email: EmailAddress,
    /// The password.
    pub password: Password,
}

const SEED: &str = "first super admin";

impl Commands {
    /// Returns true if the first super admin was created.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn has_first_super_admin(&self) -> Result<bool, Error> {
        Ok(matches!(self.fixed_account(BusinessId::SYSTEM, SEED).await?, FixedAccount::Exists(_)))
    }

    /// Registers the system business and creates its first super admin, unless there is one. Returns whether this call created
    /// the account.
    ///
    /// # Errors
    /// If the log is unavailable, or another account has the email.
    pub async fn ensure_first_super_admin(&self, first: FirstSuperAdmin) -> Result<bool, Error> {
        self.ensure_business(BusinessId::SYSTEM, DisplayName::parse("System")?).await?;
        let new = NewUser {
            business_id: BusinessId::SYSTEM,
            email: first.email,
            name: DisplayName::parse("Super Admin")?,
            avatar: None,
            role: Role::SystemSuperAdmin,
            password: first.password,
        };
        let (_, is_new) = self.ensure_user(SEED, new).await?;
        Ok(is_new)
    }
}

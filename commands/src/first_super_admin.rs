//! The first super admin, made when there is none: somebody has to create the others.

use domain::{BusinessId, DisplayName, EmailAddress, Password, Role};

use crate::fixed_accounts::FixedAccount;
use crate::{Commands, Error, NewUser};

/// Who shall be the first super admin.
#[derive(Clone, Debug)]
pub struct FirstSuperAdmin {
    /// The login.
    pub email: EmailAddress,
    /// The password.
    pub password: Password,
}

const SEED: &str = "first super admin";

impl Commands {
    /// Whether the first super admin has been made.
    ///
    /// # Errors
    /// When the log can't be used.
    pub async fn has_first_super_admin(&self) -> Result<bool, Error> {
        Ok(matches!(self.fixed_account(BusinessId::SYSTEM, SEED).await?, FixedAccount::Exists(_)))
    }

    /// Registers the system business and creates its first super admin, unless there is one. Returns whether this call created
    /// the account.
    ///
    /// # Errors
    /// When the log can't be used, or somebody else has the email.
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

//! The first super admin, made when there is none: somebody has to create the others.

use domain::business::{Business, BusinessCommand, BusinessError};
use domain::{BusinessId, BusinessName, EmailAddress, Password, PersonName, Role, UserId};
use uuid::Uuid;

use crate::aggregates::Refusal;
use crate::businesses::explain_business;
use crate::caller::by_the_system;
use crate::{Commands, Error, NewUser};

/// Who shall be the first super admin.
#[derive(Clone, Debug)]
pub struct FirstSuperAdmin {
    /// The login.
    pub email: EmailAddress,
    /// The password.
    pub password: Password,
}

impl Commands {
    /// Registers the system business and creates its first super admin, unless there is one. Their ids are fixed, so that nodes
    /// which start together agree. Returns whether this call created the account.
    ///
    /// # Errors
    /// When the log can't be used.
    pub async fn ensure_first_super_admin(&self, first: FirstSuperAdmin) -> Result<bool, Error> {
        let id = UserId(Uuid::new_v5(&BusinessId::SYSTEM.0, b"first super admin"));
        if self.user(id).await?.state.account().is_some() {
            return Ok(false);
        }
        let metadata = by_the_system(BusinessId::SYSTEM, self.ids.next());
        let register = BusinessCommand::Register {
            id: BusinessId::SYSTEM,
            name: BusinessName::parse("System")?,
            at: self.clock.now(),
        };
        let business = BusinessId::SYSTEM.to_string();
        match self.aggregates.execute::<Business>(&business, register, &metadata).await {
            Ok(_) | Err(Refusal::Rule(BusinessError::AlreadyRegistered)) => {}
            Err(refusal) => return Err(explain_business(refusal)),
        }
        let new = NewUser {
            business_id: BusinessId::SYSTEM,
            email: first.email,
            name: PersonName::parse("Super Admin")?,
            avatar: None,
            role: Role::SystemSuperAdmin,
            password: first.password,
        };
        match self.create_user_as(id, new, &metadata).await {
            Ok(_) => Ok(true),
            // Another node was faster.
            Err(Error::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

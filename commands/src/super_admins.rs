//! Making sure that the installation never loses its last super admin.

use domain::super_admins::{SuperAdmins, SuperAdminsCommand};
use domain::{BusinessId, Role, UserId};

use crate::{Commands, Error, Request};

/// Super admins that are looked at: one who is left is enough.
const LOOKED_AT: u32 = 100;

impl Commands {
    /// Asks for permission that a user stops being an active super admin.
    ///
    /// # Errors
    /// [`Error::Conflict`] when they are the last one.
    pub(crate) async fn let_super_admin_go(&self, request: &Request, user_id: UserId) -> Result<(), Error> {
        let mut others = vec![];
        for other in self.lookups.super_admins(LOOKED_AT, self.acknowledged()).await? {
            let user = self.repository.read::<domain::user::User>(&other.to_string()).await?;
            let is_one = user.state.active().is_some_and(|account| account.role == Role::SystemSuperAdmin);
            if is_one && other != user_id {
                others.push(other);
            }
        }
        let let_go = SuperAdminsCommand::LetGo { user_id, others, at: self.clock.now() };
        let metadata = request.metadata(BusinessId::SYSTEM);
        self.repository.execute_on_log::<SuperAdmins>(&SuperAdmins::stream_id(), let_go, &metadata).await?;
        Ok(())
    }
}

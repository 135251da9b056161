//! Managing businesses: for those who run the installation.

use std::sync::Arc;

use domain::business::{Business, BusinessCommand, BusinessError, Registered};
use domain::{BusinessId, DisplayName};

use crate::state_cache::Loaded;
use crate::{Commands, Done, Error, Request};

impl Commands {
    /// Registers a new tenant.
    ///
    /// # Errors
    /// [`Error::Forbidden`] to everyone but a super admin.
    pub async fn register_business(&self, request: &Request, name: DisplayName) -> Result<Done<Business>, Error> {
        let id = BusinessId(self.ids.next());
        self.change_business(request, id, BusinessCommand::Register { id, name, at: self.clock.now() }).await
    }

    /// Gives a business another name.
    ///
    /// # Errors
    /// [`Error::Forbidden`] to everyone but a super admin; [`Error::NotFound`].
    pub async fn rename_business(
        &self,
        request: &Request,
        id: BusinessId,
        name: DisplayName,
    ) -> Result<Done<Business>, Error> {
        self.change_business(request, id, BusinessCommand::Rename { name, at: self.clock.now() }).await
    }

    /// Shuts everybody of a business out. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::Forbidden`] to everyone but a super admin; [`Error::NotFound`]; [`Error::Conflict`] for the system business.
    pub async fn suspend_business(&self, request: &Request, id: BusinessId) -> Result<Done<Business>, Error> {
        self.change_business(request, id, BusinessCommand::Suspend { at: self.clock.now() }).await
    }

    /// Lets everybody of a business in again. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::Forbidden`] to everyone but a super admin; [`Error::NotFound`].
    pub async fn reactivate_business(&self, request: &Request, id: BusinessId) -> Result<Done<Business>, Error> {
        self.change_business(request, id, BusinessCommand::Reactivate { at: self.clock.now() }).await
    }

    async fn change_business(
        &self,
        request: &Request,
        id: BusinessId,
        command: BusinessCommand,
    ) -> Result<Done<Business>, Error> {
        if request.caller.role != domain::Role::SystemSuperAdmin {
            return Err(Error::rule(&BusinessError::NotASuperAdmin));
        }
        let changed = self.repository.execute::<Business>(&id.to_string(), command, &request.metadata(id)).await?;
        Ok(self.done(changed.state.clone(), changed.position))
    }

    pub(crate) async fn business(&self, id: BusinessId) -> Result<Arc<Loaded<Business>>, Error> {
        self.repository.load::<Business>(&id.to_string()).await
    }

    /// The business, once it is registered.
    pub(crate) async fn registered_business(&self, id: BusinessId) -> Result<Registered, Error> {
        let business = self.business(id).await?;
        business.state.registered().cloned().ok_or_else(|| Error::rule(&BusinessError::NoSuchBusiness))
    }
}

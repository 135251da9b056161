//! The admin API: for those who run the installation, and for those who manage the people of a business.

mod businesses;
mod login;
mod messages;
mod projections;
mod user_sessions;
mod users;

pub(crate) use businesses::BusinessesApi;
pub(crate) use login::AdminLoginApi;
pub(crate) use messages::AdminMessagesApi;
pub(crate) use projections::ProjectionsApi;
pub(crate) use user_sessions::UserSessionsApi;
pub(crate) use users::UsersApi;

use ::projections::PageRequest;

use crate::error::ApiError;
use crate::paging::PageSize;

/// Returns the requested page.
fn page_request(page: Option<u32>, limit: Option<u32>) -> Result<PageRequest, ApiError> {
    let page = page.unwrap_or(1);
    if page == 0 {
        return Err(ApiError::invalid("page", "must be at least 1"));
    }
    Ok(PageRequest { page, limit: PageSize::LIST.limit(limit)? })
}

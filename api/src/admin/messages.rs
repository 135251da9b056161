//! Messages of users, as far as administrators may delete them.

use std::sync::Arc;

use domain::Reason;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use crate::Api;
use crate::auth::AdminToken;
use crate::bodies::{Found, Success};
use crate::error::ApiError;
use crate::messenger::message_id;
use crate::openapi::Tag;

pub(crate) struct AdminMessagesApi;

#[OpenApi(prefix_path = "/api/admin/messages", tag = "Tag::AdminMessages")]
impl AdminMessagesApi {
    /// Delete a message
    ///
    /// Of one's own business; super admins, of any. Its place stays, and nothing of what it said but in the history. Both parties
    /// get `message:deleted`, with the reason. Repeating it changes nothing.
    #[oai(path = "/:id", method = "delete", operation_id = "adminDeleteMessage")]
    async fn delete(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
        /// Why: 1 to 500 characters
        reason: Query<String>,
    ) -> Result<Found<Success>, ApiError> {
        let reason = Reason::parse(&reason.0)?;
        let done = api.commands.delete_message(&token.request(&api), message_id(&id.0)?, Some(reason)).await?;
        Ok(Found::at(done.position, Success::yes()))
    }
}

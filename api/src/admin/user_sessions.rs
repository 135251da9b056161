//! The sessions of the people whom one manages.

use std::sync::Arc;

use domain::SessionId;
use domain::session::SessionError;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};

use super::users::user_id;
use crate::Api;
use crate::auth::AdminToken;
use crate::bodies::{Found, Success};
use crate::error::ApiError;
use crate::openapi::Tag;
use crate::paging::{PageSize, cursor};
use crate::sessions::Sessions;

pub(crate) struct UserSessionsApi;

#[OpenApi(prefix_path = "/api/admin/users", tag = "Tag::Users")]
impl UserSessionsApi {
    /// List a user's sessions
    ///
    /// Those that go on, at both APIs, the latest first.
    #[oai(path = "/:id/sessions", method = "get", operation_id = "listUserSessions")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
        /// Sessions on a page, 1 to 100
        limit: Query<Option<u32>>,
        /// From the page before, as `nextCursor`
        cursor: Query<Option<String>>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<Sessions>, ApiError> {
        let (limit, before) = (PageSize::LIST.limit(limit.0)?, self::cursor(cursor.0.as_deref())?);
        let id = user_id(&id.0)?;
        let request = token.request(&api);
        api.commands.must_manage(&request, id).await?;
        Sessions::answer(&api, id, Some(request.caller.session_id), before, limit, min_position.0).await
    }

    /// End all of a user's sessions
    ///
    /// None of their tokens works any more, and their live streams are closed. They can log in again.
    #[oai(path = "/:id/sessions", method = "delete", operation_id = "endUserSessions")]
    async fn end_all(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
    ) -> Result<Found<Success>, ApiError> {
        let done = api.commands.end_sessions_of(&token.request(&api), user_id(&id.0)?).await?;
        Ok(Found::at(done.position, Success::yes()))
    }

    /// End a user's session
    ///
    /// Neither of its tokens works any more, and its live streams are closed. Repeating it changes nothing.
    #[oai(path = "/:id/sessions/:session_id", method = "delete", operation_id = "endUserSession")]
    async fn end(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
        session_id: Path<String>,
    ) -> Result<Found<Success>, ApiError> {
        let session: SessionId = session_id.0.parse().map_err(|_| ApiError::rule(&SessionError::NoSuchSession))?;
        let done = api.commands.end_session_of(&token.request(&api), user_id(&id.0)?, session).await?;
        Ok(Found::at(done.position, Success::yes()))
    }
}

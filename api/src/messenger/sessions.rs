//! One's own sessions.

use std::sync::Arc;

use domain::SessionId;
use domain::session::SessionError;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};

use crate::Api;
use crate::auth::MessengerToken;
use crate::bodies::{Found, Success};
use crate::error::ApiError;
use crate::openapi::Tag;
use crate::paging::{PageSize, cursor};
use crate::sessions::Sessions;

pub(crate) struct SessionsApi;

#[OpenApi(prefix_path = "/api/messenger/sessions", tag = "Tag::MessengerAuthentication")]
impl SessionsApi {
    /// List one's sessions
    ///
    /// Those that go on, at both APIs, the latest first.
    #[oai(path = "/", method = "get", operation_id = "listSessions")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        /// Sessions on a page, 1 to 100
        limit: Query<Option<u32>>,
        /// From the page before, as `nextCursor`
        cursor: Query<Option<String>>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<Sessions>, ApiError> {
        let (limit, before) = (PageSize::LIST.limit(limit.0)?, self::cursor(cursor.0.as_deref())?);
        let caller = token.caller();
        Sessions::answer(&api, caller.user_id, Some(caller.session_id), before, limit, min_position.0).await
    }

    /// End a session
    ///
    /// Neither of its tokens works any more, and its live streams are closed. Repeating it changes nothing.
    #[oai(path = "/:id", method = "delete", operation_id = "endSession")]
    async fn end(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        id: Path<String>,
    ) -> Result<Found<Success>, ApiError> {
        let id: SessionId = id.0.parse().map_err(|_| ApiError::rule(&SessionError::NoSuchSession))?;
        let done = api.commands.end_own_session(&token.request(&api), id).await?;
        Ok(Found::at(done.position, Success::yes()))
    }
}

//! Sessions, as people see their own and administrators those of others.

use domain::{SessionId, Timestamp, UserId};
use poem_openapi::Object;
use poem_openapi::types::Example;
use projections::people::SessionRow;
use serde::Serialize;

use crate::Api;
use crate::bodies::Found;
use crate::error::ApiError;
use crate::paging::page;

/// A session: one login on one device
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct Session {
    id: String,
    /// API of the session: `messenger` or `admin`
    audience: String,
    /// Name that the device gave itself at login
    user_agent: Option<String>,
    started_at: String,
    /// Time of the last refresh
    refreshed_at: Option<String>,
    /// Expiry, unless it is refreshed
    expires_at: String,
    /// True for the session of this request
    current: bool,
}

/// Some sessions, the latest first
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sessions {
    /// Always true
    success: bool,
    sessions: Vec<Session>,
    /// To be sent as `cursor` to get more; null when there are no more
    next_cursor: Option<String>,
}

impl Example for Sessions {
    fn example() -> Self {
        let session = Session {
            id: "session_id".into(),
            audience: "messenger".into(),
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0".into()),
            started_at: "2025-11-22T10:30:00.000Z".into(),
            refreshed_at: None,
            expires_at: "2025-12-22T10:30:00.000Z".into(),
            current: true,
        };
        Self { success: true, sessions: vec![session], next_cursor: None }
    }
}

impl Sessions {
    /// Somebody's sessions.
    pub(crate) async fn answer(
        api: &Api,
        user: UserId,
        current: Option<SessionId>,
        before: Option<u64>,
        limit: u32,
        min_position: Option<u64>,
    ) -> Result<Found<Self>, ApiError> {
        let (people, position) = api.people(min_position).await?;
        let rows = people.sessions(user, api.clock.now(), before, limit + 1).await?;
        let (rows, next_cursor) = page(rows, limit, |row| row.position);
        let session = |row: SessionRow| Session {
            id: row.id.to_string(),
            audience: row.audience,
            user_agent: row.user_agent,
            started_at: Timestamp::from(row.started_at).to_string(),
            refreshed_at: row.refreshed_at.map(|at| Timestamp::from(at).to_string()),
            expires_at: Timestamp::from(row.expires_at).to_string(),
            current: current.is_some_and(|current| current.0 == row.id),
        };
        let sessions = rows.into_iter().map(session).collect();
        Ok(Found::at(position, Self { success: true, sessions, next_cursor }))
    }
}

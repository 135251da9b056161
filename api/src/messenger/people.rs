//! The people of one's business, and how to reach them.

use std::sync::Arc;

use domain::Timestamp;
use poem::web::Data;
use poem_openapi::param::{Header, Query};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use projections::people::ColleagueRow;
use serde::Serialize;

use crate::Api;
use crate::auth::MessengerToken;
use crate::bodies::Found;
use crate::error::ApiError;
use crate::openapi::Tag;
use crate::paging::{PageSize, cursor, page};

pub(crate) struct PeopleApi;

/// A user of one's business
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(super) struct Colleague {
    pub(super) id: String,
    pub(super) name: String,
    /// URL of the avatar
    pub(super) avatar: Option<String>,
    /// True if a client of theirs is connected
    pub(super) online: bool,
    /// Time at which they were last online; null while they are, or if they never were
    pub(super) last_seen_at: Option<String>,
}

impl Example for Colleague {
    fn example() -> Self {
        Self {
            id: "user_id".into(),
            name: "John Doe".into(),
            avatar: Some("https://example.com/john.png".into()),
            online: false,
            last_seen_at: Some("2025-11-22T10:30:00.000Z".into()),
        }
    }
}

/// Some people of one's business
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct Colleagues {
    /// Always true
    success: bool,
    users: Vec<Colleague>,
    /// To be sent as `cursor` to get more; null when there are no more
    next_cursor: Option<String>,
}

impl Example for Colleagues {
    fn example() -> Self {
        Self { success: true, users: vec![Example::example()], next_cursor: None }
    }
}

/// STUN and TURN servers for calls
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct IceServers {
    /// Always true
    success: bool,
    /// As `RTCPeerConnection` takes them
    ice_servers: Vec<IceServer>,
    /// Until when the credentials are good; null when there are none
    expires_at: Option<String>,
}

/// A STUN or TURN server
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct IceServer {
    urls: Vec<String>,
    #[oai(skip_serializing_if_is_none)]
    username: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    credential: Option<String>,
}

impl Example for IceServers {
    fn example() -> Self {
        let turn = IceServer {
            urls: vec!["turn:turn.example.com:3478".into()],
            username: Some("1763811000:user_id".into()),
            credential: Some("…".into()),
        };
        let expires_at = Some("2025-11-22T11:30:00.000Z".into());
        Self { success: true, ice_servers: vec![turn], expires_at }
    }
}

#[OpenApi(prefix_path = "/api/messenger", tag = "Tag::People")]
impl PeopleApi {
    /// List the people of one's business
    ///
    /// Those who are active, the oldest accounts first, with who of them is online.
    #[oai(path = "/users", method = "get", operation_id = "listColleagues")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        /// Users on a page, 1 to 100
        limit: Query<Option<u32>>,
        /// From the page before, as `nextCursor`
        cursor: Query<Option<String>>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<Colleagues>, ApiError> {
        let limit = PageSize::LIST.limit(limit.0)?;
        let after = self::cursor(cursor.0.as_deref())?.unwrap_or(0);
        let (people, position) = api.people(min_position.0).await?;
        let rows = people.colleagues(token.caller().business_id, after, limit + 1).await?;
        let (rows, next_cursor) = page(rows, limit, |row| row.position);
        let colleague = |row: ColleagueRow| {
            let online = api.presence.is_online(domain::UserId(row.id));
            Colleague {
                id: row.id.to_string(),
                name: row.name.unwrap_or_default(),
                avatar: row.avatar,
                online,
                last_seen_at: row.last_seen_at.filter(|_| !online).map(|at| Timestamp::from(at).to_string()),
            }
        };
        let users = rows.into_iter().map(colleague).collect();
        Ok(Found::at(position, Colleagues { success: true, users, next_cursor }))
    }

    /// Get the servers that calls go through
    ///
    /// STUN and TURN servers for `RTCPeerConnection`, with credentials for you that run out.
    #[oai(path = "/ice-servers", method = "get", operation_id = "listIceServers")]
    #[expect(clippy::unused_async, reason = "handlers are")]
    async fn ice_servers(&self, api: Data<&Arc<Api>>, token: MessengerToken) -> Result<Found<IceServers>, ApiError> {
        let servers = &api.ice_servers;
        let mut ice_servers = vec![];
        if !servers.stun_urls.is_empty() {
            ice_servers.push(IceServer { urls: servers.stun_urls.clone(), username: None, credential: None });
        }
        let mut expires_at = None;
        if let Some(turn) = &servers.turn {
            let credentials = turn.credentials(token.caller().user_id, api.clock.now());
            expires_at = Some(credentials.expires_at.to_string());
            ice_servers.push(IceServer {
                urls: turn.urls.clone(),
                username: Some(credentials.username),
                credential: Some(credentials.credential),
            });
        }
        let position = api.read_models.feed.checkpoint.position();
        Ok(Found::at(position, IceServers { success: true, ice_servers, expires_at }))
    }
}

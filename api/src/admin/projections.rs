//! Looking after the projections: for those who run the installation.

use std::sync::Arc;

use domain::{Role, Timestamp};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use projections::{ParkedEvent, ProjectionStatus, Projector, RebuildError, RebuildStatus};

use crate::Api;
use crate::auth::AdminToken;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::openapi::Tag;
use crate::paging::{self, PageSize};

pub(crate) struct ProjectionsApi;

/// State of a projection
#[derive(Object)]
#[oai(rename_all = "camelCase")]
struct ProjectionState {
    name: String,
    /// Version of the code that made its rows
    version: i32,
    /// `live`, or `rebuilding`: then what is live is read as before
    state: String,
    /// Position of the last event taken in
    position: u64,
    /// Positions between the projection and the head of the log
    lag: u64,
    /// Events that it couldn't take in
    parked: i64,
    /// True if the tables replaced by the last rebuild are still there
    has_retired_tables: bool,
    /// The last rebuild, if there ever was one
    rebuild: Option<RebuildState>,
}

/// State of a rebuild
#[derive(Object)]
#[oai(rename_all = "camelCase")]
struct RebuildState {
    requested_at: String,
    /// Null while it waits for a node to begin
    began_at: Option<String>,
    /// Null while it isn't over
    finished_at: Option<String>,
    /// Position of the last event taken in
    position: u64,
    /// Position of the last event there is
    head: u64,
    /// Events taken in since it began, or went on
    events: u64,
    events_per_second: f64,
    /// Estimated seconds until it is done
    eta_seconds: Option<u64>,
    /// Why it has stopped, if it has. It is tried again
    error: Option<String>,
}

/// States of the projections
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
struct ProjectionStates {
    /// Always true
    success: bool,
    projections: Vec<ProjectionState>,
}

/// State of a projection
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
struct OneProjection {
    /// Always true
    success: bool,
    projection: ProjectionState,
}

/// An event that a projection couldn't take in
#[derive(Object)]
#[oai(rename_all = "camelCase")]
struct Parked {
    position: u64,
    stream: String,
    #[oai(rename = "type")]
    event_type: String,
    /// Why
    error: String,
    parked_at: String,
}

/// Events that a projection couldn't take in
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
struct ParkedEvents {
    /// Always true
    success: bool,
    events: Vec<Parked>,
    /// Cursor of the next page; null on the last one
    next_cursor: Option<String>,
}

/// Result of a retry
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
struct RetriedEvents {
    /// Always true
    success: bool,
    /// Events that were taken in
    taken_in: u64,
    /// Events that stay parked
    still_parked: u64,
}

impl Example for ProjectionState {
    fn example() -> Self {
        Self {
            name: "messaging".into(),
            version: 1,
            state: "rebuilding".into(),
            position: 100_000,
            lag: 2,
            parked: 0,
            has_retired_tables: false,
            rebuild: Some(RebuildState {
                requested_at: "2025-11-22T10:30:00.000Z".into(),
                began_at: Some("2025-11-22T10:30:00.500Z".into()),
                finished_at: None,
                position: 40_000,
                head: 100_002,
                events: 40_000,
                events_per_second: 20_000.0,
                eta_seconds: Some(3),
                error: None,
            }),
        }
    }
}

impl Example for ProjectionStates {
    fn example() -> Self {
        Self { success: true, projections: vec![Example::example()] }
    }
}

impl Example for OneProjection {
    fn example() -> Self {
        Self { success: true, projection: Example::example() }
    }
}

impl Example for ParkedEvents {
    fn example() -> Self {
        let event = Parked {
            position: 42,
            stream: "message-msg_id".into(),
            event_type: "MessageSent".into(),
            error: "event event_id of type MessageSent v2 can't be decoded".into(),
            parked_at: "2025-11-22T10:30:00.000Z".into(),
        };
        Self { success: true, events: vec![event], next_cursor: None }
    }
}

impl Example for RetriedEvents {
    fn example() -> Self {
        Self { success: true, taken_in: 3, still_parked: 0 }
    }
}

#[derive(ApiResponse)]
enum Accepted {
    /// It will be rebuilt: `GET /api/admin/projections` says how far it is
    #[oai(status = 202)]
    Accepted(Json<OneProjection>),
}

impl ProjectionState {
    fn of(status: ProjectionStatus, head: u64) -> Self {
        Self {
            name: status.name.to_owned(),
            version: status.version,
            state: status.state().to_owned(),
            position: status.position,
            lag: head.saturating_sub(status.position),
            parked: status.parked,
            has_retired_tables: status.has_retired_tables,
            rebuild: status.rebuild.map(RebuildState::from),
        }
    }
}

impl From<RebuildStatus> for RebuildState {
    fn from(status: RebuildStatus) -> Self {
        let text = |time| Timestamp::from(time).to_string();
        let progress = status.progress;
        let is_under_way = status.began_at.is_some() && status.finished_at.is_none();
        Self {
            requested_at: text(status.requested_at),
            began_at: status.began_at.map(text),
            finished_at: status.finished_at.map(text),
            position: progress.position,
            head: progress.head,
            events: progress.events,
            events_per_second: progress.events_per_s().round(),
            eta_seconds: progress.remaining().filter(|_| is_under_way).map(|remaining| remaining.as_secs()),
            error: status.error,
        }
    }
}

impl From<ParkedEvent> for Parked {
    fn from(event: ParkedEvent) -> Self {
        Self {
            position: event.position.cast_unsigned(),
            stream: event.stream,
            event_type: event.event_type,
            error: event.error,
            parked_at: Timestamp::from(event.parked_at).to_string(),
        }
    }
}

#[OpenApi(prefix_path = "/api/admin/projections", tag = "Tag::Projections")]
impl ProjectionsApi {
    /// See how the projections are doing
    ///
    /// Everything that is read is built from the history by one of these. For system roles.
    #[oai(path = "/", method = "get", operation_id = "listProjections")]
    async fn list(&self, api: Data<&Arc<Api>>, token: AdminToken) -> Result<Json<ProjectionStates>, ApiError> {
        must_see(&token)?;
        Ok(Json(ProjectionStates { success: true, projections: states(&api).await? }))
    }

    /// Rebuild a projection
    ///
    /// From the whole history, beside the one that is read, which it then replaces; nobody notices anything. Repeating it while it is
    /// under way changes nothing. For super admins.
    #[oai(path = "/:name/rebuild", method = "post", operation_id = "rebuildProjection")]
    async fn rebuild(&self, api: Data<&Arc<Api>>, token: AdminToken, name: Path<String>) -> Result<Accepted, ApiError> {
        let projector = managed(&token, &name.0)?;
        projections::request_rebuild(projector, &api.projections.pool).await?;
        Ok(Accepted::Accepted(Json(OneProjection { success: true, projection: state(&api, projector).await? })))
    }

    /// List parked events
    ///
    /// Events that a projection couldn't take in, and later ones of their streams, which wait for them. For system roles.
    #[oai(path = "/:name/parked", method = "get", operation_id = "listParkedEvents")]
    async fn parked(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        name: Path<String>,
        /// Cursor: `nextCursor` of the previous page
        cursor: Query<Option<String>>,
        /// Maximum number of events, 1 to 1000
        limit: Query<Option<u32>>,
    ) -> Result<Json<ParkedEvents>, ApiError> {
        must_see(&token)?;
        let projector = named(&name.0)?;
        let limit = PageSize::EVENTS.limit(limit.0)?;
        let after = paging::cursor(cursor.0.as_deref())?.unwrap_or(0);
        let events = projections::parked_events(projector, &api.projections.pool, after, limit).await?;
        let is_full = events.len() == limit as usize;
        let next_cursor = events.last().filter(|_| is_full).map(|event| event.position.to_string());
        Ok(Json(ParkedEvents { success: true, events: events.into_iter().map(Parked::from).collect(), next_cursor }))
    }

    /// Try parked events again
    ///
    /// In order; one that can't be taken in still keeps back the later ones of its stream. For super admins.
    #[oai(path = "/:name/retry", method = "post", operation_id = "retryParkedEvents")]
    async fn retry(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        name: Path<String>,
    ) -> Result<Json<RetriedEvents>, ApiError> {
        let projector = managed(&token, &name.0)?;
        let retried = projections::retry_parked(projector, &api.projections).await?;
        Ok(Json(RetriedEvents { success: true, taken_in: retried.taken_in, still_parked: retried.still_parked }))
    }

    /// Drop retired tables
    ///
    /// Deletes the tables replaced by the last rebuild. For super admins.
    #[oai(path = "/:name/retired", method = "delete", operation_id = "dropRetiredTables")]
    async fn drop_retired(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        name: Path<String>,
    ) -> Result<Json<OneProjection>, ApiError> {
        let projector = managed(&token, &name.0)?;
        projections::drop_retired(projector, &api.projections.pool).await?;
        Ok(Json(OneProjection { success: true, projection: state(&api, projector).await? }))
    }
}

async fn states(api: &Api) -> Result<Vec<ProjectionState>, ApiError> {
    let head = api.store.head().await.map_err(commands::Error::from)?;
    let statuses = projections::status(&api.projections.pool).await?;
    Ok(statuses.into_iter().map(|status| ProjectionState::of(status, head)).collect())
}

async fn state(api: &Api, projector: Projector) -> Result<ProjectionState, ApiError> {
    let state = states(api).await?.into_iter().find(|state| state.name == projector.name);
    state.ok_or_else(|| ApiError::not_found("Projection"))
}

fn named(name: &str) -> Result<Projector, ApiError> {
    Projector::named(name).ok_or_else(|| ApiError::not_found("Projection"))
}

/// The projections are everybody's, so nobody of one business looks after them.
fn must_see(token: &AdminToken) -> Result<(), ApiError> {
    if token.viewer().role.is_system() {
        return Ok(());
    }
    Err(ApiError::forbidden("Only those who run the installation see its projections"))
}

/// The projection, for somebody who may change it.
fn managed(token: &AdminToken, name: &str) -> Result<Projector, ApiError> {
    if token.viewer().role != Role::SystemSuperAdmin {
        return Err(ApiError::forbidden("Only a super admin looks after projections"));
    }
    named(name)
}

impl From<RebuildError> for ApiError {
    fn from(error: RebuildError) -> Self {
        let code = match &error {
            RebuildError::UnderWay | RebuildError::Newer => ErrorCode::Conflict,
            RebuildError::InUse | RebuildError::Database(_) | RebuildError::Store(_) => ErrorCode::Unavailable,
        };
        tracing::warn!(%error, cause = ?error, "retrying parked events failed");
        let message = match code {
            ErrorCode::Conflict => error.to_string(),
            _ => "The service is temporarily unavailable".to_owned(),
        };
        ErrorBody::new(code, message).into()
    }
}

//! Everything that one request has caused.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use commands::HistoryRead;
use domain::audit::AuditedThing;
use event_store::RecordedEvent;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use projections::audit::{AuditFilter, AuditReader};
use serde::Serialize;
use uuid::Uuid;

use super::envelope::AuditEvent;
use super::events::{PAGE_BYTES, READ_AT_ONCE};
use crate::Api;
use crate::auth::AdminToken;
use crate::bodies::Found;
use crate::error::ApiError;
use crate::openapi::Tag;
use crate::paging::PageSize;

pub(crate) struct CorrelationsApi;

/// An event, and what it has caused
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct Cause {
    event: AuditEvent,
    /// Events that were reactions to it
    caused: Vec<Cause>,
}

/// Everything that one request has caused
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct Correlation {
    /// Always true
    success: bool,
    correlation_id: String,
    /// Events of the request itself, each with those that it has caused
    events: Vec<Cause>,
    /// True if there are more than these events, 1000 at most
    truncated: bool,
}

impl Example for Correlation {
    fn example() -> Self {
        let cause = Cause { event: Example::example(), caused: vec![] };
        Self { success: true, correlation_id: "correlation_id".into(), events: vec![cause], truncated: false }
    }
}

#[OpenApi(prefix_path = "/api/audit/correlations", tag = "Tag::Audit")]
impl CorrelationsApi {
    /// See what a request has caused
    ///
    /// Everything with the same `correlationId`, as a tree: what was a reaction to an event (its `causationId`) is under it.
    #[oai(path = "/:id", method = "get", operation_id = "auditCorrelation")]
    async fn correlation(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
    ) -> Result<Found<Correlation>, ApiError> {
        let not_found = || ApiError::not_found("Correlation");
        let id = Uuid::try_parse(&id.0).map_err(|_| not_found())?;
        let request = token.request(&api);
        let read =
            HistoryRead { business: None, what: AuditedThing::Correlation, query: Some(format!("correlationId={id}")) };
        let read = api.commands.read_history(&request, read).await?;
        let index = &api.read_models.audit;
        api.fresh(index, Some(read.position)).await?;
        let filter = AuditFilter {
            business: read.value.map(|business| business.0),
            correlation: Some(id),
            ..AuditFilter::default()
        };
        let before = read.position.saturating_add(1);
        let mut reader = AuditReader::new(index.queries.clone(), api.store.clone(), filter, 0, before).await?;
        let (mut events, mut bytes, mut truncated) = (vec![], 0, false);
        loop {
            let turn = api.audit_gate.page(&request.caller).await?;
            let page = reader.next_page(READ_AT_ONCE).await?;
            drop(turn);
            if page.is_empty() {
                break;
            }
            if events.len() >= PageSize::EVENTS.max as usize || bytes > PAGE_BYTES {
                truncated = true;
                break;
            }
            bytes += page.iter().map(|event| event.data.len()).sum::<usize>();
            events.extend(page);
        }
        if events.is_empty() {
            return Err(not_found());
        }
        let body = Correlation { success: true, correlation_id: id.to_string(), events: tree(&events), truncated };
        Ok(Found::at(read.position, body))
    }
}

/// Puts each event under the one that it was a reaction to, if that is here.
fn tree(events: &[RecordedEvent]) -> Vec<Cause> {
    let here: HashSet<Uuid> = events.iter().map(|event| event.event_id).collect();
    let mut caused: HashMap<Uuid, Vec<Cause>> = HashMap::new();
    let mut roots = vec![];
    // What is caused comes later in the log than what causes it, so from the end on every branch is whole when it is put in place.
    for event in events.iter().rev() {
        let mut reactions = caused.remove(&event.event_id).unwrap_or_default();
        reactions.reverse();
        let cause = Cause { event: event.into(), caused: reactions };
        match event.metadata.causation_id.filter(|id| here.contains(id) && *id != event.event_id) {
            Some(id) => caused.entry(id).or_default().push(cause),
            None => roots.push(cause),
        }
    }
    roots.reverse();
    roots
}

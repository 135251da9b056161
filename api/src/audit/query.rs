//! Query of the history, parsed from a request.

use commands::HistoryRead;
use domain::audit::AuditedThing;
use domain::business::BusinessError;
use domain::{BusinessId, Decider, DomainEvent, Timestamp, Visitor, visit_all};
use event_store::{Position, StreamId};
use projections::audit::{AuditFilter, AuditReader};
use uuid::Uuid;

use crate::Api;
use crate::error::ApiError;

/// Parameters of a query.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    pub(super) after: Option<u64>,
    pub(super) event_type: Option<String>,
    pub(super) stream: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) business: Option<String>,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

/// Parsed query.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) filter: AuditFilter,
    pub(super) business: Option<BusinessId>,
    pub(super) after: Position,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

/// A question that may be answered.
pub(super) struct Permitted {
    pub(super) filter: AuditFilter,
    pub(super) after: Position,
    /// Position of the last event in the log when it was asked, up to which the answer goes.
    pub(super) head: Position,
    /// Position of the first event that is too late for it.
    pub(super) before: Position,
    /// Nothing that was recorded earlier is wanted.
    pub(super) from: Option<Timestamp>,
}

impl Query {
    /// # Errors
    /// [`ApiError::ValidationError`], which names the word.
    pub(super) fn of(words: &Words) -> Result<Self, ApiError> {
        let (from, to) = (time("from", words.from.as_deref())?, time("to", words.to.as_deref())?);
        if from.zip(to).is_some_and(|(from, to)| to < from) {
            return Err(ApiError::invalid("to", "must not be before from"));
        }
        if words.event_type.as_deref().is_some_and(|name| !is_known_type(name)) {
            return Err(ApiError::invalid("type", "there are no such events: see the catalogue"));
        }
        let actor = words.actor.as_deref().map(Uuid::try_parse).transpose();
        let business = words.business.as_deref().map(str::parse).transpose();
        Ok(Self {
            filter: AuditFilter {
                business: None,
                event_type: words.event_type.clone(),
                actor: actor.map_err(|_| ApiError::invalid("actor", "must be the id of a person"))?,
                correlation: None,
                stream: words.stream.as_deref().map(stream_id).transpose()?,
            },
            business: business.map_err(|_| ApiError::rule(&BusinessError::NoSuchBusiness))?,
            after: words.after.unwrap_or(0),
            from,
            to,
        })
    }

    /// Its filters in their canonical form, for the log; none when there are none. Where a page begins is no filter.
    fn canonical(&self) -> Option<String> {
        let AuditFilter { event_type, actor, stream, .. } = &self.filter;
        let filters = [
            ("type", event_type.clone()),
            ("stream", stream.as_ref().map(ToString::to_string)),
            ("actor", actor.map(|actor| actor.to_string())),
            ("from", self.from.map(|from| from.to_string())),
            ("to", self.to.map(|to| to.to_string())),
        ];
        let filters = filters.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        Some(filters.collect::<Vec<_>>().join("&")).filter(|filters| !filters.is_empty())
    }

    /// Has it recorded that it is asked, if it may be.
    pub(super) async fn permit(
        self,
        api: &Api,
        request: &commands::Request,
        what: AuditedThing,
    ) -> Result<Permitted, ApiError> {
        let query = self.canonical();
        let read = api.commands.read_history(request, HistoryRead { business: self.business, what, query }).await?;
        // The log is searched for a moment, as it is for a page.
        let is_searched = self.from.or(self.to).is_some();
        let _turn = if is_searched { Some(api.audit_gate.page(&request.caller).await?) } else { None };
        let mut after = self.after;
        if let Some(from) = self.from {
            after = after.max(api.position_before(from).await?);
        }
        let mut before = read.position.saturating_add(1);
        if let Some(to) = self.to {
            before = before.min(api.position_before(to.plus_ms(1)).await?.saturating_add(1));
        }
        let filter = AuditFilter { business: read.value.map(|business| business.0), ..self.filter };
        Ok(Permitted { filter, after, head: read.position, before, from: self.from })
    }
}

impl Permitted {
    /// Returns a reader of the events before a position, once the index has reached it, if it is needed.
    pub(super) async fn reader(&self, api: &Api, before: Position) -> Result<AuditReader, ApiError> {
        let index = &api.read_models.audit;
        if self.filter.needs_index() {
            api.fresh(index, Some(before.saturating_sub(1).min(self.head))).await?;
        }
        Ok(AuditReader::new(index.queries.clone(), api.store.clone(), self.filter.clone(), self.after, before).await?)
    }
}

impl Api {
    /// Position of the last event that was recorded before a moment.
    async fn position_before(&self, time: Timestamp) -> Result<Position, ApiError> {
        Ok(self.read_models.audit.queries.position_before(&*self.store, time.into()).await?)
    }
}

/// A moment, as it is written in requests.
pub(super) fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| ApiError::invalid(name, "must be a time like 2025-11-22T10:30:00Z"))
}

/// A stream, by its name.
pub(super) fn stream_id(name: &str) -> Result<StreamId, ApiError> {
    const MAX_CHARS: usize = 200;
    if name.contains('\0') || name.chars().count() > MAX_CHARS {
        return Err(ApiError::invalid("stream", "must be the name of a stream, like user-{id}"));
    }
    Ok(StreamId::from(name.to_owned()))
}

fn is_known_type(name: &str) -> bool {
    struct Has<'a>(&'a str);
    impl Visitor for Has<'_> {
        type Output = bool;

        fn visit<D: Decider>(&mut self) -> bool {
            D::Event::types().iter().any(|event_type| event_type.name == self.0)
        }
    }
    visit_all(&mut Has(name)).contains(&true)
}

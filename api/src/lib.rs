//! The public interface: REST, its explorer, and the live streams, all on one port.
//!
//! A request passes through [`server`] (panics and errors become the standard error, origins are checked, bodies are bounded),
//! then a handler. Handlers translate: what the request says into a command or a query, and the answer into the contract's JSON.
//! Rules are not theirs.

mod admin;
mod allow;
mod answer_pace;
mod asyncapi;
mod audit;
mod auth;
mod bodies;
mod client_address;
mod endless_answer;
mod error;
mod fair_queue;
mod files;
mod freshness;
mod health;
mod http_server;
mod ice_servers;
mod identity;
mod json_answer;
mod json_body;
mod large_answers;
mod limits;
mod messenger;
mod openapi;
mod origin;
mod paging;
mod paths;
mod patience;
mod realtime;
mod request_checks;
mod request_log;
mod security_headers;
mod server;
mod sessions;
mod shares;
mod tokens;

use std::sync::Arc;

use cluster::{Presence, Tickets};
use commands::{Clock, Commands, Ids};
use event_store::EventStore;
use projections::{ReadModels, Sources};

pub use audit::{AuditGate, catalogue_document, write_audit_line};
pub use client_address::{NoNetwork, TrustedProxies};
pub use fair_queue::{Crowded, FairQueue, FairTurn, Room};
pub use files::{FileQuotas, FileStore, Files, FilesError, FreeBytes};
pub use http_server::{ConnectionLimits, serve_http};
pub use ice_servers::{IceServers, Turn};
pub use limits::{Limits, RateLimits, network_of};
pub use openapi::document as openapi_document;
pub use origin::{AllowedOrigins, OwnPages};
pub use realtime::{LiveLimits, Realtime};
pub use server::server;
pub use shares::{Share, Shares};
pub use tokens::{SigningKey, Tokens};

/// Everything that handlers work with.
pub struct Api {
    /// Commands.
    pub commands: Arc<Commands>,
    /// Queries.
    pub read_models: ReadModels,
    /// Dependencies of the projections, for operating them.
    pub projections: Sources,
    /// Presence of users.
    pub presence: Presence,
    /// Tickets with which browsers open streams.
    pub tickets: Tickets,
    /// The bytes of files.
    pub files: Files,
    /// STUN and TURN servers.
    pub ice_servers: IceServers,
    /// The log, for the live streams and for health.
    pub store: Arc<dyn EventStore>,
    /// Access tokens.
    pub tokens: Tokens,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Fresh ids, to name requests by.
    pub ids: Arc<dyn Ids>,
    /// Web pages that may use this server.
    pub own_pages: OwnPages,
    /// Rate limits.
    pub limits: Limits,
    /// Limits of live connections.
    pub live_limits: LiveLimits,
    /// Turns of readers of the history.
    pub audit_gate: AuditGate,
    /// Proxies that say where requests come from.
    pub trusted_proxies: TrustedProxies,
    /// Metrics of `/metrics`.
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
}

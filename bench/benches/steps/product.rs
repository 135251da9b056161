//! The whole product in one process, without a network: requests are handed to its endpoint, and its log is in memory.

use std::sync::Arc;
use std::time::Duration;

use api::{
    Api, AuditGate, FileQuotas, FileStore, Files, IceServers, Limits, LiveLimits, OwnPages, RateLimits, Realtime,
    SigningKey, Tokens, TrustedProxies,
};
use async_trait::async_trait;
use cluster::{Bus, NodeId, Presence, Tickets};
use commands::{
    ActiveCall, Clock, Commands, DEMO_PASSWORD, Dependencies, HashedFor, Ids, KeyedHash, LookupError, Lookups,
    Passwords, TooManyHashes, UnfinishedLogin,
};
use domain::{CallId, EmailAddress, FileId, MessageId, Password, Timestamp, UserId};
use event_store::memory::MemoryStore;
use event_store::{EventStore, Position};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use metrics_exporter_prometheus::PrometheusBuilder;
use object_store::memory::InMemory;
use poem::endpoint::BoxEndpoint;
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, EndpointExt, Request, Response};
use projections::{ReadModels, Readers};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{fresh_id, now};

const MINUTE_MS: i64 = 60_000;

/// The product, with Alice and Bob in it.
pub(crate) struct Product {
    endpoint: BoxEndpoint<'static, Response>,
    pub(crate) alice: Person,
    pub(crate) bob: Person,
    _background: JoinSet<()>,
}

/// Somebody who has logged in.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// The events that somebody is told.
pub(crate) struct Stream(BoxStream<'static, Vec<u8>>);

impl Product {
    /// Puts it together as the binary does; its read models are in this database.
    pub(crate) async fn over(pool: PgPool) -> Self {
        let mut background = JoinSet::new();
        let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(now));
        let (clock, ids): (Arc<dyn Clock>, Arc<dyn Ids>) = (Arc::new(Real), Arc::new(Real));
        let commands = Arc::new(Commands::new(Dependencies {
            store: store.clone(),
            lookups: Arc::new(NothingToFind),
            passwords: Arc::new(Plain),
            clock: clock.clone(),
            ids: ids.clone(),
            keyed_hash: KeyedHash::new(&[7; 32]),
            ring_timeout_ms: MINUTE_MS,
            edit_window_ms: MINUTE_MS,
            temporary_passwords_must_change: false,
            audit_queries_per_minute: 0,
        }));
        let demo = commands.ensure_demo().await.expect("the demo is made");
        let head = store.head().await.expect("the log is there");
        let followed = commands.clone();
        background.spawn(async move { match followed.follow_log(head).await {} });
        let readers = Readers::of((*pool.connect_options()).clone());
        let projections = projections::Sources { store: store.clone(), pool: pool.clone() };
        let read_models = ReadModels::run(&projections, &readers, Duration::from_millis(250), &mut background);
        let node = NodeId(fresh_id());
        let presence = Presence::new(pool.clone(), node, Duration::from_secs(5));
        let (bus, run) = Bus::over_postgres(pool.clone(), node);
        background.spawn(run);
        let api = Arc::new(Api {
            commands,
            read_models,
            projections,
            presence,
            tickets: Tickets::new(pool, || [7; 32]),
            files: Files::new(
                FileStore { store: Arc::new(InMemory::new()), part_bytes: 1024, at_once: 8, free_bytes: None },
                FileQuotas { user_bytes: 0, business_bytes: 0, reserve_bytes: 0 },
            ),
            ice_servers: IceServers { stun_urls: vec![], turn: None },
            store,
            tokens: Tokens::new(&[SigningKey { id: "key".to_owned(), secret: [7; 32] }], 60 * MINUTE_MS),
            clock,
            ids,
            own_pages: OwnPages::default(),
            limits: Limits::new(RateLimits { authentication: 0, requests: 0, anonymous: 0, handshakes: 0 }),
            live_limits: LiveLimits { session: 0, user: 0, address: 0, unknown: 0 },
            audit_gate: AuditGate::default(),
            trusted_proxies: TrustedProxies::default(),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
        });
        let realtime = Arc::new(Realtime::new(api.clone(), bus, head));
        let endpoint = api::server(&api, &realtime).boxed();
        background.spawn(async move { match realtime.deliver(head).await {} });
        let mut people = vec![];
        for person in demo.people {
            let login = json!({"email": person.email, "password": DEMO_PASSWORD, "businessId": demo.business_id});
            let request = request(Method::POST, "/api/messenger/auth/login", "", &login.to_string());
            let answer = endpoint.get_response(request).await.into_body().into_json::<Value>().await;
            let token = answer.expect("it answers JSON")["token"].as_str().expect("they log in").to_owned();
            people.push(Person { id: person.id.to_string(), token });
        }
        let mut people = people.into_iter();
        let (alice, bob) = (people.next().expect("there is Alice"), people.next().expect("there is Bob"));
        Self { endpoint, alice, bob, _background: background }
    }

    /// Has a request answered.
    pub(crate) async fn ask(&self, request: Request, expected: StatusCode) -> Response {
        let response = self.endpoint.get_response(request).await;
        assert_eq!(response.status(), expected);
        response
    }

    /// Has Alice write to Bob.
    pub(crate) async fn write(&self) {
        let message = json!({"recipientId": self.bob.id, "content": crate::TEXT, "type": "text"}).to_string();
        let request = request(Method::POST, "/api/messenger/messages", &self.alice.token, &message);
        self.ask(request, StatusCode::CREATED).await;
    }

    /// Has a device of Bob's listen.
    pub(crate) async fn listen(&self) -> Stream {
        let request = request(Method::GET, "/api/messenger/events", &self.bob.token, "");
        let body = self.ask(request, StatusCode::OK).await.into_body().into_bytes_stream();
        let mut stream = Stream(body.map(|bytes| bytes.expect("the stream goes on").to_vec()).boxed());
        stream.wait_for("feed:caught-up").await;
        stream
    }
}

impl Stream {
    /// Waits for an event of this name.
    pub(crate) async fn wait_for(&mut self, name: &str) {
        loop {
            let event = self.0.next().await.expect("the stream goes on");
            if event.windows(name.len()).any(|window| window == name.as_bytes()) {
                return;
            }
        }
    }
}

/// A request, with a token unless that is empty.
pub(crate) fn request(method: Method, path: &str, token: &str, body: &str) -> Request {
    let request = Request::builder().method(method).uri(path.parse().expect("it is an address"));
    let request = request.header(header::CONTENT_TYPE, "application/json").header(header::HOST, "localhost");
    let request =
        if token.is_empty() { request } else { request.header(header::AUTHORIZATION, format!("Bearer {token}")) };
    request.body(body.to_owned())
}

struct Real;

impl Clock for Real {
    fn now(&self) -> Timestamp {
        now().into()
    }
}

impl Ids for Real {
    fn next(&self) -> Uuid {
        fresh_id()
    }
}

/// Passwords that take no time.
struct Plain;

#[async_trait]
impl Passwords for Plain {
    async fn hash(&self, _: HashedFor, password: Password) -> Result<String, TooManyHashes> {
        Ok(password.into_string())
    }

    async fn verify(&self, _: HashedFor, password: String, hash: Option<String>) -> Result<bool, TooManyHashes> {
        Ok(hash.is_some_and(|hash| hash == password))
    }
}

/// What is measured looks nothing up.
struct NothingToFind;

#[async_trait]
impl Lookups for NothingToFind {
    async fn admin_accounts(&self, _: &EmailAddress, _: u32, _: Position) -> Result<Vec<UserId>, LookupError> {
        Ok(vec![])
    }

    async fn unfinished_logins(&self, _: Timestamp, _: u32) -> Result<Vec<UnfinishedLogin>, LookupError> {
        Ok(vec![])
    }

    async fn calls_rung_out(&self, _: Timestamp, _: u32) -> Result<Vec<CallId>, LookupError> {
        Ok(vec![])
    }

    async fn super_admins(&self, _: u32, _: Position) -> Result<Vec<UserId>, LookupError> {
        Ok(vec![])
    }

    async fn idle_files(&self, _: Timestamp, _: u32) -> Result<Vec<FileId>, LookupError> {
        Ok(vec![])
    }

    async fn stale_carriers(&self, _: Timestamp, _: u32) -> Result<Vec<(FileId, MessageId)>, LookupError> {
        Ok(vec![])
    }

    async fn active_calls(&self) -> Result<Vec<ActiveCall>, LookupError> {
        Ok(vec![])
    }
}

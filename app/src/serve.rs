//! Puts everything together, serves until told to stop, and takes everything apart again in the right order.

use std::sync::Arc;
use std::time::Duration;

use api::{
    AllowedOrigins, Api, AuditGate, ConnectionLimits, IceServers, Limits, LiveLimits, NoNetwork, OwnPages, RateLimits,
    Realtime, Tokens, TrustedProxies, Turn,
};
use cluster::{Bus, BusError, NodeId, Presence, Tickets};
use commands::{Clock, Commands, Dependencies, FirstSuperAdmin, Ids, KeyedHash};
use domain::{EmailAddress, Password};
use event_store::{EventStore, Position, StoreError};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use poem::listener::{Acceptor, Listener, TcpListener};
use projections::ReadModels;
use sqlx::PgPool;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::blobs::BlobsError;
use crate::database::{Database, DatabaseError};
use crate::event_log::{Log, LogError};
use crate::keys::{self, KeyError, MasterKey};
use crate::lookups::ReadModelLookups;
use crate::passwords::SlowHashes;
use crate::settings::{Settings, ms};
use crate::system::System;
use crate::{blobs, chores, demo, machine, memory, system};

/// Maximum wait, at start, for the connection to other nodes.
const BUS_PATIENCE: Duration = Duration::from_secs(5);
/// Time that accepted requests may take to finish once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Time that closing the database may take; the private Postgres is shut down with it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);
/// Descriptors that connections of clients leave to everything else, such as the files that they take in: half of all where there are
/// few.
const RESERVED_DESCRIPTORS: usize = 512;
/// Buckets of figures in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Buckets of figures that count events.
const EVENTS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 512.0, 1024.0, 2048.0];
const DEFAULT_ADMIN_EMAIL: &str = "admin@example.com";

/// Why the server can't start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("the data directory {path} can't be made")]
    DataDir { path: String, source: std::io::Error },
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("SWITCHBOARD_BUS can't be used")]
    Bus(#[from] BusError),
    #[error(transparent)]
    Blobs(#[from] BlobsError),
    #[error("SWITCHBOARD_TRUSTED_PROXIES")]
    TrustedProxies(#[from] NoNetwork),
    #[error("the first super admin can't be made: SWITCHBOARD_ADMIN_{0}")]
    Admin(String),
    #[error("the first accounts can't be made")]
    FirstAccounts(#[source] commands::Error),
    #[error(
        "a demo, whose passwords are published, would be open to whoever reaches {0}: listen on 127.0.0.1, or say --demo-public"
    )]
    PublicDemo(String),
    #[error("can't listen on {address}")]
    Listen { address: String, source: std::io::Error },
    #[error("a part of the server has broken down: its log says which")]
    Broken,
}

/// Serves until SIGINT or SIGTERM.
pub(crate) async fn serve(settings: Settings) -> Result<(), ServeError> {
    if settings.demo && !settings.demo_public && !settings.listen.ip().is_loopback() {
        return Err(ServeError::PublicDemo(settings.listen.to_string()));
    }
    machine::ensure_private_dir(&settings.data_dir)
        .map_err(|source| ServeError::DataDir { path: settings.data_dir.display().to_string(), source })?;
    let first_admin = first_admin(&settings)?;
    let limits = connection_limits(&settings)?;
    // Taken before anything is started: the likeliest mistake is a second server on the same port.
    let acceptor = TcpListener::bind(settings.listen)
        .into_acceptor()
        .await
        .map_err(|source| ServeError::Listen { address: settings.listen.to_string(), source })?;
    let database = Database::open(&settings).await?;
    let outcome = serve_on(acceptor, &settings, &database, first_admin, limits).await;
    if tokio::time::timeout(CLOSE_PATIENCE, database.close()).await.is_err() {
        tracing::warn!("closing the database took too long");
    }
    outcome
}

async fn serve_on(
    acceptor: impl Acceptor<Io = TcpStream> + 'static,
    settings: &Settings,
    database: &Database,
    first_admin: FirstAdmin,
    limits: ConnectionLimits,
) -> Result<(), ServeError> {
    let metrics = metrics_recorder();
    let pool = database.pool.clone();
    let master_key = MasterKey::load(settings.master_key.as_deref(), &settings.data_dir)?;
    let keys = keys::load(&pool, &master_key).await?;
    let log = Log::open(settings, &pool).await?;
    let store = log.store();
    // What is remembered of streams, and what is delivered, begins here: before anything is read.
    let head = store.head().await?;

    let mut background = JoinSet::new();
    let projections = projections::Sources { store: store.clone(), pool: pool.clone() };
    let own_writes_wait = settings.own_writes_wait;
    let read_models = ReadModels::run(&projections, &database.readers, own_writes_wait, &mut background);

    let clock: Arc<dyn Clock> = Arc::new(System);
    let ids: Arc<dyn Ids> = Arc::new(System);
    let installation = keys.keyed_hash.installation();
    let commands = commands(settings, store.clone(), &read_models, keys.keyed_hash);
    background.spawn({
        let commands = commands.clone();
        async move { match commands.follow_log(head).await {} }
    });

    make_first_admin(&commands, first_admin).await?;
    // There is a first event now, if there was none.
    log.must_be_the_one_of(&pool).await?;
    make_or_suspend_demo(&commands, settings.demo).await?;

    let node = NodeId(ids.next());
    let presence = Presence::new(pool.clone(), node, settings.presence_grace);
    let bus = open_bus(settings, &pool, &installation, node, &mut background).await?;
    look_after_commands(&commands, &presence, settings, &mut background);
    if let Some(retention) = settings.feed_retention {
        background.spawn(chores::forget_old_events(read_models.feed.queries.clone(), clock.clone(), retention));
    }

    let api = Arc::new(Api {
        commands,
        read_models,
        projections,
        presence,
        tickets: Tickets::new(pool.clone(), system::random),
        files: blobs::open(settings, &installation)?,
        ice_servers: ice_servers(settings),
        store,
        tokens: Tokens::new(&keys.signing, ms(settings.token_life)),
        clock,
        ids,
        own_pages: own_pages(settings, &limits.trusted_proxies),
        limits: Limits::new(rate_limits(settings)),
        live_limits: live_limits(settings),
        audit_gate: AuditGate::default(),
        trusted_proxies: limits.trusted_proxies.clone(),
        metrics,
    });
    look_after_api(&api, pool, master_key, settings, &mut background);
    let realtime = Arc::new(Realtime::new(api.clone(), bus, head));
    run_realtime(&realtime, head, &mut background);

    for address in acceptor.local_addr().iter().filter_map(|address| address.as_socket_addr()) {
        println!("Switchboard is at http://{address} and its API explorer at http://{address}/docs");
    }
    let outcome = serve_until_stopped(acceptor, &api, &realtime, limits, &log, &mut background).await;
    shut_down(&api.commands, log).await;
    background.shutdown().await;
    outcome
}

/// Serves requests until a signal, or until a part of the server has ended.
async fn serve_until_stopped(
    acceptor: impl Acceptor<Io = TcpStream> + 'static,
    api: &Arc<Api>,
    realtime: &Arc<Realtime>,
    limits: ConnectionLimits,
    log: &Log,
    background: &mut JoinSet<()>,
) -> Result<(), ServeError> {
    let mut outcome = Ok(());
    let stop = async {
        tokio::select! {
            () = told_to_stop() => tracing::info!("stopping: finishing what was accepted"),
            // A part that has ended, which none ever should, can't be done without: better no server than half of one.
            _ = background.join_next() => outcome = Err(ServeError::Broken),
            () = log.broken() => outcome = Err(ServeError::Broken),
        }
        realtime.close().await;
    };
    api::serve_http(acceptor, api::server(api, realtime), limits, stop, DRAIN).await;
    outcome
}

/// The use cases, over the log and the read models.
fn commands(
    settings: &Settings,
    store: Arc<dyn EventStore>,
    read_models: &ReadModels,
    keyed_hash: KeyedHash,
) -> Arc<Commands> {
    Arc::new(Commands::new(Dependencies {
        store,
        lookups: Arc::new(ReadModelLookups(read_models.clone())),
        passwords: Arc::new(SlowHashes::new()),
        clock: Arc::new(System),
        ids: Arc::new(System),
        keyed_hash,
        ring_timeout_ms: ms(settings.ring_timeout),
        edit_window_ms: ms(settings.edit_window),
        temporary_passwords_must_change: settings.force_password_change,
        audit_queries_per_minute: settings.audit_query_limit,
    }))
}

/// Creates the demo business if it is wanted, and suspends it otherwise.
async fn make_or_suspend_demo(commands: &Commands, is_wanted: bool) -> Result<(), ServeError> {
    if is_wanted {
        demo::ensure(commands).await.map_err(ServeError::FirstAccounts)?;
    } else {
        commands.suspend_demo().await.map_err(ServeError::FirstAccounts)?;
    }
    Ok(())
}

/// Records what is still in memory. Each step has a deadline: a database that has disappeared must not delay the end.
async fn shut_down(commands: &Commands, log: Log) {
    if tokio::time::timeout(DRAIN, commands.sum_up_readings(true)).await.is_err() {
        tracing::warn!("recording the counted readings of the history took too long; they are lost");
    }
    if tokio::time::timeout(DRAIN, log.shut_down()).await.is_err() {
        tracing::warn!("shutting down the log took too long");
    }
}

/// Limits of connections: as many as the machine has descriptors for, except some that are left for the database, files
/// and the like.
fn connection_limits(settings: &Settings) -> Result<ConnectionLimits, ServeError> {
    let in_all = machine::raise_descriptor_limit().map_or(0, |descriptors| {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        descriptors - RESERVED_DESCRIPTORS.min(descriptors / 2)
    });
    let trusted_proxies = TrustedProxies::parse(&settings.trusted_proxies)?;
    Ok(ConnectionLimits { per_address: settings.address_connections, in_all, trusted_proxies })
}

fn own_pages(settings: &Settings, trusted_proxies: &TrustedProxies) -> OwnPages {
    let allowed = AllowedOrigins::parse(&settings.allowed_origins);
    OwnPages {
        allowed: if settings.demo { allowed.and_localhost() } else { allowed },
        trusted_proxies: trusted_proxies.clone(),
        only_own_hosts: settings.demo && !settings.demo_public,
    }
}

fn rate_limits(settings: &Settings) -> RateLimits {
    RateLimits {
        authentication: settings.auth_rate_limit,
        requests: settings.api_rate_limit,
        anonymous: settings.address_rate_limit,
        handshakes: settings.address_handshake_limit,
    }
}

fn live_limits(settings: &Settings) -> LiveLimits {
    LiveLimits {
        session: settings.session_connections,
        user: settings.user_connections,
        address: settings.address_connections,
        unknown: (settings.address_handshake_limit as usize).div_ceil(6),
    }
}

/// Runs the background tasks of commands.
fn look_after_commands(
    commands: &Arc<Commands>,
    presence: &Presence,
    settings: &Settings,
    background: &mut JoinSet<()>,
) {
    background.spawn(chores::sweep(commands.clone()));
    background.spawn(chores::sum_up_readings(commands.clone()));
    background.spawn(chores::miss_calls(commands.clone()));
    background.spawn(chores::end_lost_calls(commands.clone(), presence.clone(), settings.clone()));
}

/// Runs the background tasks of the API.
fn look_after_api(
    api: &Arc<Api>,
    pool: PgPool,
    master_key: MasterKey,
    settings: &Settings,
    background: &mut JoinSet<()>,
) {
    background.spawn(memory::give_back());
    background.spawn(chores::tidy_up(api.clone()));
    background.spawn(chores::sweep_files(api.clone()));
    background.spawn(chores::sweep_orphans(api.clone()));
    background.spawn(chores::rotate_keys(api.clone(), pool, master_key, settings.clone()));
}

/// Runs the tasks that feed the live streams.
fn run_realtime(realtime: &Arc<Realtime>, head: Position, background: &mut JoinSet<()>) {
    background.spawn({
        let realtime = realtime.clone();
        async move { match realtime.deliver(head).await {} }
    });
    background.spawn({
        let realtime = realtime.clone();
        async move { realtime.attend().await }
    });
    background.spawn({
        let realtime = realtime.clone();
        async move { realtime.keep_presence().await }
    });
}

/// Until SIGINT or SIGTERM.
async fn told_to_stop() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(error) => {
            tracing::warn!(%error, "listening for a signal failed");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

async fn open_bus(
    settings: &Settings,
    pool: &PgPool,
    installation: &str,
    node: NodeId,
    background: &mut JoinSet<()>,
) -> Result<Bus, BusError> {
    let bus = if settings.bus == "postgres" {
        let (bus, run) = Bus::over_postgres(pool.clone(), node);
        background.spawn(run);
        bus
    } else {
        let (bus, run) = Bus::over_nats(&settings.bus, format!("switchboard.{installation}"), node).await?;
        background.spawn(run);
        bus
    };
    // The first notice is that it is connected. A server that can't be reached keeps nobody from starting.
    let mut listener = bus.listen();
    if tokio::time::timeout(BUS_PATIENCE, listener.next()).await.is_err() {
        tracing::warn!("no connection to the other nodes yet; serving without, retrying in the background");
    }
    Ok(bus)
}

fn ice_servers(settings: &Settings) -> IceServers {
    // A variable that is set to nothing is one empty address.
    let given = |urls: &[String]| urls.iter().filter(|url| !url.is_empty()).cloned().collect::<Vec<_>>();
    let urls = given(&settings.turn_urls);
    let turn = settings.turn_secret.clone().filter(|_| !urls.is_empty()).map(|secret| Turn {
        urls,
        secret,
        ttl_s: ms(settings.turn_ttl) / 1000,
    });
    IceServers { stun_urls: given(&settings.stun_urls), turn }
}

struct FirstAdmin {
    account: FirstSuperAdmin,
    /// The password, if it was made up here.
    made_up: Option<String>,
}

fn first_admin(settings: &Settings) -> Result<FirstAdmin, ServeError> {
    let email = settings.admin_email.as_deref().unwrap_or(DEFAULT_ADMIN_EMAIL);
    let made_up = settings.admin_password.is_none().then(|| hex::encode(&system::random()[..10]));
    let password = settings.admin_password.as_deref().or(made_up.as_deref()).unwrap_or_default();
    let account = FirstSuperAdmin {
        email: EmailAddress::parse(email).map_err(|invalid| ServeError::Admin(format!("EMAIL {}", invalid.reason)))?,
        password: Password::parse(password)
            .map_err(|invalid| ServeError::Admin(format!("PASSWORD {}", invalid.reason)))?,
    };
    Ok(FirstAdmin { account, made_up })
}

async fn make_first_admin(commands: &Commands, first: FirstAdmin) -> Result<(), ServeError> {
    if commands.has_first_super_admin().await.map_err(ServeError::FirstAccounts)? {
        return Ok(());
    }
    if let Some(password) = first.made_up {
        // On standard output and not in the log, and before the account is made: afterwards might never come.
        let email = first.account.email.as_str();
        println!("\nThe first super admin is {email} with the password {password}: keep it, it isn't shown again.\n");
    }
    let is_new = commands.ensure_first_super_admin(first.account).await.map_err(ServeError::FirstAccounts)?;
    if !is_new {
        println!("Another node has made the first super admin just now: what it says counts.");
    }
    Ok(())
}

/// Recorder of metrics. There is one for the process.
fn metrics_recorder() -> metrics_exporter_prometheus::PrometheusHandle {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_events".to_owned()), &EVENTS))
        .expect("there are buckets")
        .build_recorder();
    let handle = recorder.handle();
    drop(metrics::set_global_recorder(recorder));
    handle
}

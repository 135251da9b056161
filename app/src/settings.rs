//! Settings: each is a flag and an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A messenger backend that a business hosts itself.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Command {
    /// Start the server (what happens without a command too)
    Serve,
    /// Print the OpenAPI document
    Openapi,
}

#[derive(Clone, Args)]
pub(crate) struct Settings {
    /// Address to listen on
    #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "127.0.0.1:8080", global = true)]
    pub(crate) listen: SocketAddr,

    /// Postgres 15 or later, for the log and the read models. Without it, a private one is run in the data directory
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub(crate) database_url: Option<String>,

    /// Directory of the private Postgres and of the master key
    #[arg(long, env = "SWITCHBOARD_DATA_DIR", default_value = "./data", global = true)]
    pub(crate) data_dir: PathBuf,

    /// Directory of the programs of Postgres; by default they are looked for on the PATH and in the usual places
    #[arg(long, env = "SWITCHBOARD_POSTGRES_BIN", global = true)]
    pub(crate) postgres_bin: Option<PathBuf>,

    /// Email of the first super admin, who is made when there is none
    #[arg(long, env = "SWITCHBOARD_ADMIN_EMAIL", global = true)]
    pub(crate) admin_email: Option<String>,

    /// Password of the first super admin; without it one is made up and printed once
    #[arg(long, env = "SWITCHBOARD_ADMIN_PASSWORD", hide_env_values = true, global = true)]
    pub(crate) admin_password: Option<String>,

    /// Web pages that may use the server besides its own, like `https://app.example.com`; comma-separated, `*` for all
    #[arg(long, env = "SWITCHBOARD_ALLOWED_ORIGINS", default_value = "", global = true)]
    pub(crate) allowed_origins: String,

    /// Logins a minute for an account; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_AUTH_RATE_LIMIT", default_value_t = 100, global = true)]
    pub(crate) auth_rate_limit: u32,

    /// Requests a minute in a session; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_API_RATE_LIMIT", default_value_t = 1000, global = true)]
    pub(crate) api_rate_limit: u32,

    /// How nodes tell each other who types, who is online and how calls are set up: `postgres`, or a NATS server like
    /// `nats://localhost:4222`
    #[arg(long, env = "SWITCHBOARD_BUS", default_value = "postgres", hide_env_values = true, global = true)]
    pub(crate) bus: String,

    /// How long a call rings before it is missed
    #[arg(long, env = "SWITCHBOARD_RING_TIMEOUT", default_value = "45s", value_parser = humantime::parse_duration, global = true)]
    pub(crate) ring_timeout: Duration,

    /// How long a call goes on without either of its parties being connected
    #[arg(long, env = "SWITCHBOARD_LOST_CALL_TIMEOUT", default_value = "60s", value_parser = humantime::parse_duration, global = true)]
    pub(crate) lost_call_timeout: Duration,

    /// How long a person stays online after their last device has left
    #[arg(long, env = "SWITCHBOARD_PRESENCE_GRACE", default_value = "5s", value_parser = humantime::parse_duration, global = true)]
    pub(crate) presence_grace: Duration,

    /// How long an access token is good for, and a live stream that is opened with it
    #[arg(long, env = "SWITCHBOARD_TOKEN_LIFE", default_value = "1h", value_parser = humantime::parse_duration, global = true)]
    pub(crate) token_life: Duration,

    /// How far back clients can catch up, in whole days like `90d`; without it, to the beginning
    #[arg(long, env = "SWITCHBOARD_FEED_RETENTION", value_parser = humantime::parse_duration, global = true)]
    pub(crate) feed_retention: Option<Duration>,

    /// STUN servers for calls, like `stun:stun.example.com:3478`; comma-separated
    #[arg(long, env = "SWITCHBOARD_STUN_URLS", value_delimiter = ',', global = true)]
    pub(crate) stun_urls: Vec<String>,

    /// TURN servers for calls, like `turn:turn.example.com:3478?transport=udp`; comma-separated
    #[arg(long, env = "SWITCHBOARD_TURN_URLS", value_delimiter = ',', requires = "turn_secret", global = true)]
    pub(crate) turn_urls: Vec<String>,

    /// Secret that the TURN servers share with us: coturn's `static-auth-secret`
    #[arg(long, env = "SWITCHBOARD_TURN_SECRET", hide_env_values = true, global = true)]
    pub(crate) turn_secret: Option<String>,

    /// How long credentials for the TURN servers are good for
    #[arg(long, env = "SWITCHBOARD_TURN_TTL", default_value = "12h", value_parser = humantime::parse_duration, global = true)]
    pub(crate) turn_ttl: Duration,

    /// 64 hexadecimal digits that seal the keys in the database; every node needs the same. Without it, a key is made up and
    /// kept in the data directory
    #[arg(long, env = "SWITCHBOARD_MASTER_KEY", hide_env_values = true, global = true)]
    pub(crate) master_key: Option<String>,

    /// Make a demo business with people to try things with, and print their logins
    #[arg(long, global = true)]
    pub(crate) demo: bool,

    /// How log lines look
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", default_value = "human", global = true)]
    pub(crate) log_format: LogFormat,

    /// Which log lines there are, like `info` or `info,api=debug`
    #[arg(long, env = "SWITCHBOARD_LOG", default_value = "info", global = true)]
    pub(crate) log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Human,
    /// For machines
    Json,
}

/// Without the secrets.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// A duration in milliseconds.
pub(crate) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

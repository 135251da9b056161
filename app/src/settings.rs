//! Settings: each is a flag and an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use domain::{BusinessId, Timestamp};

/// A messenger backend that a business hosts itself.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Start the server (what happens without a command too)
    Serve,
    /// Look after what is built from the history; the server may run meanwhile
    #[command(subcommand)]
    Projections(ProjectionsCommand),
    /// Read the history, and prove that what is shown is what it says; the server may run meanwhile
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print the OpenAPI document
    Openapi,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ProjectionsCommand {
    /// Show how they are doing
    Status,
    /// Build one anew, or `all`, beside what is read, and have it take its place
    Rebuild { name: String },
    /// List the events that one couldn't take in
    Parked { name: String },
    /// Try the events again that one couldn't take in
    Retry { name: String },
    /// Drop the tables that the last rebuild has replaced
    Drop { name: String },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AuditCommand {
    /// Write the history as lines of JSON
    Export {
        /// Events recorded at this time or later, like `2025-11-22T10:30:00Z`
        #[arg(long)]
        from: Option<Timestamp>,
        /// Events recorded at this time or earlier
        #[arg(long)]
        to: Option<Timestamp>,
        /// Events of this business only, by its id
        #[arg(long)]
        business: Option<BusinessId>,
        /// Events after this position only: that of the last line of an export that broke off
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// File to write to; without one, standard output
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Show people, conversations, messages and calls as they were, as lines of JSON
    State {
        /// Time, such as `2025-11-22T10:30:00Z`
        #[arg(long)]
        at: Timestamp,
        /// Of this business only, by its id
        #[arg(long)]
        business: Option<BusinessId>,
    },
    /// Replay the whole history and compare every row that is read with what it says
    Verify {
        /// Projections to compare; without any, all
        names: Vec<String>,
    },
    /// Print the catalogue of events
    Catalogue,
}

#[derive(Clone, Args)]
pub(crate) struct Settings {
    /// Address to listen on
    #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "127.0.0.1:8080", global = true)]
    pub(crate) listen: SocketAddr,

    /// Postgres 15 or later, for the log and the read models. Without it, a private one is run in the data directory
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub(crate) database_url: Option<String>,

    /// File with the URL of the database, for where secrets are files
    #[arg(long, env = "DATABASE_URL_FILE", conflicts_with = "database_url", global = true)]
    pub(crate) database_url_file: Option<PathBuf>,

    /// Directory of the private Postgres, of files and of the master key
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

    /// File with the password of the first super admin, for where secrets are files
    #[arg(long, env = "SWITCHBOARD_ADMIN_PASSWORD_FILE", conflicts_with = "admin_password", global = true)]
    pub(crate) admin_password_file: Option<PathBuf>,

    /// Web pages that may use the server besides its own, like `https://app.example.com`; comma-separated, `*` for all
    #[arg(long, env = "SWITCHBOARD_ALLOWED_ORIGINS", default_value = "", global = true)]
    pub(crate) allowed_origins: String,

    /// Logins a minute for an account; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_AUTH_RATE_LIMIT", default_value_t = 100, global = true)]
    pub(crate) auth_rate_limit: u32,

    /// Requests a minute in a session; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_API_RATE_LIMIT", default_value_t = 1000, global = true)]
    pub(crate) api_rate_limit: u32,

    /// Requests a minute that don't say who they are from, from an address; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_ADDRESS_RATE_LIMIT", default_value_t = 600, global = true)]
    pub(crate) address_rate_limit: u32,

    /// Different queries of the history a minute by a reader, each of which is recorded; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_AUDIT_QUERY_LIMIT", default_value_t = 60, global = true)]
    pub(crate) audit_query_limit: u32,

    /// Socket.IO handshakes a minute from an address, all of which may come at once; a sixth of them may be open without having said
    /// who they are; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_ADDRESS_HANDSHAKE_LIMIT", default_value_t = 3000, global = true)]
    pub(crate) address_handshake_limit: u32,

    /// Live connections of a session; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_SESSION_CONNECTIONS", default_value_t = 10, global = true)]
    pub(crate) session_connections: usize,

    /// Live connections of a user, in all their sessions; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_USER_CONNECTIONS", default_value_t = 30, global = true)]
    pub(crate) user_connections: usize,

    /// Connections from an address, live or not; trusted proxies are exempt; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_ADDRESS_CONNECTIONS", default_value_t = 2000, global = true)]
    pub(crate) address_connections: usize,

    /// Megabytes (1,048,576 bytes) that the files of a user may take; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_USER_QUOTA_MB", default_value_t = 5_120, global = true)]
    pub(crate) user_quota_mb: u64,

    /// Megabytes that the files of a business may take; 0 for no limit
    #[arg(long, env = "SWITCHBOARD_BUSINESS_QUOTA_MB", default_value_t = 102_400, global = true)]
    pub(crate) business_quota_mb: u64,

    /// Megabytes that uploads leave free on the disk of the data directory: below it only uploads stop
    #[arg(long, env = "SWITCHBOARD_DISK_RESERVE_MB", default_value_t = 1_024, global = true)]
    pub(crate) disk_reserve_mb: u64,

    /// Proxies whose `X-Forwarded-For` says where requests come from: addresses and networks, comma-separated
    #[arg(long, env = "SWITCHBOARD_TRUSTED_PROXIES", default_value = "", global = true)]
    pub(crate) trusted_proxies: String,

    /// Store of the log: `postgres` is the database, `kurrentdb://…` or `esdb://…` a KurrentDB, like
    /// `kurrentdb://localhost:2113?tls=false` or `kurrentdb+discover://cluster.example.com:2113`
    #[arg(long, env = "SWITCHBOARD_EVENT_STORE", default_value = "postgres", hide_env_values = true, global = true)]
    pub(crate) event_store: String,

    /// File with the address of the log, for where secrets are files
    #[arg(long, env = "SWITCHBOARD_EVENT_STORE_FILE", conflicts_with = "event_store", global = true)]
    pub(crate) event_store_file: Option<PathBuf>,

    /// Transport between nodes for typing, presence and call signals: `postgres`, or a NATS server like
    /// `nats://localhost:4222`
    #[arg(long, env = "SWITCHBOARD_BUS", default_value = "postgres", hide_env_values = true, global = true)]
    pub(crate) bus: String,

    /// File with the address of the bus, for where secrets are files
    #[arg(long, env = "SWITCHBOARD_BUS_FILE", conflicts_with = "bus", global = true)]
    pub(crate) bus_file: Option<PathBuf>,

    /// Time for which a call rings before it is missed
    #[arg(long, env = "SWITCHBOARD_RING_TIMEOUT", default_value = "45s", value_parser = humantime::parse_duration, global = true)]
    pub(crate) ring_timeout: Duration,

    /// Time for which a call goes on without either user being connected
    #[arg(long, env = "SWITCHBOARD_LOST_CALL_TIMEOUT", default_value = "60s", value_parser = humantime::parse_duration, global = true)]
    pub(crate) lost_call_timeout: Duration,

    /// Time for which a user stays online after their last connection has ended
    #[arg(long, env = "SWITCHBOARD_PRESENCE_GRACE", default_value = "5s", value_parser = humantime::parse_duration, global = true)]
    pub(crate) presence_grace: Duration,

    /// Life of an access token, and of a live connection that is opened with it
    #[arg(long, env = "SWITCHBOARD_TOKEN_LIFE", default_value = "1h", value_parser = humantime::parse_duration, global = true)]
    pub(crate) token_life: Duration,

    /// Time for which a read without a position waits for the writes of its node before it answers without them
    #[arg(long, env = "SWITCHBOARD_OWN_WRITES_WAIT", default_value = "250ms", value_parser = humantime::parse_duration, global = true)]
    pub(crate) own_writes_wait: Duration,

    /// Age up to which clients can catch up, in whole days like `90d`; without it, everything
    #[arg(long, env = "SWITCHBOARD_FEED_RETENTION", value_parser = humantime::parse_duration, global = true)]
    pub(crate) feed_retention: Option<Duration>,

    /// Time after sending in which a message may be edited
    #[arg(long, env = "SWITCHBOARD_EDIT_WINDOW", default_value = "1d", value_parser = humantime::parse_duration, global = true)]
    pub(crate) edit_window: Duration,

    /// Store of the bytes of files: `file` is the data directory, `s3://bucket/prefix` is S3 or a compatible store
    #[arg(long, env = "SWITCHBOARD_BLOBS", default_value = "file", global = true)]
    pub(crate) blobs: String,

    /// Secret access key of S3
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true, global = true)]
    pub(crate) aws_secret_access_key: Option<String>,

    /// File with the secret access key of S3, for where secrets are files
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY_FILE", conflicts_with = "aws_secret_access_key", global = true)]
    pub(crate) aws_secret_access_key_file: Option<PathBuf>,

    /// Users change a password set by an administrator before they use the messenger
    #[arg(
        long,
        env = "SWITCHBOARD_FORCE_PASSWORD_CHANGE",
        default_value_t = false,
        num_args = 0..=1,
        default_missing_value = "true",
        action = ArgAction::Set,
        global = true
    )]
    pub(crate) force_password_change: bool,

    /// Time for which tokens are signed with the same key
    #[arg(long, env = "SWITCHBOARD_SIGNING_KEY_LIFE", default_value = "30d", value_parser = humantime::parse_duration, global = true)]
    pub(crate) signing_key_life: Duration,

    /// STUN servers for calls, like `stun:stun.example.com:3478`; comma-separated
    #[arg(long, env = "SWITCHBOARD_STUN_URLS", value_delimiter = ',', global = true)]
    pub(crate) stun_urls: Vec<String>,

    /// TURN servers for calls, like `turn:turn.example.com:3478?transport=udp`; comma-separated
    #[arg(long, env = "SWITCHBOARD_TURN_URLS", value_delimiter = ',', requires = "turn_secrets", global = true)]
    pub(crate) turn_urls: Vec<String>,

    /// Secret that the TURN servers share with us: coturn's `static-auth-secret`
    #[arg(long, env = "SWITCHBOARD_TURN_SECRET", hide_env_values = true, group = "turn_secrets", global = true)]
    pub(crate) turn_secret: Option<String>,

    /// File with that secret, for where secrets are files
    #[arg(long, env = "SWITCHBOARD_TURN_SECRET_FILE", group = "turn_secrets", global = true)]
    pub(crate) turn_secret_file: Option<PathBuf>,

    /// Life of credentials for the TURN servers
    #[arg(long, env = "SWITCHBOARD_TURN_TTL", default_value = "12h", value_parser = humantime::parse_duration, global = true)]
    pub(crate) turn_ttl: Duration,

    /// 64 hexadecimal digits that seal the keys in the database; every node needs the same. Without it, a key is made up and
    /// kept in the data directory
    #[arg(long, env = "SWITCHBOARD_MASTER_KEY", hide_env_values = true, global = true)]
    pub(crate) master_key: Option<String>,

    /// File with the master key, for where secrets are files
    #[arg(long, env = "SWITCHBOARD_MASTER_KEY_FILE", conflicts_with = "master_key", global = true)]
    pub(crate) master_key_file: Option<PathBuf>,

    /// Make a demo business with people to try things with, and print their logins. Without it, a demo business that is there is
    /// suspended
    #[arg(long, global = true)]
    pub(crate) demo: bool,

    /// Let everybody who reaches this machine into the demo, whose passwords are published
    #[arg(long, requires = "demo", global = true)]
    pub(crate) demo_public: bool,

    /// Format of log lines
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", default_value = "human", global = true)]
    pub(crate) log_format: LogFormat,

    /// Filter of log lines, like `info` or `info,api=debug`
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

/// A secret can't be read from its file.
#[derive(Debug, thiserror::Error)]
#[error("the file {path} with the secret for {setting} can't be read")]
pub(crate) struct SecretFileError {
    setting: &'static str,
    path: String,
    source: std::io::Error,
}

impl Settings {
    /// The same settings, with the secrets that lie in files.
    ///
    /// # Errors
    /// If one of the files can't be read.
    pub(crate) fn with_secrets_from_files(mut self) -> Result<Self, SecretFileError> {
        let read = |setting, path: &Option<PathBuf>| path.as_deref().map(|path| read_secret(setting, path)).transpose();
        for (setting, file, secret) in [
            ("DATABASE_URL", &self.database_url_file, &mut self.database_url),
            ("SWITCHBOARD_ADMIN_PASSWORD", &self.admin_password_file, &mut self.admin_password),
            ("SWITCHBOARD_MASTER_KEY", &self.master_key_file, &mut self.master_key),
            ("SWITCHBOARD_TURN_SECRET", &self.turn_secret_file, &mut self.turn_secret),
            ("AWS_SECRET_ACCESS_KEY", &self.aws_secret_access_key_file, &mut self.aws_secret_access_key),
        ] {
            *secret = read(setting, file)?.or(secret.take());
        }
        if let Some(address) = read("SWITCHBOARD_EVENT_STORE", &self.event_store_file)? {
            self.event_store = address;
        }
        if let Some(address) = read("SWITCHBOARD_BUS", &self.bus_file)? {
            self.bus = address;
        }
        Ok(self)
    }
}

/// The secret in a file, without the end of its line.
fn read_secret(setting: &'static str, path: &std::path::Path) -> Result<String, SecretFileError> {
    let failed = |source| SecretFileError { setting, path: path.display().to_string(), source };
    std::fs::read_to_string(path).map(|secret| secret.trim_end_matches(['\r', '\n']).to_owned()).map_err(failed)
}

/// A duration in milliseconds.
pub(crate) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

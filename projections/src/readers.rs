//! The connections over which questions are answered.
//!
//! The pool of sqlx pings each connection that is given back to it, in a task of its own, which can't be turned off: a round trip
//! that costs as much as a small query. These connections are pinged when there is a reason to.

use std::io::ErrorKind;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::postgres::{PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{ConnectOptions, Connection, Either, Execute, Executor, PgConnection, Postgres, SqlStr};

/// Maximum number of connections.
const MAX_READERS: usize = 12;
/// Time to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time to wait for the answer to a ping. A cancelled request may have left a statement that takes longer.
const PING_PATIENCE: Duration = Duration::from_millis(250);
/// Pause before connecting again to a database that is not ready; it doubles.
const FIRST_CONNECT_PAUSE: Duration = Duration::from_millis(10);
/// A connection that has been used as lately as this is there still, as far as anybody can tell.
const USED_LATELY: Duration = Duration::from_secs(1);
/// A connection is replaced after this time: what Postgres keeps for it grows.
const LIFETIME: Duration = Duration::from_mins(30);

/// Answers single statements, each over whichever connection is free. What takes several of them, one after the other, is the affair
/// of [`sqlx::PgPool`]: it sees to it that a transaction is over before its connection goes to somebody else.
#[derive(Clone, Debug)]
pub struct Readers(Pool<Connector>);

impl Readers {
    /// Connects when there is something to be asked.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "only a pool with time-outs of its own can be lacking something")]
    pub fn of(options: PgConnectOptions) -> Self {
        let pool = Pool::builder(Connector { options }).max_size(MAX_READERS);
        // The one that was used last: it and its process in the database have at hand what they need.
        let pool = pool.queue_mode(QueueMode::Lifo).build();
        Self(pool.expect("it has no time-outs"))
    }

    /// Closes the connections. What is asked from here on fails.
    pub fn close(&self) {
        self.0.close();
    }

    async fn get(&self) -> Result<Object<Connector>, sqlx::Error> {
        match tokio::time::timeout(PATIENCE, self.0.get()).await {
            Ok(Ok(reader)) => Ok(reader),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed),
            Ok(Err(_)) | Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }
}

#[derive(Debug)]
struct Connector {
    options: PgConnectOptions,
}

/// A connection that answers questions.
#[derive(Debug)]
struct Reader {
    connection: PgConnection,
    /// True if every statement has been answered. False if a request was cancelled, or the connection broke.
    is_idle: bool,
}

impl Manager for Connector {
    type Type = Reader;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Reader, sqlx::Error> {
        let mut pause = FIRST_CONNECT_PAUSE;
        loop {
            match self.options.connect().await {
                Ok(connection) => return Ok(Reader { connection, is_idle: true }),
                Err(error) if passes(&error) => tokio::time::sleep(pause).await,
                Err(error) => return Err(error),
            }
            pause *= 2;
        }
    }

    async fn recycle(&self, reader: &mut Reader, usage: &Metrics) -> RecycleResult<sqlx::Error> {
        if usage.age() > LIFETIME {
            return Err(RecycleError::message("it is old"));
        }
        if !reader.is_idle || usage.last_used() > USED_LATELY {
            // This waits for what is under way to be over as well.
            let ping = tokio::time::timeout(PING_PATIENCE, reader.connection.ping()).await;
            ping.map_err(|_| RecycleError::message("it doesn't answer"))??;
        }
        Ok(())
    }
}

/// Returns true if a database may soon accept connections: it starts, shuts down, or has none left.
fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        // cannot_connect_now, too_many_connections
        sqlx::Error::Database(error) => error.code().is_some_and(|code| matches!(&*code, "57P03" | "53300")),
        _ => false,
    }
}

impl<'p> Executor<'p> for &'p Readers {
    type Database = Postgres;

    /// All rows at once: the connection is free again before anybody looks at them.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let rows = async move {
            let mut reader = self.get().await?;
            reader.is_idle = false;
            let rows: Vec<_> = reader.connection.fetch_many(query).try_collect().await?;
            reader.is_idle = true;
            Ok(stream::iter(rows.into_iter().map(Ok)))
        };
        rows.try_flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let row = async move {
            let mut reader = self.get().await?;
            reader.is_idle = false;
            let row = reader.connection.fetch_optional(query).await?;
            reader.is_idle = true;
            Ok(row)
        };
        row.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        async move { self.get().await?.connection.prepare_with(sql, parameters).await }.boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        async move { self.get().await?.connection.describe(sql).await }.boxed()
    }
}

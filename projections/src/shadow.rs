//! Tables of a projection that are built beside those that serve, in a schema of their own: to take their place, to be compared with
//! them, or to show what was at some moment of the past.

use std::sync::Arc;

use event_store::{EventStore, Position, RecordedEvent, StoreError};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio_util::task::AbortOnDropHandle;

use crate::intake::{Intake, Setback};
use crate::projector::Projector;
use crate::runner::{connect, try_lock};

/// Events that are taken in together, and bytes of their data: about so many. Rows that many events change, as those of a conversation,
/// are written once for all of them.
const PAGE_EVENTS: usize = 20_000;
const PAGE_BYTES: usize = 16 * 1024 * 1024;
/// Events that are read at once.
const READ_EVENTS: usize = 5000;
/// Tables that a projection needs besides its own.
const BOOKKEEPING: [&str; 2] = ["projection_checkpoints", "parked_events"];

/// A projection's tables in a schema of their own, and the connection that writes to them.
pub(crate) struct Shadow {
    pub(crate) projector: Projector,
    /// Its schema.
    pub(crate) schema: String,
    /// The schema of the tables that serve, quoted.
    pub(crate) live: String,
    /// Sees the tables of the shadow in place of those that serve.
    pub(crate) connection: PgConnection,
    pub(crate) intake: Intake,
    ahead: Option<Ahead>,
}

/// Events that are read before it is their turn.
struct Ahead {
    after: Position,
    page: AbortOnDropHandle<Result<Page, StoreError>>,
}

/// A stretch of the log.
struct Page {
    events: Vec<RecordedEvent>,
    /// True if there was room for more and nothing more to be read.
    is_last: bool,
}

/// Result of applying a page.
pub(crate) struct Taken {
    /// Number of events.
    pub(crate) events: usize,
    /// True if everything that could be read was applied.
    pub(crate) is_all: bool,
}

/// Result of opening a shadow.
pub(crate) enum Opened {
    /// It can be written to.
    Ours(Box<Shadow>),
    /// Another process writes to it.
    InUse,
}

impl Shadow {
    /// Opens the shadow of that purpose, and makes it if it isn't there. It is nobody else's for as long as this lasts.
    pub(crate) async fn open(projector: Projector, purpose: &str, pool: &PgPool) -> Result<Opened, sqlx::Error> {
        let schema = format!("{purpose}_{}", projector.name);
        let mut connection = connect(pool, Some(&schema)).await?;
        if !try_lock(&mut connection, &format!("switchboard shadow {schema}")).await? {
            return Ok(Opened::InUse);
        }
        let live = sqlx::query_scalar!(r#"SELECT quote_ident(current_schema()) AS "live!""#).fetch_one(pool).await?;
        if !is_usable(&mut connection, &schema, &live, projector).await? {
            make(&mut connection, &schema, &live, projector).await?;
        }
        let intake = Intake::begin(projector, &mut connection).await?;
        Ok(Opened::Ours(Box::new(Self { projector, schema, live, connection, intake, ahead: None })))
    }

    /// Throws away what is in it and makes it anew.
    pub(crate) async fn empty(&mut self) -> Result<(), sqlx::Error> {
        make(&mut self.connection, &self.schema, &self.live, self.projector).await?;
        self.intake = Intake::begin(self.projector, &mut self.connection).await?;
        Ok(())
    }

    /// Takes the next page of the log in, nothing of it after a position, and reads the one after it meanwhile.
    pub(crate) async fn take_in_page(
        &mut self,
        store: &Arc<dyn EventStore>,
        until: Position,
    ) -> Result<Taken, Setback> {
        let after = self.intake.at;
        if after >= until {
            return Ok(Taken::nothing());
        }
        let ahead = match self.ahead.take() {
            Some(ahead) if ahead.after == after => ahead.page.await.ok(),
            _ => None,
        };
        let page = match ahead {
            Some(page) => page?,
            None => Page::read(&**store, after).await?,
        };
        let last = page.events.last().map(|event| event.position).filter(|last| !page.is_last && *last < until);
        self.ahead = last.map(|after| Ahead::begin(store.clone(), after));
        page.take_in(&mut self.intake, &mut self.connection, until).await
    }

    /// Makes the indexes that were left for the end.
    pub(crate) async fn make_last_indexes(&mut self) -> Result<(), sqlx::Error> {
        for table in self.projector.indexed_last {
            make_indexes(&mut self.connection, &self.schema, &self.live, table).await?;
        }
        Ok(())
    }

    /// Throws it away.
    pub(crate) async fn discard(mut self) -> Result<(), sqlx::Error> {
        execute(&mut self.connection, format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema)).await?;
        self.connection.close().await
    }
}

impl Ahead {
    /// In a task of its own: to read a page takes about as long as to take one in.
    fn begin(store: Arc<dyn EventStore>, after: Position) -> Self {
        let page = tokio::spawn(async move { Page::read(&*store, after).await });
        Self { after, page: AbortOnDropHandle::new(page) }
    }
}

impl Page {
    async fn read(store: &dyn EventStore, after: Position) -> Result<Self, StoreError> {
        let (mut events, mut bytes) = (vec![], 0);
        while events.len() < PAGE_EVENTS && bytes < PAGE_BYTES {
            let after = events.last().map_or(after, |event: &RecordedEvent| event.position);
            let more = store.read_all(after, READ_EVENTS).await?;
            // A log may hand out fewer than it was asked for: only when there are none it has come to its end.
            if more.is_empty() {
                return Ok(Self { events, is_last: true });
            }
            bytes += more.iter().map(|event| event.data.len()).sum::<usize>();
            events.extend(more);
        }
        Ok(Self { events, is_last: false })
    }

    async fn take_in(
        &self,
        intake: &mut Intake,
        connection: &mut PgConnection,
        until: Position,
    ) -> Result<Taken, Setback> {
        let events: Vec<_> = self.events.iter().take_while(|event| event.position <= until).collect();
        intake.take_in(connection, &events).await?;
        Ok(Taken { events: events.len(), is_all: self.is_last || events.len() < self.events.len() })
    }
}

impl Taken {
    fn nothing() -> Self {
        Self { events: 0, is_all: true }
    }
}

/// Takes the next page of the log in, on this connection.
pub(crate) async fn take_in_page(
    intake: &mut Intake,
    connection: &mut PgConnection,
    store: &dyn EventStore,
    until: Position,
) -> Result<Taken, Setback> {
    if intake.at >= until {
        return Ok(Taken::nothing());
    }
    Page::read(store, intake.at).await?.take_in(intake, connection, until).await
}

/// Returns true if an existing shadow can be continued: it has the same version, and tables of the current shape.
async fn is_usable(
    connection: &mut PgConnection,
    schema: &str,
    live: &str,
    projector: Projector,
) -> Result<bool, sqlx::Error> {
    let of_live = shape(connection, live, projector).await?;
    let of_shadow = shape(connection, schema, projector).await?;
    let is_alike = tables(projector).zip(of_live.iter().zip(&of_shadow)).all(|(table, (live, shadow))| {
        // Of what is made last, nothing but the columns need be there yet.
        let is_due = |part: &&String| !projector.indexed_last.contains(&table) || part.starts_with(COLUMN);
        !shadow.is_empty()
            && shadow.iter().all(|part| live.contains(part))
            && live.iter().filter(is_due).all(|part| shadow.contains(part))
    });
    if !is_alike {
        return Ok(false);
    }
    let version = format!("SELECT version FROM {schema}.projection_checkpoints WHERE projection = $1");
    let version: Option<i32> =
        sqlx::query_scalar(AssertSqlSafe(version)).bind(projector.name).fetch_optional(connection).await?;
    Ok(version == Some(projector.version))
}

/// The tables of a shadow.
fn tables(projector: Projector) -> impl Iterator<Item = &'static str> {
    projector.tables.iter().copied().chain(BOOKKEEPING)
}

/// Prefix of the columns in a shape.
const COLUMN: &str = "column ";

/// What the tables of a projection in some schema are like: their columns, indexes and constraints. Nothing of those that aren't there.
async fn shape(
    connection: &mut PgConnection,
    schema: &str,
    projector: Projector,
) -> Result<Vec<Vec<String>>, sqlx::Error> {
    let tables: Vec<&str> = tables(projector).collect();
    sqlx::query_scalar(
        "SELECT ARRAY(
             SELECT format($3 || '%s %s %s', attname, atttypid, attnotnull) FROM pg_attribute
             WHERE attrelid = to_regclass($1 || '.' || name) AND attnum > 0 AND NOT attisdropped
             UNION ALL
             -- Without the schema, which is named where the table isn't found otherwise.
             SELECT regexp_replace(pg_get_indexdef(indexrelid), ' ON [^ ]+ ', ' ON ') FROM pg_index
             WHERE indrelid = to_regclass($1 || '.' || name)
             UNION ALL
             SELECT format('%s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
             WHERE conrelid = to_regclass($1 || '.' || name)
         )
         FROM unnest($2::text[]) WITH ORDINALITY AS known(name, n) ORDER BY n",
    )
    .bind(schema)
    .bind(tables)
    .bind(COLUMN)
    .fetch_all(connection)
    .await
}

/// Makes empty tables like those that serve, with the same names of constraints and indexes: they may take their place.
async fn make(
    connection: &mut PgConnection,
    schema: &str,
    live: &str,
    projector: Projector,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    execute(&mut transaction, format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
    execute(&mut transaction, format!("CREATE SCHEMA {schema}")).await?;
    for table in tables(projector) {
        let options: Option<String> =
            sqlx::query_scalar("SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = to_regclass($1)")
                .bind(format!("{live}.{table}"))
                .fetch_one(&mut *transaction)
                .await?;
        let options = options.map(|options| format!("WITH ({options})")).unwrap_or_default();
        let columns = format!("LIKE {live}.{table} INCLUDING ALL EXCLUDING INDEXES");
        execute(&mut transaction, format!("CREATE TABLE {schema}.{table} ({columns}) {options}")).await?;
        if !projector.indexed_last.contains(&table) {
            make_indexes(&mut transaction, schema, live, table).await?;
        }
    }
    transaction.commit().await
}

/// Makes the indexes of a table that aren't there yet, and the constraints that are made of some.
async fn make_indexes(connection: &mut PgConnection, schema: &str, live: &str, table: &str) -> Result<(), sqlx::Error> {
    let definitions: Vec<String> = sqlx::query_scalar(
        "SELECT format('ALTER TABLE %s.%I ADD CONSTRAINT %I %s', $2, $3, conname, pg_get_constraintdef(oid))
         FROM pg_constraint WHERE conrelid = to_regclass($1 || '.' || $3) AND contype IN ('p', 'u')
           AND to_regclass(format('%s.%I', $2, conname)) IS NULL
         UNION ALL
         SELECT regexp_replace(pg_get_indexdef(indexrelid), ' ON [^ ]+ ', format(' ON %s.%I ', $2, $3))
         FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
         WHERE indrelid = to_regclass($1 || '.' || $3)
           AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
           AND to_regclass(format('%s.%I', $2, relname)) IS NULL",
    )
    .bind(live)
    .bind(schema)
    .bind(table)
    .fetch_all(&mut *connection)
    .await?;
    for definition in definitions {
        execute(connection, definition).await?;
    }
    Ok(())
}

/// Runs a statement that is made of names of our own.
pub(crate) async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

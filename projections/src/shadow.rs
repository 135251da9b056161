//! Tables of a projection that are built beside those that serve, in a schema of their own: to take their place, to be compared with
//! them, or to show what was at some moment of the past.

use std::sync::Arc;

use event_store::{EventStore, Position, RecordedEvent, StoreError};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};
use tokio_util::task::AbortOnDropHandle;

use crate::intake::{Intake, Setback};
use crate::projector::Projector;
use crate::runner::{connect, try_lock};

/// Events that are read and taken in together at most.
const PAGE_EVENTS: usize = 5000;
/// What feeding a projection needs besides its own tables.
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
    page: AbortOnDropHandle<Result<Vec<RecordedEvent>, StoreError>>,
}

/// What became of opening a shadow.
pub(crate) enum Opened {
    /// It can be written to.
    Ours(Box<Shadow>),
    /// Somebody else writes to it.
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

    /// Takes the next page of the log in, nothing of it after a position, and reads the one after it meanwhile. Returns how many
    /// events that were: none when there are no more.
    pub(crate) async fn take_in_page(
        &mut self,
        store: &Arc<dyn EventStore>,
        until: Position,
    ) -> Result<usize, Setback> {
        let after = self.intake.at;
        if after >= until {
            return Ok(0);
        }
        let ahead = match self.ahead.take() {
            Some(ahead) if ahead.after == after => ahead.page.await.ok(),
            _ => None,
        };
        let page = match ahead {
            Some(page) => page?,
            None => store.read_all(after, PAGE_EVENTS).await?,
        };
        // After a page that isn't full there is nothing yet.
        let last = page.last().map(|event| event.position).filter(|last| page.len() == PAGE_EVENTS && *last < until);
        self.ahead = last.map(|after| Ahead::begin(store.clone(), after));
        let events = up_to(&page, until);
        self.intake.take_in(&mut self.connection, &events).await?;
        Ok(events.len())
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
        let page = tokio::spawn(async move { store.read_all(after, PAGE_EVENTS).await });
        Self { after, page: AbortOnDropHandle::new(page) }
    }
}

/// Takes the next page of the log in, on this connection.
pub(crate) async fn take_in_page(
    intake: &mut Intake,
    connection: &mut PgConnection,
    store: &dyn EventStore,
    until: Position,
) -> Result<usize, Setback> {
    if intake.at >= until {
        return Ok(0);
    }
    let page = store.read_all(intake.at, PAGE_EVENTS).await?;
    let events = up_to(&page, until);
    intake.take_in(connection, &events).await?;
    Ok(events.len())
}

fn up_to(page: &[RecordedEvent], until: Position) -> Vec<&RecordedEvent> {
    page.iter().take_while(|event| event.position <= until).collect()
}

/// Whether a shadow that was left behind can be gone on with: it is of the same version, and of tables as they are now.
async fn is_usable(
    connection: &mut PgConnection,
    schema: &str,
    live: &str,
    projector: Projector,
) -> Result<bool, sqlx::Error> {
    let shape_of_live = shape(connection, live, projector).await?;
    if shape_of_live != shape(connection, schema, projector).await? {
        return Ok(false);
    }
    let version = format!("SELECT version FROM {schema}.projection_checkpoints WHERE projection = $1");
    let version: Option<i32> =
        sqlx::query_scalar(AssertSqlSafe(version)).bind(projector.name).fetch_optional(connection).await?;
    Ok(version == Some(projector.version))
}

/// What the tables of a projection in some schema are like: their columns, indexes and constraints. None of those that aren't there.
async fn shape(
    connection: &mut PgConnection,
    schema: &str,
    projector: Projector,
) -> Result<Vec<Option<Vec<String>>>, sqlx::Error> {
    let tables: Vec<&str> = projector.tables.iter().copied().chain(BOOKKEEPING).collect();
    sqlx::query_scalar(
        "SELECT (SELECT array_agg(part ORDER BY part) FROM (
                     SELECT format('%s %s %s', attname, atttypid, attnotnull) AS part FROM pg_attribute
                     WHERE attrelid = to_regclass($1 || '.' || name) AND attnum > 0 AND NOT attisdropped
                     UNION ALL
                     -- Without the schema, which is named where the table isn't found otherwise.
                     SELECT regexp_replace(pg_get_indexdef(indexrelid), ' ON [^ ]+ ', ' ON ') FROM pg_index
                     WHERE indrelid = to_regclass($1 || '.' || name)
                     UNION ALL
                     SELECT format('%s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
                     WHERE conrelid = to_regclass($1 || '.' || name)
                 ) parts)
         FROM unnest($2::text[]) WITH ORDINALITY AS known(name, n) ORDER BY n",
    )
    .bind(schema)
    .bind(tables)
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
    // So that definitions name the schema of each table.
    execute(&mut transaction, "SET LOCAL search_path = ''".to_owned()).await?;
    for table in projector.tables.iter().copied().chain(BOOKKEEPING) {
        let options: Option<String> =
            sqlx::query_scalar("SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = to_regclass($1)")
                .bind(format!("{live}.{table}"))
                .fetch_one(&mut *transaction)
                .await?;
        let options = options.map(|options| format!("WITH ({options})")).unwrap_or_default();
        let columns = format!("LIKE {live}.{table} INCLUDING ALL EXCLUDING INDEXES");
        execute(&mut transaction, format!("CREATE TABLE {schema}.{table} ({columns}) {options}")).await?;
        let definitions = sqlx::query(
            "SELECT format('ALTER TABLE %s.%I ADD CONSTRAINT %I %s', $2, $3, conname, pg_get_constraintdef(oid))
             FROM pg_constraint WHERE conrelid = to_regclass($1 || '.' || $3) AND contype IN ('p', 'u')
             UNION ALL
             SELECT replace(pg_get_indexdef(indexrelid), format(' ON %s.%I ', $1, $3), format(' ON %s.%I ', $2, $3))
             FROM pg_index WHERE indrelid = to_regclass($1 || '.' || $3)
               AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))",
        )
        .bind(live)
        .bind(schema)
        .bind(table)
        .fetch_all(&mut *transaction)
        .await?;
        for definition in definitions {
            execute(&mut transaction, definition.try_get(0)?).await?;
        }
    }
    transaction.commit().await
}

/// Runs a statement that is made of names of our own.
pub(crate) async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

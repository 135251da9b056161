//! The group commit: one task drains the queue of pending appends and commits them together.
//!
//! Each append learns its own fate. Most open a new stream, and for them the unique key on (stream, version) decides: nothing is
//! looked up. An append to an existing stream goes by the version that this node has seen, which may be too old but is never too
//! new. When the key is violated after all, the batch is sorted out by what the streams really are, and tried again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::reader::{Reader, bigint};
use crate::{Append, AppendError, Appended, Batch, Conflict, NewEvent, Position, RecordedEvent, StoreError, StreamId};

/// Events that are committed together at most.
const BATCH_EVENTS: usize = 2048;
/// Bytes of data that are committed together, unless one append alone has more.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Maximum number of times that the committer lets other tasks run first.
const GATHERING_ROUNDS: usize = 16;
/// Time for which a batch is retried while the database is unavailable.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A request that waits for the committer.
pub(super) enum Pending {
    /// An append, and where its writer waits.
    Append(Append, Reply),
    /// Everything before this is to be committed, and nothing after it.
    Stop,
}

type Reply = oneshot::Sender<Result<Appended, AppendError>>;
type Writer = (Append, Reply);

pub(super) struct Committer {
    connect: PgConnectOptions,
    connection: Option<PgConnection>,
    reader: Arc<Reader>,
    committed: mpsc::Sender<Batch>,
}

/// Why a batch didn't go through.
enum Failure {
    /// A stream has events that were not expected. Nothing was committed.
    Conflict,
    /// It is unknown whether the batch was committed. Repeating it is safe.
    Unavailable(sqlx::Error),
    /// The database refuses it.
    Refused(sqlx::Error),
}

/// Streams whose versions are looked up before a batch is tried.
#[derive(Clone, Copy, PartialEq)]
enum Tips {
    /// Of streams that must exist, and that this node has not seen reach the version expected.
    OfStreamsNotSeen,
    /// Of every stream: the batch has failed.
    OfAll,
}

/// The place in the log that a batch was given.
struct Committed {
    /// The position before its first event.
    base: Position,
    recorded_at: OffsetDateTime,
}

impl Committer {
    pub(super) fn new(connect: PgConnectOptions, reader: Arc<Reader>, committed: mpsc::Sender<Batch>) -> Self {
        let connect = connect.options([
            // Whatever the database's default is: what has been answered is on disk.
            ("synchronous_commit", "on"),
            // Each of its statements has one good plan. To make it anew for each batch takes as long as to insert ten events.
            ("plan_cache_mode", "force_generic_plan"),
        ]);
        Self { connect, connection: None, reader, committed }
    }

    /// Commits until it is told to stop or nobody can write any more.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Pending>) {
        let mut next = queue.recv().await;
        while let Some(Pending::Append(append, reply)) = next.take() {
            let_others_write(&queue).await;
            let mut size = Size::of(&append);
            let mut batch = vec![(append, reply)];
            while !size.is_full() {
                match queue.try_recv() {
                    Ok(Pending::Append(append, reply)) => {
                        size.add(&append);
                        batch.push((append, reply));
                    }
                    Ok(Pending::Stop) => {
                        next = Some(Pending::Stop);
                        break;
                    }
                    Err(_) => break,
                }
            }
            self.commit_all(batch, &mut Patience::new()).await;
            if next.is_none() {
                next = queue.recv().await;
            }
        }
    }

    /// Sees to it that every append of the batch gets its answer.
    async fn commit_all(&mut self, mut batch: Vec<Writer>, patience: &mut Patience) {
        let mut tips = HashMap::new();
        let mut tips_wanted = Tips::OfStreamsNotSeen;
        while !batch.is_empty() {
            if let Err(error) = patience.limit(self.look_up_tips(&batch, &mut tips, tips_wanted)).await {
                self.connection = None;
                if !patience.wait().await {
                    return fail_all(batch, &error);
                }
                continue;
            }
            tips_wanted = Tips::OfStreamsNotSeen;
            let Sorted { accepted, later } = sort(batch, &tips, &self.reader);
            batch = later;
            if accepted.is_empty() {
                continue;
            }
            match patience.limit(self.insert(&accepted)).await {
                Ok(committed) => {
                    for (append, _) in &accepted {
                        let reached = append.expected.version() + append.events.len() as u64;
                        let tip = tips.entry(append.stream.clone()).or_insert(reached);
                        *tip = reached.max(*tip);
                    }
                    self.answer(accepted, &committed).await;
                }
                Err(failure) => {
                    batch.splice(0..0, accepted);
                    let error = match failure {
                        Failure::Conflict => None,
                        Failure::Unavailable(error) => {
                            tracing::warn!(%error, appends = batch.len(), "appends wait for the database; retrying");
                            self.connection = None;
                            if !patience.wait().await {
                                return fail_all(batch, &error);
                            }
                            None
                        }
                        Failure::Refused(error) => Some(error),
                    };
                    match error {
                        Some(error) if batch.len() == 1 => return fail_all(batch, &error),
                        // One of them is to blame: each for itself then.
                        Some(_) => {
                            for append in batch {
                                Box::pin(self.commit_all(vec![append], patience)).await;
                            }
                            return;
                        }
                        // What the streams really are decides: after a failure they may hold these very events.
                        None => tips_wanted = Tips::OfAll,
                    }
                }
            }
        }
    }

    /// Learns the versions of streams that have to be known before the insert.
    async fn look_up_tips(
        &mut self,
        batch: &[Writer],
        tips: &mut HashMap<StreamId, u64>,
        wanted: Tips,
    ) -> Result<(), sqlx::Error> {
        let unknown = |append: &&Append| {
            let seen = tips.get(&append.stream).copied().or_else(|| self.reader.seen(&append.stream)).unwrap_or(0);
            wanted == Tips::OfAll || seen < append.expected.version()
        };
        let streams: Vec<StreamId> =
            batch.iter().map(|(append, _)| append).filter(unknown).map(|append| append.stream.clone()).collect();
        if streams.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = streams.iter().map(StreamId::as_str).collect();
        let found = sqlx::query!(
            r#"SELECT name AS "name!", (SELECT max(stream_version) FROM log WHERE stream = name) AS version
               FROM unnest($1::text[]) AS name"#,
            &names as &[&str]
        )
        .fetch_all(self.connection().await?)
        .await?;
        for row in found {
            tips.insert(StreamId::from(row.name), row.version.unwrap_or(0).cast_unsigned());
        }
        Ok(())
    }

    /// Commits these appends together, in one round trip.
    async fn insert(&mut self, appends: &[Writer]) -> Result<Committed, Failure> {
        if let [(append, _)] = appends
            && let [event] = &append.events[..]
        {
            return self.insert_one(append, event).await;
        }
        let columns = Columns::of(appends);
        let connection = self.connection().await.map_err(Failure::Unavailable)?;
        let head = sqlx::query!(
            r#"
            WITH head AS (
                UPDATE log_head
                SET position = position + $1, recorded_at = greatest(recorded_at, clock_timestamp())
                RETURNING position - $1 AS base, recorded_at
            ), inserted AS (
                INSERT INTO log (position, stream, stream_version, event_id, event_type, schema_version, recorded_at,
                                 business_id, actor_user, actor_role, actor_session, correlation_id, causation_id, data)
                SELECT head.base + new.ordinal, new.stream, new.stream_version, new.event_id, new.event_type,
                       new.schema_version, head.recorded_at, new.business_id, new.actor_user, new.actor_role,
                       new.actor_session, new.correlation_id, new.causation_id, new.data
                FROM head, unnest($2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::smallint[], $7::uuid[],
                                  $8::uuid[], $9::text[], $10::uuid[], $11::uuid[], $12::uuid[], $13::bytea[])
                     WITH ORDINALITY
                     AS new(stream, stream_version, event_id, event_type, schema_version, business_id, actor_user,
                            actor_role, actor_session, correlation_id, causation_id, data, ordinal)
            )
            SELECT base AS "base!", recorded_at AS "recorded_at!" FROM head
            "#,
            bigint(columns.stream.len() as u64),
            &columns.stream as &[&str],
            &columns.stream_version,
            &columns.event_id,
            &columns.event_type as &[&str],
            &columns.schema_version,
            &columns.business_id,
            &columns.actor_user as &[Option<Uuid>],
            &columns.actor_role as &[Option<&str>],
            &columns.actor_session as &[Option<Uuid>],
            &columns.correlation_id,
            &columns.causation_id as &[Option<Uuid>],
            &columns.data as &[&[u8]]
        )
        .fetch_one(connection)
        .await
        .map_err(Failure::from)?;
        count_batch(columns.stream.len());
        Ok(Committed { base: head.base.cast_unsigned(), recorded_at: head.recorded_at })
    }

    /// Commits one event. While few write, most batches are of one, and without arrays that costs the database a fifth less.
    async fn insert_one(&mut self, append: &Append, event: &NewEvent) -> Result<Committed, Failure> {
        let Append { stream, expected, metadata, .. } = append;
        let connection = self.connection().await.map_err(Failure::Unavailable)?;
        let inserted = sqlx::query!(
            "WITH head AS (
                UPDATE log_head
                SET position = position + 1, recorded_at = greatest(recorded_at, clock_timestamp())
                RETURNING position, recorded_at
             )
             INSERT INTO log (position, stream, stream_version, event_id, event_type, schema_version, recorded_at,
                              business_id, actor_user, actor_role, actor_session, correlation_id, causation_id, data)
             SELECT head.position, $1, $2, $3, $4, $5, head.recorded_at, $6, $7, $8, $9, $10, $11, $12 FROM head
             RETURNING position, recorded_at",
            stream.as_str(),
            bigint(expected.version() + 1),
            event.event_id,
            &*event.event_type,
            event.schema_version.cast_signed(),
            metadata.business_id,
            metadata.actor.user,
            metadata.actor.role.as_deref(),
            metadata.actor.session,
            metadata.correlation_id,
            metadata.causation_id,
            &event.data[..]
        )
        .fetch_one(connection)
        .await
        .map_err(Failure::from)?;
        count_batch(1);
        Ok(Committed { base: inserted.position.cast_unsigned() - 1, recorded_at: inserted.recorded_at })
    }

    /// Tells the writers, and then everybody who follows the log.
    async fn answer(&self, appends: Vec<Writer>, committed: &Committed) {
        let mut events = Vec::with_capacity(appends.len());
        let mut position = committed.base;
        for (append, reply) in appends {
            let mut stream_version = append.expected.version();
            for event in append.events {
                position += 1;
                stream_version += 1;
                events.push(RecordedEvent {
                    event_id: event.event_id,
                    event_type: event.event_type,
                    schema_version: event.schema_version,
                    stream: append.stream.clone(),
                    stream_version,
                    position,
                    recorded_at: committed.recorded_at,
                    metadata: append.metadata.clone(),
                    data: event.data,
                });
            }
            // Streams of one event are seldom written to again: remembering them all would crowd out the others.
            if stream_version > 1 {
                self.reader.saw(&append.stream, stream_version);
            }
            // The writer may have gone away: the events stand all the same.
            let _ = reply.send(Ok(Appended { position, stream_version }));
        }
        let _ = self.committed.send(events.into()).await;
    }

    /// The connection of the committer, made anew when the last one broke.
    async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        if self.connection.is_none() {
            self.connection = Some(PgConnection::connect_with(&self.connect).await?);
        }
        Ok(self.connection.as_mut().expect("it was made just now"))
    }
}

/// Lets everybody who could go on do so first, for as long as that brings more appends: a commit costs the database as much as a
/// dozen events do, and is better spent on more of them. An append that comes alone waits for nobody.
async fn let_others_write(queue: &mpsc::Receiver<Pending>) {
    let mut waiting = 0;
    for _ in 0..GATHERING_ROUNDS {
        if queue.len() == waiting {
            return;
        }
        waiting = queue.len();
        tokio::task::yield_now().await;
    }
}

/// A batch, divided by what can be said of each append now.
struct Sorted {
    /// To be committed together.
    accepted: Vec<Writer>,
    /// To be looked at again when these are: something before them in the batch writes to the same stream.
    later: Vec<Writer>,
}

/// Answers the appends that are known to conflict, and divides the others.
fn sort(batch: Vec<Writer>, tips: &HashMap<StreamId, u64>, reader: &Reader) -> Sorted {
    let mut sorted = Sorted { accepted: Vec::with_capacity(batch.len()), later: vec![] };
    let mut within: HashMap<StreamId, u64> = HashMap::new();
    for (append, reply) in batch {
        let expected = append.expected.version();
        let reached = expected + append.events.len() as u64;
        if let Some(tip) = within.get_mut(&append.stream) {
            if *tip == expected {
                *tip = reached;
                sorted.accepted.push((append, reply));
            } else {
                sorted.later.push((append, reply));
            }
            continue;
        }
        let known = tips.get(&append.stream).copied();
        // What was seen is a lower bound: enough to know a conflict by, when it is higher than expected.
        let actual = known.or_else(|| reader.seen(&append.stream)).unwrap_or(0);
        if actual > expected || (known.is_some() && actual != expected) {
            let _ = reply.send(Err(Conflict { expected, actual }.into()));
        } else {
            within.insert(append.stream.clone(), reached);
            sorted.accepted.push((append, reply));
        }
    }
    sorted
}

fn count_batch(events: usize) {
    metrics::histogram!("switchboard_log_batch_events").record(f64::from(u32::try_from(events).unwrap_or(u32::MAX)));
}

fn fail_all(batch: Vec<Writer>, error: &sqlx::Error) {
    for (_, reply) in batch {
        let _ = reply.send(Err(StoreError::new("appending", error.to_string()).into()));
    }
}

/// The events of a batch, column by column.
#[derive(Default)]
struct Columns<'a> {
    stream: Vec<&'a str>,
    stream_version: Vec<i64>,
    event_id: Vec<Uuid>,
    event_type: Vec<&'a str>,
    schema_version: Vec<i16>,
    business_id: Vec<Uuid>,
    actor_user: Vec<Option<Uuid>>,
    actor_role: Vec<Option<&'a str>>,
    actor_session: Vec<Option<Uuid>>,
    correlation_id: Vec<Uuid>,
    causation_id: Vec<Option<Uuid>>,
    data: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(appends: &'a [Writer]) -> Self {
        let mut columns = Self::default();
        for (append, _) in appends {
            for (event, version) in append.events.iter().zip(append.expected.version() + 1..) {
                columns.stream.push(append.stream.as_str());
                columns.stream_version.push(bigint(version));
                columns.event_id.push(event.event_id);
                columns.event_type.push(&event.event_type);
                columns.schema_version.push(event.schema_version.cast_signed());
                columns.business_id.push(append.metadata.business_id);
                columns.actor_user.push(append.metadata.actor.user);
                columns.actor_role.push(append.metadata.actor.role.as_deref());
                columns.actor_session.push(append.metadata.actor.session);
                columns.correlation_id.push(append.metadata.correlation_id);
                columns.causation_id.push(append.metadata.causation_id);
                columns.data.push(&event.data);
            }
        }
        columns
    }
}

struct Size {
    events: usize,
    bytes: usize,
}

impl Size {
    fn of(append: &Append) -> Self {
        let mut size = Self { events: 0, bytes: 0 };
        size.add(append);
        size
    }

    fn add(&mut self, append: &Append) {
        self.events += append.events.len();
        self.bytes += append.events.iter().map(|event| event.data.len()).sum::<usize>();
    }

    fn is_full(&self) -> bool {
        self.events >= BATCH_EVENTS || self.bytes >= BATCH_BYTES
    }
}

/// Time limit of retries.
struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    fn new() -> Self {
        Self { until: Instant::now() + PATIENCE, pause: FIRST_PAUSE }
    }

    /// Waits a little; false when there has been enough of it.
    async fn wait(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }

    /// Gives something up that doesn't come to an end: a database may be gone without a word. It is given a moment even when
    /// there has been enough waiting, since others may have used that up.
    async fn limit<T, E: From<sqlx::Error>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let until = self.until.max(Instant::now() + LONGEST_PAUSE);
        match tokio::time::timeout_at(until, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(refusal) = &error else {
            return Self::Unavailable(error);
        };
        match refusal.code().as_deref() {
            // unique_violation: of the positions' key it would mean a corrupt head, so only the streams' key counts.
            Some("23505") if refusal.constraint() == Some("log_stream_version_key") => Self::Conflict,
            // Connection trouble, shutdown or restart, too many connections, deadlock: all pass.
            Some(code) if ["08", "57", "53", "40"].iter().any(|class| code.starts_with(class)) => {
                Self::Unavailable(error)
            }
            _ => Self::Refused(error),
        }
    }
}

#[cfg(test)]
mod tests;

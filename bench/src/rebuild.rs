//! How fast read models are built anew from the history, beside `COPY` of the same rows into the same tables with their indexes.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgPool};

use crate::fill::{Past, fill};
use crate::people::{admin, http_client};
use crate::switchboard::Switchboard;
use crate::target::Target;

const PROJECTIONS: [(&str, &[&str]); 3] = [
    ("messaging", &["messages", "conversation_members"]),
    ("feed", &["feed_entries", "feed_conversations", "feed_members"]),
    ("audit", &["audit_events"]),
];
/// How often it is looked whether a rebuild is done.
const LOOK: Duration = Duration::from_millis(20);

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) async fn measure(events: u64) {
    let server = Switchboard::start().await;
    fill(&server.target, events, Past { businesses: 100, long: None }).await;
    let head: i64 = scalar(&server.target.database, "SELECT position FROM log_head").await;
    let per_second = |took: Duration| head as f64 / took.as_secs_f64();
    println!("{:>12} {:>16} {:>16} {:>8}", "projection", "rebuilt events/s", "copied events/s", "ratio");
    for (projection, tables) in PROJECTIONS {
        let rebuilt = rebuild(&server.target, projection).await;
        let copied = copy(&server.target.database, tables).await;
        println!(
            "{projection:>12} {:>16.0} {:>16.0} {:>7.0}%",
            per_second(rebuilt),
            per_second(copied),
            100.0 * copied.as_secs_f64() / rebuilt.as_secs_f64()
        );
    }
}

/// Rebuilds a projection through the API. How long that takes, from when a node begins until the tables are swapped.
async fn rebuild(target: &Target, projection: &str) -> Duration {
    let generation = format!("SELECT generation FROM projection_checkpoints WHERE projection = '{projection}'");
    let before: i64 = scalar(&target.database, &generation).await;
    let url = format!("{}/api/admin/projections/{projection}/rebuild", target.url);
    let token = admin(target).await;
    let answer = http_client().post(url).bearer_auth(token).send().await.expect("the server answers");
    assert!(answer.status().is_success(), "{}", answer.status());
    while scalar::<i64>(&target.database, &generation).await == before {
        tokio::time::sleep(LOOK).await;
    }
    let took = format!(
        "SELECT extract(epoch FROM finished_at - began_at)::float8 FROM projection_rebuilds WHERE projection = '{projection}'"
    );
    Duration::from_secs_f64(scalar(&target.database, &took).await)
}

/// Copies tables out and into others like them.
async fn copy(pool: &PgPool, tables: &[&str]) -> Duration {
    let mut took = Duration::ZERO;
    for table in tables {
        run(pool, &format!("CREATE TABLE copied (LIKE {table} INCLUDING ALL)")).await;
        let mut connection = pool.acquire().await.expect("Postgres answers");
        let mut rows = vec![];
        {
            let out = format!("COPY {table} TO STDOUT");
            let mut stream = connection.copy_out_raw(&out).await.expect("it can be copied");
            while let Some(chunk) = stream.try_next().await.expect("it can be copied") {
                rows.push(chunk);
            }
        }
        let began = Instant::now();
        let mut into = connection.copy_in_raw("COPY copied FROM STDIN").await.expect("it can be copied");
        // In pieces of a good size: a row at a time would cost a system call each.
        for some in rows.chunks(1000) {
            into.send(some.concat()).await.expect("it can be copied");
        }
        into.finish().await.expect("it can be copied");
        took += began.elapsed();
        run(pool, "DROP TABLE copied").await;
    }
    took
}

async fn run(pool: &PgPool, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(pool).await.expect("Postgres does it");
}

async fn scalar<T>(pool: &PgPool, query: &str) -> T
where
    T: Send + Unpin + sqlx::Type<sqlx::Postgres> + for<'r> sqlx::Decode<'r, sqlx::Postgres>,
{
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(pool).await.expect("Postgres answers")
}

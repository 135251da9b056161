//! Past states of the read models, built in shadow tables up to a position.

use event_store::Position;
use futures_util::TryStreamExt;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tokio::time::Instant;
use uuid::Uuid;

use crate::calls::Calls;
use crate::messaging::Messaging;
use crate::people::People;
use crate::projector::Projector;
use crate::rebuild::{Progress, RebuildError};
use crate::runner::Sources;
use crate::shadow::{Opened, Shadow};

/// Row of a past state, with its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct PastRow {
    /// `business`, `user`, `conversation`, `message` or `call`.
    pub kind: &'static str,
    /// The columns of the read model.
    pub row: Value,
}

/// What is shown of the past: the kind, whose tables, which one, and which of its rows belong to business `$1`.
const SHOWN: [(&str, Projector, &str, &str); 5] = [
    ("business", Projector::of::<People>(), "businesses", "t.id = $1"),
    ("user", Projector::of::<People>(), "users", "t.business_id = $1"),
    (
        "conversation",
        Projector::of::<Messaging>(),
        "conversation_members",
        "EXISTS (SELECT FROM messages m WHERE m.conversation_id = t.conversation_id AND m.position = t.last_position
                 AND m.business_id = $1)",
    ),
    ("message", Projector::of::<Messaging>(), "messages", "t.business_id = $1"),
    ("call", Projector::of::<Calls>(), "calls", "t.business_id = $1"),
];

/// Shows people, conversations, messages and calls as they were once everything up to a position had happened, of one business or of
/// all. `tell` hears how far the replay has come.
///
/// # Errors
/// If another process is at it, if the log or the database fails, or if `each` does.
pub async fn show_past<E: From<RebuildError>>(
    position: Position,
    business: Option<Uuid>,
    sources: &Sources,
    mut tell: impl FnMut(Progress) + Send,
    mut each: impl FnMut(PastRow) -> Result<(), E> + Send,
) -> Result<(), E> {
    for projector in [Projector::of::<People>(), Projector::of::<Messaging>(), Projector::of::<Calls>()] {
        let Opened::Ours(mut shadow) = Shadow::open(projector, "past", &sources.pool).await.map_err(failed)? else {
            return Err(RebuildError::UnderWay.into());
        };
        let shown = match replay(&mut shadow, position, sources, &mut tell).await {
            Ok(()) => show(&mut shadow, business, &mut each).await,
            Err(error) => Err(error.into()),
        };
        // Whatever came of it: what was is nobody's business any more.
        let discarded = shadow.discard().await;
        shown?;
        discarded.map_err(failed)?;
    }
    Ok(())
}

fn failed<E: From<RebuildError>>(error: sqlx::Error) -> E {
    RebuildError::from(error).into()
}

async fn show<E: From<RebuildError>>(
    shadow: &mut Shadow,
    business: Option<Uuid>,
    each: &mut (impl FnMut(PastRow) -> Result<(), E> + Send),
) -> Result<(), E> {
    let name = shadow.projector.name;
    for (kind, _, table, belongs) in SHOWN.into_iter().filter(|(_, of, _, _)| of.name == name) {
        let rows = format!(
            "SELECT to_jsonb(t) FROM {}.{table} t WHERE $1::uuid IS NULL OR {belongs} ORDER BY t::text",
            shadow.schema
        );
        let query = sqlx::query_scalar::<_, Value>(AssertSqlSafe(rows)).bind(business);
        let mut rows = query.fetch(&mut shadow.connection);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            each(PastRow { kind, row })?;
        }
    }
    Ok(())
}

async fn replay(
    shadow: &mut Shadow,
    position: Position,
    sources: &Sources,
    tell: &mut (impl FnMut(Progress) + Send),
) -> Result<(), RebuildError> {
    shadow.empty().await?;
    let began = Instant::now();
    let mut events = 0;
    loop {
        let taken = shadow.take_in_page(&sources.store, position).await?.events;
        if taken == 0 {
            return Ok(());
        }
        events += taken as u64;
        let at = shadow.intake.at;
        tell(Progress { began_at: 0, position: at, head: position, events, elapsed: began.elapsed() });
    }
}

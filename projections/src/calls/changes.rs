//! Effects of events on the table of calls.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::Decider;
use domain::call::{Call, CallEvent, CallParties, CallType};
use event_store::{Position, RecordedEvent};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::column;
use crate::projection::{Projection, Unreadable, read};

/// Projects calls.
pub struct Calls;

/// Changes of a batch of events.
#[derive(Default)]
pub struct Changes {
    new: Vec<NewCall>,
    progress: HashMap<Uuid, Progress>,
}

struct NewCall {
    parties: CallParties,
    call_type: CallType,
    room_id: String,
    created_at: OffsetDateTime,
    rings_until: OffsetDateTime,
    position: Position,
}

/// Columns that later events of a call change.
#[derive(Default)]
struct Progress {
    status: &'static str,
    accepted_at: Option<OffsetDateTime>,
    ended_at: Option<OffsetDateTime>,
    ended_by: Option<Uuid>,
    end_reason: Option<&'static str>,
    duration_ms: Option<i64>,
    position: Position,
}

#[async_trait]
impl Projection for Calls {
    const NAME: &'static str = "calls";
    const VERSION: i32 = 1;
    const TABLES: &'static [&'static str] = &["calls"];
    type Changes = Changes;

    fn collect(changes: &mut Changes, event: &RecordedEvent) -> Result<(), Unreadable> {
        if event.stream.category() == Call::CATEGORY
            && let Some(call) = read!(event, CallEvent)?
        {
            changes.take_in(call, event.position);
        }
        Ok(())
    }

    async fn write(changes: Changes, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        changes.write_new(connection).await?;
        changes.write_progress(connection).await
    }
}

impl Changes {
    fn take_in(&mut self, event: CallEvent, position: Position) {
        match event {
            CallEvent::Started(call) => self.new.push(NewCall {
                parties: call.parties,
                call_type: call.call_type,
                room_id: call.room_id,
                created_at: call.started_at.into(),
                rings_until: call.rings_until.into(),
                position,
            }),
            CallEvent::FoundBusy(call) => {
                let at = call.started_at.into();
                let CallParties { call_id, .. } = call.parties;
                let (parties, call_type, room_id) = (call.parties, call.call_type, call.room_id);
                self.new.push(NewCall { parties, call_type, room_id, created_at: at, rings_until: at, position });
                self.over(call_id.0, "busy", at, position).end_reason = Some("busy");
            }
            CallEvent::Accepted(event) => {
                let progress = self.progress.entry(event.parties.call_id.0).or_default();
                progress.status = "active";
                progress.accepted_at = Some(event.accepted_at.into());
                progress.position = position;
            }
            CallEvent::Rejected(event) => {
                let by = event.parties.receiver_id.0;
                self.over(event.parties.call_id.0, "rejected", event.rejected_at.into(), position).ended_by = Some(by);
            }
            CallEvent::Cancelled(event) => {
                let by = event.parties.caller_id.0;
                self.over(event.parties.call_id.0, "cancelled", event.cancelled_at.into(), position).ended_by =
                    Some(by);
            }
            CallEvent::Missed(event) => {
                let progress = self.over(event.parties.call_id.0, "missed", event.missed_at.into(), position);
                progress.end_reason = Some("timeout");
            }
            CallEvent::Ended(event) => {
                let progress = self.over(event.parties.call_id.0, "ended", event.ended_at.into(), position);
                progress.ended_by = event.ended_by.map(|user| user.0);
                progress.end_reason = Some(event.reason.as_str());
                progress.duration_ms = Some(event.duration_ms.cast_signed());
            }
        }
    }

    fn over(&mut self, call: Uuid, status: &'static str, at: OffsetDateTime, position: Position) -> &mut Progress {
        let progress = self.progress.entry(call).or_default();
        progress.status = status;
        progress.ended_at = Some(at);
        progress.position = position;
        progress
    }

    async fn write_new(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.new.is_empty() {
            return Ok(());
        }
        let new = &self.new;
        sqlx::query!(
            "INSERT INTO calls (id, conversation_id, business_id, caller_id, receiver_id, call_type, room_id, status, created_at,
                                rings_until, position, changed_position)
             SELECT id, conversation_id, business_id, caller_id, receiver_id, call_type, room_id, 'ringing', created_at,
                    rings_until, position, position
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[],
                         $8::timestamptz[], $9::timestamptz[], $10::bigint[])
                  AS new(id, conversation_id, business_id, caller_id, receiver_id, call_type, room_id, created_at,
                         rings_until, position)
             ON CONFLICT (id) DO NOTHING",
            &column(new, |call| call.parties.call_id.0),
            &column(new, |call| call.parties.conversation_id.0),
            &column(new, |call| call.parties.business_id.0),
            &column(new, |call| call.parties.caller_id.0),
            &column(new, |call| call.parties.receiver_id.0),
            &column(new, |call| call.call_type.as_str()) as &[&str],
            &column(new, |call| call.room_id.as_str()) as &[&str],
            &column(new, |call| call.created_at),
            &column(new, |call| call.rings_until),
            &column(new, |call| call.position.cast_signed())
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_progress(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.progress.is_empty() {
            return Ok(());
        }
        let progress: Vec<_> = self.progress.iter().collect();
        sqlx::query!(
            // The position of a busy call's end is that of its beginning.
            "UPDATE calls
             SET status = new.status, accepted_at = coalesce(new.accepted_at, calls.accepted_at), ended_at = new.ended_at,
                 ended_by = new.ended_by, end_reason = new.end_reason, duration_ms = new.duration_ms,
                 changed_position = new.position
             FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::uuid[], $6::text[], $7::bigint[],
                         $8::bigint[])
                  AS new(id, status, accepted_at, ended_at, ended_by, end_reason, duration_ms, position)
             WHERE calls.id = new.id AND calls.changed_position <= new.position",
            &column(&progress, |(id, _)| **id),
            &column(&progress, |(_, call)| call.status) as &[&str],
            &column(&progress, |(_, call)| call.accepted_at) as &[Option<OffsetDateTime>],
            &column(&progress, |(_, call)| call.ended_at) as &[Option<OffsetDateTime>],
            &column(&progress, |(_, call)| call.ended_by) as &[Option<Uuid>],
            &column(&progress, |(_, call)| call.end_reason) as &[Option<&str>],
            &column(&progress, |(_, call)| call.duration_ms) as &[Option<i64>],
            &column(&progress, |(_, call)| call.position.cast_signed())
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

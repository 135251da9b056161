//! Calls that end by themselves: nobody answers, or nobody is there any more. The process managers of calls.
//!
//! They keep no state that could be lost: which calls may be due is looked up, again and again, and each call's own stream decides.
//! So it doesn't matter how often a node was restarted meanwhile, nor how many of them do this at the same time.

use std::collections::HashMap;

use domain::call::{Call, CallCommand, CallParties};
use domain::{BusinessId, CallId, Timestamp, UserId};
use event_store::Metadata;

use crate::caller::by_the_system;
use crate::{Commands, Error};

/// Calls that are timed out in one go.
const LIMIT: u32 = 200;

impl Commands {
    /// Misses the calls that have rung for too long. To be called often: that is how exactly they are missed in time. Returns how
    /// many were looked at.
    ///
    /// # Errors
    /// If the log or the database is unavailable. The next run finds what is left.
    pub async fn miss_calls(&self) -> Result<usize, Error> {
        let due = self.lookups.calls_rung_out(self.clock.now(), LIMIT).await?;
        for call in &due {
            self.end_by_itself(*call, CallCommand::TimeOut { at: self.clock.now() }).await;
        }
        Ok(due.len())
    }

    /// Ends a call, or says in the log of the server why it can't: one call keeps no other waiting.
    async fn end_by_itself(&self, id: CallId, command: CallCommand) {
        if let Err(error) = self.try_to_end(id, command).await {
            tracing::warn!(%error, call = %id, "ending a call failed; retrying");
        }
    }

    async fn try_to_end(&self, id: CallId, command: CallCommand) -> Result<(), Error> {
        let id = id.to_string();
        let call = self.repository.load::<Call>(&id).await?;
        let Some(CallParties { business_id, .. }) = call.state.started().map(|call| call.parties) else {
            return Ok(());
        };
        let metadata = Metadata { causation_id: call.last_event, ..self.by_itself(business_id) };
        self.repository.execute::<Call>(&id, command, &metadata).await?;
        Ok(())
    }

    fn by_itself(&self, business: BusinessId) -> Metadata {
        by_the_system(business, self.ids.next())
    }
}

/// Notices calls whose two parties are both gone.
#[derive(Debug)]
pub struct LostCalls {
    /// Maximum time without either user, in milliseconds.
    patience_ms: i64,
    /// Since when this node has seen nobody in a call.
    deserted_since: HashMap<CallId, Timestamp>,
}

impl LostCalls {
    /// Has so much patience.
    #[must_use]
    pub fn new(patience_ms: i64) -> Self {
        Self { patience_ms, deserted_since: HashMap::new() }
    }

    /// Ends the calls that have been without their parties for too long. To be called every second or so.
    ///
    /// # Errors
    /// As [`Commands::miss_calls`].
    pub async fn end(&mut self, commands: &Commands, is_there: impl Fn(UserId) -> bool) -> Result<(), Error> {
        let active = commands.lookups.active_calls().await?;
        let deserted: Vec<CallId> = active
            .into_iter()
            .filter(|call| !is_there(call.caller_id) && !is_there(call.receiver_id))
            .map(|call| call.id)
            .collect();
        let now = commands.clock.now();
        let before = std::mem::take(&mut self.deserted_since);
        for call in deserted {
            let since = before.get(&call).copied().unwrap_or(now);
            self.deserted_since.insert(call, since);
            if now >= since.plus_ms(self.patience_ms) {
                commands.end_by_itself(call, CallCommand::LoseConnection { at: now }).await;
            }
        }
        Ok(())
    }
}

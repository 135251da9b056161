//! Shares the history out among those who read it: pages of it are read in turns, and nobody exports or follows it many times at once.

use commands::Caller;
use domain::{BusinessId, UserId};

use crate::error::ApiError;
use crate::fair_queue::{FairQueue, FairTurn, Room};
use crate::shares::{Share, Shares};

/// Pages that a node reads at the same time.
const PAGES: usize = 2;
/// Pages that may wait to be read, of a reader and of all readers of a business.
const WAITING: Room = Room { member: 32, group: 256 };
/// Exports of a reader that go on at the same time.
const EXPORTS: usize = 2;
/// Live streams of a reader.
const STREAMS: usize = 10;

/// Lets readers of the history in.
pub struct AuditGate {
    pages: FairQueue<BusinessId, UserId>,
    exports: Shares<UserId>,
    streams: Shares<UserId>,
}

impl Default for AuditGate {
    fn default() -> Self {
        Self { pages: FairQueue::new(PAGES), exports: Shares::new(EXPORTS), streams: Shares::new(STREAMS) }
    }
}

impl AuditGate {
    /// Waits until a page may be read for a reader.
    pub(super) async fn page(&self, reader: &Caller) -> Result<FairTurn<BusinessId, UserId>, ApiError> {
        let turn = self.pages.turn(reader.business_id, reader.user_id, WAITING).await;
        turn.map_err(|_| ApiError::too_many("Too many queries of yours at once: wait for their answers"))
    }

    /// Lets a reader export the history.
    pub(super) fn export(&self, reader: &Caller) -> Result<Share<UserId>, ApiError> {
        let share = self.exports.take(&reader.user_id);
        share.ok_or_else(|| ApiError::too_many("Too many exports of yours at once: wait for one of them"))
    }

    /// Lets a reader follow the history.
    pub(super) fn stream(&self, reader: &Caller) -> Result<Share<UserId>, ApiError> {
        let share = self.streams.take(&reader.user_id);
        share.ok_or_else(|| ApiError::too_many("Too many live streams of yours: close one of them"))
    }
}

//! Tickets: what a browser opens a stream with, since it can't send headers there and a token has no place in a URL. Each is good
//! once, at any node, and for a short time.

use domain::{SessionId, Timestamp, UserId};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::ClusterError;

/// Holder of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketHolder {
    /// The person.
    pub user_id: UserId,
    /// The session in which they asked for it.
    pub session_id: SessionId,
    /// Until when what is opened with it may stay open.
    pub open_until: Timestamp,
}

/// Gives tickets out and takes them in.
#[derive(Clone)]
pub struct Tickets {
    pool: PgPool,
    random: fn() -> [u8; 32],
}

impl Tickets {
    /// Tickets in this database, made of what `random` yields.
    #[must_use]
    pub fn new(pool: PgPool, random: fn() -> [u8; 32]) -> Self {
        Self { pool, random }
    }

    /// A new ticket.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn issue(&self, holder: TicketHolder, expires_at: Timestamp) -> Result<String, ClusterError> {
        let ticket = hex::encode((self.random)());
        sqlx::query!(
            "INSERT INTO tickets (hash, user_id, session_id, open_until, expires_at) VALUES ($1, $2, $3, $4, $5)",
            hash(&ticket),
            holder.user_id.0,
            holder.session_id.0,
            OffsetDateTime::from(holder.open_until),
            OffsetDateTime::from(expires_at)
        )
        .execute(&self.pool)
        .await
        .map_err(ClusterError::while_("making a ticket"))?;
        Ok(ticket)
    }

    /// Returns the holder of a ticket, if it is valid, and invalidates it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn redeem(&self, ticket: &str, now: Timestamp) -> Result<Option<TicketHolder>, ClusterError> {
        let row = sqlx::query!(
            "DELETE FROM tickets WHERE hash = $1 RETURNING user_id, session_id, open_until, expires_at",
            hash(ticket)
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(ClusterError::while_("looking for a ticket"))?;
        Ok(row.filter(|row| now < Timestamp::from(row.expires_at)).map(|row| TicketHolder {
            user_id: UserId(row.user_id),
            session_id: SessionId(row.session_id),
            open_until: row.open_until.into(),
        }))
    }

    /// Throws tickets away that nobody used in time. To be called now and then.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sweep(&self, now: Timestamp) -> Result<(), ClusterError> {
        sqlx::query!("DELETE FROM tickets WHERE expires_at <= $1", OffsetDateTime::from(now))
            .execute(&self.pool)
            .await
            .map_err(ClusterError::while_("throwing tickets away"))?;
        Ok(())
    }
}

/// A ticket is random enough for a fast hash.
fn hash(ticket: &str) -> Vec<u8> {
    Sha256::digest(ticket.as_bytes()).to_vec()
}

//! Questions about people. Who may ask is decided before: every question names the business that the answer is limited to.

use domain::{BusinessId, EmailAddress, Timestamp, UserId};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::QueryError;
use crate::page::{Page, PageRequest};

/// A business.
#[derive(Clone, Debug, PartialEq)]
pub struct BusinessRow {
    pub id: Uuid,
    pub name: String,
    pub status: String,
    pub created_at: OffsetDateTime,
}

/// A person.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRow {
    pub id: Uuid,
    pub business_id: Uuid,
    pub email: Option<String>,
    pub name: Option<String>,
    pub avatar: Option<String>,
    pub role: String,
    pub status: String,
    pub created_at: OffsetDateTime,
}

/// A session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    pub id: Uuid,
    pub user_id: Uuid,
    pub audience: String,
    pub started_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub revoked_at: Option<OffsetDateTime>,
}

/// Which people.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UserFilter {
    /// Those of one business only; of all without it.
    pub business_id: Option<BusinessId>,
}

/// Questions about people.
#[derive(Clone)]
pub struct PeopleQueries {
    pool: PgPool,
}

impl PeopleQueries {
    /// Asks this database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Businesses, the oldest first; only one when it is named.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn businesses(
        &self,
        only: Option<BusinessId>,
        page: PageRequest,
    ) -> Result<Page<BusinessRow>, QueryError> {
        let failed = || QueryError::while_("listing businesses");
        let only = only.map(|id| id.0);
        let items = sqlx::query_as!(
            BusinessRow,
            "SELECT id, name, status, created_at FROM businesses WHERE $1::uuid IS NULL OR id = $1
             ORDER BY position LIMIT $2 OFFSET $3",
            only,
            i64::from(page.limit),
            page.offset()
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed())?;
        let total = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM businesses WHERE $1::uuid IS NULL OR id = $1"#,
            only
        )
        .fetch_one(&self.pool)
        .await
        .map_err(failed())?;
        Ok(Page { items, total })
    }

    /// One business.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn business(&self, id: BusinessId) -> Result<Option<BusinessRow>, QueryError> {
        sqlx::query_as!(BusinessRow, "SELECT id, name, status, created_at FROM businesses WHERE id = $1", id.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(QueryError::while_("reading a business"))
    }

    /// People, the oldest accounts first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users(&self, filter: UserFilter, page: PageRequest) -> Result<Page<UserRow>, QueryError> {
        let failed = || QueryError::while_("listing users");
        let business = filter.business_id.map(|id| id.0);
        let items = sqlx::query_as!(
            UserRow,
            "SELECT id, business_id, email, name, avatar, role, status, created_at FROM users
             WHERE $1::uuid IS NULL OR business_id = $1 ORDER BY position LIMIT $2 OFFSET $3",
            business,
            i64::from(page.limit),
            page.offset()
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed())?;
        let total = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM users WHERE $1::uuid IS NULL OR business_id = $1"#,
            business
        )
        .fetch_one(&self.pool)
        .await
        .map_err(failed())?;
        Ok(Page { items, total })
    }

    /// One person of these businesses.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user(&self, id: UserId, filter: UserFilter) -> Result<Option<UserRow>, QueryError> {
        sqlx::query_as!(
            UserRow,
            "SELECT id, business_id, email, name, avatar, role, status, created_at FROM users
             WHERE id = $1 AND ($2::uuid IS NULL OR business_id = $2)",
            id.0,
            filter.business_id.map(|id| id.0)
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(QueryError::while_("reading a user"))
    }

    /// Sessions of one person that have been started, the latest first; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions(&self, user: UserId, limit: u32) -> Result<Vec<SessionRow>, QueryError> {
        sqlx::query_as!(
            SessionRow,
            "SELECT id, user_id, audience, started_at, expires_at, revoked_at FROM sessions
             WHERE user_id = $1 ORDER BY started_at DESC LIMIT $2",
            user.0,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .map_err(QueryError::while_("listing sessions"))
    }

    /// Accounts of all businesses that have this email and may administer. For logging in only.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn admin_accounts(&self, email: &EmailAddress, limit: u32) -> Result<Vec<UserId>, QueryError> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM users WHERE email_key = $1 AND role <> 'BUSINESS_USER' ORDER BY position LIMIT $2",
            email.to_key(),
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .map_err(QueryError::while_("looking for admin accounts"))?;
        Ok(ids.into_iter().map(UserId).collect())
    }

    /// Logins that were reserved before this time for somebody who has not been created: id of the login, and for whom.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unfinished_logins(&self, before: Timestamp, limit: u32) -> Result<Vec<(String, UserId)>, QueryError> {
        let rows = sqlx::query!(
            "SELECT login_id, user_id FROM unfinished_logins WHERE reserved_at < $1 ORDER BY reserved_at LIMIT $2",
            OffsetDateTime::from(before),
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .map_err(QueryError::while_("looking for unfinished logins"))?;
        Ok(rows.into_iter().map(|row| (row.login_id, UserId(row.user_id))).collect())
    }
}

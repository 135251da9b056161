//! Questions about people. Each names who asks, and the answer is limited to what that person may see; those at the end are asked
//! by commands on nobody's behalf.

use domain::{BusinessId, EmailAddress, Role, Timestamp, UserId};
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

/// Somebody, as colleagues see them.
#[derive(Clone, Debug, PartialEq)]
pub struct ColleagueRow {
    pub id: Uuid,
    pub name: Option<String>,
    pub avatar: Option<String>,
    /// When they were online last, unless they never were.
    pub last_seen_at: Option<OffsetDateTime>,
    pub position: i64,
}

/// Who asks, as far as it matters for what they may see.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Viewer {
    /// The business they belong to.
    pub business_id: BusinessId,
    /// Their role.
    pub role: Role,
}

impl Viewer {
    /// The one business that an answer is limited to; none when the viewer sees all.
    fn limit(self) -> Option<Uuid> {
        (!self.role.is_system()).then_some(self.business_id.0)
    }

    fn may_see(self, business: BusinessId) -> bool {
        self.role.may_see(self.business_id, business)
    }
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

    /// Businesses, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn businesses(&self, viewer: Viewer, page: PageRequest) -> Result<Page<BusinessRow>, QueryError> {
        let failed = || QueryError::while_("listing businesses");
        let only = viewer.limit();
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
    pub async fn business(&self, viewer: Viewer, id: BusinessId) -> Result<Option<BusinessRow>, QueryError> {
        if !viewer.may_see(id) {
            return Ok(None);
        }
        sqlx::query_as!(BusinessRow, "SELECT id, name, status, created_at FROM businesses WHERE id = $1", id.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(QueryError::while_("reading a business"))
    }

    /// People, the oldest accounts first; of one business when it is named. None when there is no such business, or none that the
    /// viewer may see.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users(
        &self,
        viewer: Viewer,
        only: Option<BusinessId>,
        page: PageRequest,
    ) -> Result<Option<Page<UserRow>>, QueryError> {
        let failed = || QueryError::while_("listing users");
        if let Some(id) = only
            && self.business(viewer, id).await?.is_none()
        {
            return Ok(None);
        }
        let business = only.map(|id| id.0).or(viewer.limit());
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
        Ok(Some(Page { items, total }))
    }

    /// One person.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user(&self, viewer: Viewer, id: UserId) -> Result<Option<UserRow>, QueryError> {
        sqlx::query_as!(
            UserRow,
            "SELECT id, business_id, email, name, avatar, role, status, created_at FROM users
             WHERE id = $1 AND ($2::uuid IS NULL OR business_id = $2)",
            id.0,
            viewer.limit()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(QueryError::while_("reading a user"))
    }

    /// Active people of a business whose accounts were made after a position, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn colleagues(
        &self,
        business: BusinessId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ColleagueRow>, QueryError> {
        sqlx::query_as!(
            ColleagueRow,
            r#"SELECT u.id, u.name, u.avatar, s.seen_at AS "last_seen_at?", u.position
               FROM users u LEFT JOIN last_seen s ON s.user_id = u.id
               WHERE u.business_id = $1 AND u.status = 'active' AND u.position > $2 ORDER BY u.position LIMIT $3"#,
            business.0,
            i64::try_from(after).unwrap_or(i64::MAX),
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await
        .map_err(QueryError::while_("listing colleagues"))
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

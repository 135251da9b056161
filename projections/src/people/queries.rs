//! Questions about people. Each names who asks, and the answer is limited to what that person may see; those at the end are asked
//! by commands on nobody's behalf.

use domain::{BusinessId, EmailAddress, Role, Timestamp, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Status;
use crate::page::{Page, PageRequest};
use crate::{QueryError, Readers};

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

/// A user, as colleagues see them.
#[derive(Clone, Debug, PartialEq)]
pub struct ColleagueRow {
    pub id: Uuid,
    pub name: Option<String>,
    pub avatar: Option<String>,
    /// Time at which they were last online; none if they never were.
    pub last_seen_at: Option<OffsetDateTime>,
    pub position: i64,
}

/// Viewer of a list, as far as it determines what they may see.
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

/// Filter and order of users.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserFilter {
    /// Of this business only.
    pub business: Option<BusinessId>,
    /// With this role only.
    pub role: Option<Role>,
    /// Let in, or shut out.
    pub status: Option<Status>,
    /// Part of the name or email, ignoring case.
    pub search: Option<String>,
    /// By what they are ordered.
    pub sort: UserOrder,
    /// True for descending order.
    pub descends: bool,
}

/// By what people are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserOrder {
    /// By time of creation.
    #[default]
    CreatedAt,
    /// By name.
    Name,
    /// By login.
    Email,
}

impl UserOrder {
    fn as_str(self) -> &'static str {
        match self {
            Self::CreatedAt => "createdAt",
            Self::Name => "name",
            Self::Email => "email",
        }
    }
}

/// A session that goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    pub id: Uuid,
    pub audience: String,
    /// Name that the device gives itself.
    pub user_agent: Option<String>,
    pub started_at: OffsetDateTime,
    pub refreshed_at: Option<OffsetDateTime>,
    pub expires_at: OffsetDateTime,
    pub position: i64,
}

/// Questions about people.
#[derive(Clone)]
pub struct PeopleQueries {
    readers: Readers,
}

impl PeopleQueries {
    /// Asks over these connections.
    #[must_use]
    pub fn new(readers: Readers) -> Self {
        Self { readers }
    }

    /// Businesses, the oldest first.
    ///
    /// # Errors
    /// If the database fails.
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
        .fetch_all(&self.readers)
        .await
        .map_err(failed())?;
        let total = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM businesses WHERE $1::uuid IS NULL OR id = $1"#,
            only
        )
        .fetch_one(&self.readers)
        .await
        .map_err(failed())?;
        Ok(Page { items, total })
    }

    /// One business.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn business(&self, viewer: Viewer, id: BusinessId) -> Result<Option<BusinessRow>, QueryError> {
        if !viewer.may_see(id) {
            return Ok(None);
        }
        sqlx::query_as!(BusinessRow, "SELECT id, name, status, created_at FROM businesses WHERE id = $1", id.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(QueryError::while_("reading a business"))
    }

    /// Returns users by a filter; none if it names a business that does not exist or that the viewer may not see.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn users(
        &self,
        viewer: Viewer,
        filter: &UserFilter,
        page: PageRequest,
    ) -> Result<Option<Page<UserRow>>, QueryError> {
        if let Some(id) = filter.business
            && self.business(viewer, id).await?.is_none()
        {
            return Ok(None);
        }
        let business = filter.business.map(|id| id.0).or(viewer.limit());
        let pattern = filter.search.as_deref().map(|text| contains(&text.to_lowercase()));
        let (role, status) = (filter.role.map(Role::as_str), filter.status.map(Status::as_str));
        let (sort, descends) = (filter.sort.as_str(), filter.descends);
        let rows = sqlx::query!(
            // One statement, so that the total is the one of the page. It is counted whether or not anybody is on the page.
            r#"WITH chosen AS MATERIALIZED (
                   SELECT id, business_id, email, email_key, name, name_key, avatar, role, status, created_at, position
                   FROM users
                   WHERE ($1::uuid IS NULL OR business_id = $1) AND ($2::text IS NULL OR role = $2)
                     AND ($3::text IS NULL OR status = $3) AND ($4::text IS NULL OR name_key LIKE $4 OR email_key LIKE $4)
               )
               SELECT total.count AS "total!", u.id AS "id?", u.business_id AS "business_id?", u.email, u.name, u.avatar,
                      u.role AS "role?", u.status AS "status?", u.created_at AS "created_at?"
               FROM (SELECT count(*) FROM chosen) total
               LEFT JOIN (
                   SELECT * FROM chosen
                   ORDER BY CASE WHEN NOT $6 THEN CASE $5 WHEN 'name' THEN name_key WHEN 'email' THEN email_key END END,
                            CASE WHEN $6 THEN CASE $5 WHEN 'name' THEN name_key WHEN 'email' THEN email_key END END DESC,
                            CASE WHEN NOT $6 THEN position END, CASE WHEN $6 THEN position END DESC
                   LIMIT $7 OFFSET $8
               ) u ON true"#,
            business,
            role,
            status,
            pattern,
            sort,
            descends,
            i64::from(page.limit),
            page.offset()
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("listing users"))?;
        let total = rows.first().map_or(0, |row| row.total);
        let items = rows.into_iter().filter_map(|row| {
            Some(UserRow {
                id: row.id?,
                business_id: row.business_id?,
                email: row.email,
                name: row.name,
                avatar: row.avatar,
                role: row.role?,
                status: row.status?,
                created_at: row.created_at?,
            })
        });
        Ok(Some(Page { items: items.collect(), total }))
    }

    /// One person.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn user(&self, viewer: Viewer, id: UserId) -> Result<Option<UserRow>, QueryError> {
        sqlx::query_as!(
            UserRow,
            "SELECT id, business_id, email, name, avatar, role, status, created_at FROM users
             WHERE id = $1 AND ($2::uuid IS NULL OR business_id = $2)",
            id.0,
            viewer.limit()
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(QueryError::while_("reading a user"))
    }

    /// Active people of a business whose accounts were made after a position, the oldest first.
    ///
    /// # Errors
    /// If the database fails.
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
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("listing colleagues"))
    }

    /// Sessions of a person that go on, the latest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sessions(
        &self,
        user: UserId,
        now: Timestamp,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<SessionRow>, QueryError> {
        sqlx::query_as!(
            SessionRow,
            "SELECT id, audience, user_agent, started_at, refreshed_at, expires_at, position FROM sessions
             WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2 AND position < $3
             ORDER BY position DESC LIMIT $4",
            user.0,
            OffsetDateTime::from(now),
            before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX)),
            i64::from(limit)
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("listing sessions"))
    }

    /// Accounts that are super admins. For making sure that one is left.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn super_admins(&self, limit: u32) -> Result<Vec<UserId>, QueryError> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM users WHERE business_id = $1 AND role = 'SYSTEM_SUPER_ADMIN' ORDER BY status, position LIMIT $2",
            BusinessId::SYSTEM.0,
            i64::from(limit)
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("looking for super admins"))?;
        Ok(ids.into_iter().map(UserId).collect())
    }

    /// Accounts of all businesses that have this email and may administer. For logging in only.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn admin_accounts(&self, email: &EmailAddress, limit: u32) -> Result<Vec<UserId>, QueryError> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM users WHERE email_key = $1 AND role <> 'BUSINESS_USER' ORDER BY position LIMIT $2",
            email.to_key(),
            i64::from(limit)
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("looking for admin accounts"))?;
        Ok(ids.into_iter().map(UserId).collect())
    }

    /// Logins that were reserved before this time for somebody who has not been created: id of the login, and for whom.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn unfinished_logins(&self, before: Timestamp, limit: u32) -> Result<Vec<(String, UserId)>, QueryError> {
        let rows = sqlx::query!(
            "SELECT login_id, user_id FROM unfinished_logins WHERE reserved_at < $1 ORDER BY reserved_at LIMIT $2",
            OffsetDateTime::from(before),
            i64::from(limit)
        )
        .fetch_all(&self.readers)
        .await
        .map_err(QueryError::while_("looking for unfinished logins"))?;
        Ok(rows.into_iter().map(|row| (row.login_id, UserId(row.user_id))).collect())
    }
}

/// The pattern that finds what contains a text, whatever is in it.
fn contains(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
    format!("%{escaped}%")
}

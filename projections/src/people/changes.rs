//! Effects of events on the tables of users.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::business::{Business, BusinessEvent};
use domain::login::{Login, LoginEvent};
use domain::session::{Session, SessionEvent, SessionRefreshed, SessionStarted};
use domain::user::{User, UserCreated, UserEvent};
use domain::{Decider, EmailAddress, Role, Timestamp};
use event_store::RecordedEvent;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Status;
use crate::column;
use crate::projection::{Projection, Unreadable, read};

/// Projects people.
pub struct People;

/// Changes of a batch of events. A row that is added and changed in one batch is written once.
#[derive(Default)]
pub struct Changes {
    new_businesses: HashMap<Uuid, NewBusiness>,
    business_names: HashMap<Uuid, String>,
    business_statuses: HashMap<Uuid, Status>,
    new_users: HashMap<Uuid, NewUser>,
    user_statuses: HashMap<Uuid, Status>,
    user_names: HashMap<Uuid, Option<String>>,
    user_avatars: HashMap<Uuid, Option<String>>,
    user_roles: HashMap<Uuid, Role>,
    reserved_logins: HashMap<Uuid, (String, Timestamp)>,
    /// Users whose login is no longer waiting for them.
    settled_logins: Vec<Uuid>,
    new_sessions: HashMap<Uuid, NewSession>,
    refreshed_sessions: HashMap<Uuid, SessionRefreshed>,
    revoked_sessions: HashMap<Uuid, Timestamp>,
    /// Users whose sessions were ended.
    logged_out: Vec<LoggedOut>,
}

struct NewBusiness {
    name: String,
    created_at: Timestamp,
    position: u64,
}

struct NewUser {
    created: UserCreated,
    position: u64,
}

struct NewSession {
    started: SessionStarted,
    position: u64,
}

/// User whose earlier sessions are over, except one.
struct LoggedOut {
    user_id: Uuid,
    kept_session: Option<Uuid>,
    at: Timestamp,
    position: u64,
}

#[async_trait]
impl Projection for People {
    const NAME: &'static str = "people";
    /// Version 1 took, of several ends of a session, whichever came up, and left sessions to those who were suspended.
    const VERSION: i32 = 2;
    const TABLES: &'static [&'static str] = &["businesses", "users", "unfinished_logins", "sessions"];
    type Changes = Changes;

    fn collect(changes: &mut Changes, event: &RecordedEvent) -> Result<(), Unreadable> {
        match event.stream.category() {
            Business::CATEGORY => {
                if let (Some(fact), Some(id)) = (read!(event, BusinessEvent)?, id_of(event)) {
                    changes.business(id, fact, event.position);
                }
            }
            User::CATEGORY => {
                if let (Some(fact), Some(id)) = (read!(event, UserEvent)?, id_of(event)) {
                    changes.user(id, fact, event.position);
                }
            }
            Login::CATEGORY => {
                if let Some(fact) = read!(event, LoginEvent)? {
                    changes.login(event.stream.id(), fact);
                }
            }
            Session::CATEGORY => {
                if let (Some(fact), Some(id)) = (read!(event, SessionEvent)?, id_of(event)) {
                    changes.session(id, fact, event.position);
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn write(changes: Changes, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        changes.write_businesses(connection).await?;
        changes.write_users(connection).await?;
        changes.write_profiles(connection).await?;
        changes.write_logins(connection).await?;
        changes.write_sessions(connection).await
    }
}

fn id_of(event: &RecordedEvent) -> Option<Uuid> {
    Uuid::try_parse(event.stream.id()).ok()
}

impl Changes {
    fn business(&mut self, id: Uuid, fact: BusinessEvent, position: u64) {
        match fact {
            BusinessEvent::Registered(fact) => {
                let new = NewBusiness { name: fact.name, created_at: fact.registered_at, position };
                self.new_businesses.insert(id, new);
            }
            BusinessEvent::Renamed(fact) => {
                self.business_names.insert(id, fact.name);
            }
            BusinessEvent::Suspended(_) => {
                self.business_statuses.insert(id, Status::Suspended);
            }
            BusinessEvent::Reactivated(_) => {
                self.business_statuses.insert(id, Status::Active);
            }
        }
    }

    fn user(&mut self, id: Uuid, fact: UserEvent, position: u64) {
        match fact {
            UserEvent::Created(created) => {
                self.settled_logins.push(id);
                self.new_users.insert(id, NewUser { created, position });
            }
            // Its login is released right after.
            UserEvent::Abandoned(_) => {}
            UserEvent::Suspended(fact) => {
                self.user_statuses.insert(id, Status::Suspended);
                self.logged_out.push(LoggedOut { user_id: id, kept_session: None, at: fact.suspended_at, position });
            }
            UserEvent::Reactivated(_) => {
                self.user_statuses.insert(id, Status::Active);
            }
            UserEvent::Renamed(fact) => {
                self.user_names.insert(id, fact.name.known().cloned());
            }
            UserEvent::AvatarChanged(fact) => {
                self.user_avatars.insert(id, fact.avatar.and_then(|avatar| avatar.known().cloned()));
            }
            UserEvent::RoleChanged(fact) => {
                self.user_roles.insert(id, fact.role);
            }
            UserEvent::PasswordChanged(fact) => {
                let kept_session = fact.kept_session.map(|session| session.0);
                self.logged_out.push(LoggedOut { user_id: id, kept_session, at: fact.changed_at, position });
            }
            UserEvent::SessionsEnded(fact) => {
                self.logged_out.push(LoggedOut { user_id: id, kept_session: None, at: fact.ended_at, position });
            }
        }
    }

    fn login(&mut self, login_id: &str, fact: LoginEvent) {
        match fact {
            LoginEvent::Reserved(fact) => {
                self.reserved_logins.insert(fact.user_id.0, (login_id.to_owned(), fact.reserved_at));
            }
            LoginEvent::Released(fact) => self.settled_logins.push(fact.user_id.0),
        }
    }

    fn session(&mut self, id: Uuid, fact: SessionEvent, position: u64) {
        match fact {
            SessionEvent::Started(started) => {
                self.new_sessions.insert(id, NewSession { started, position });
            }
            SessionEvent::Refreshed(fact) => {
                self.refreshed_sessions.insert(id, fact);
            }
            SessionEvent::Revoked(fact) => {
                self.revoked_sessions.insert(id, fact.revoked_at);
            }
        }
    }

    async fn write_businesses(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.new_businesses.is_empty() {
            let new: Vec<_> = self.new_businesses.iter().collect();
            sqlx::query!(
                "INSERT INTO businesses (id, name, status, created_at, position)
                 SELECT id, name, 'active', created_at, position
                 FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::bigint[]) AS new(id, name, created_at, position)
                 ON CONFLICT (id) DO NOTHING",
                &column(&new, |(id, _)| **id),
                &column(&new, |(_, new)| new.name.as_str()) as &[&str],
                &column(&new, |(_, new)| OffsetDateTime::from(new.created_at)),
                &column(&new, |(_, new)| new.position.cast_signed())
            )
            .execute(&mut *connection)
            .await?;
        }
        if !self.business_names.is_empty() {
            let names: Vec<_> = self.business_names.iter().collect();
            sqlx::query!(
                "UPDATE businesses SET name = new.name FROM unnest($1::uuid[], $2::text[]) AS new(id, name)
                 WHERE businesses.id = new.id",
                &column(&names, |(id, _)| **id),
                &column(&names, |(_, name)| name.as_str()) as &[&str]
            )
            .execute(&mut *connection)
            .await?;
        }
        if !self.business_statuses.is_empty() {
            let statuses: Vec<_> = self.business_statuses.iter().collect();
            sqlx::query!(
                "UPDATE businesses SET status = new.status FROM unnest($1::uuid[], $2::text[]) AS new(id, status)
                 WHERE businesses.id = new.id",
                &column(&statuses, |(id, _)| **id),
                &column(&statuses, |(_, status)| status.as_str()) as &[&str]
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    async fn write_users(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.new_users.is_empty() {
            let new: Vec<_> = self.new_users.iter().map(|(id, new)| (id, &new.created, new.position)).collect();
            sqlx::query!(
                "INSERT INTO users (id, business_id, email, email_key, name, name_key, avatar, role, status, created_at, position)
                 SELECT id, business_id, email, email_key, name, name_key, avatar, role, 'active', created_at, position
                 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $9::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                             $8::bigint[], $10::text[])
                      AS new(id, business_id, email, email_key, name, avatar, role, created_at, position, name_key)
                 ON CONFLICT (id) DO NOTHING",
                &column(&new, |(id, _, _)| **id),
                &column(&new, |(_, user, _)| user.business_id.0),
                &column(&new, |(_, user, _)| user.email.known().map(String::as_str)) as &[Option<&str>],
                &column(&new, |(_, user, _)| user.name.known().map(String::as_str)) as &[Option<&str>],
                &column(&new, |(_, user, _)| user.avatar.as_ref().and_then(|avatar| avatar.known()).map(String::as_str))
                    as &[Option<&str>],
                &column(&new, |(_, user, _)| user.role.as_str()) as &[&str],
                &column(&new, |(_, user, _)| OffsetDateTime::from(user.created_at)),
                &column(&new, |(_, _, position)| position.cast_signed()),
                &column(&new, |(_, user, _)| email_key(user)) as &[Option<String>],
                &column(&new, |(_, user, _)| user.name.known().map(|name| name.to_lowercase())) as &[Option<String>]
            )
            .execute(&mut *connection)
            .await?;
        }
        if !self.user_statuses.is_empty() {
            let statuses: Vec<_> = self.user_statuses.iter().collect();
            sqlx::query!(
                "UPDATE users SET status = new.status FROM unnest($1::uuid[], $2::text[]) AS new(id, status)
                 WHERE users.id = new.id",
                &column(&statuses, |(id, _)| **id),
                &column(&statuses, |(_, status)| status.as_str()) as &[&str]
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    async fn write_profiles(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.user_names.is_empty() {
            let names: Vec<_> = self.user_names.iter().collect();
            sqlx::query!(
                "UPDATE users SET name = new.name, name_key = new.name_key
                 FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new(id, name, name_key) WHERE users.id = new.id",
                &column(&names, |(id, _)| **id),
                &column(&names, |(_, name)| name.as_deref()) as &[Option<&str>],
                &column(&names, |(_, name)| name.as_deref().map(str::to_lowercase)) as &[Option<String>]
            )
            .execute(&mut *connection)
            .await?;
        }
        if !self.user_avatars.is_empty() {
            let avatars: Vec<_> = self.user_avatars.iter().collect();
            sqlx::query!(
                "UPDATE users SET avatar = new.avatar FROM unnest($1::uuid[], $2::text[]) AS new(id, avatar)
                 WHERE users.id = new.id",
                &column(&avatars, |(id, _)| **id),
                &column(&avatars, |(_, avatar)| avatar.as_deref()) as &[Option<&str>]
            )
            .execute(&mut *connection)
            .await?;
        }
        if !self.user_roles.is_empty() {
            let roles: Vec<_> = self.user_roles.iter().collect();
            sqlx::query!(
                "UPDATE users SET role = new.role FROM unnest($1::uuid[], $2::text[]) AS new(id, role)
                 WHERE users.id = new.id",
                &column(&roles, |(id, _)| **id),
                &column(&roles, |(_, role)| role.as_str()) as &[&str]
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    async fn write_logins(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.reserved_logins.is_empty() {
            let reserved: Vec<_> = self.reserved_logins.iter().collect();
            sqlx::query!(
                "INSERT INTO unfinished_logins (user_id, login_id, reserved_at)
                 SELECT user_id, login_id, reserved_at
                 FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS new(user_id, login_id, reserved_at)
                 ON CONFLICT (user_id) DO NOTHING",
                &column(&reserved, |(user_id, _)| **user_id),
                &column(&reserved, |(_, (login_id, _))| login_id.as_str()) as &[&str],
                &column(&reserved, |(_, (_, reserved_at))| OffsetDateTime::from(*reserved_at))
            )
            .execute(&mut *connection)
            .await?;
        }
        if !self.settled_logins.is_empty() {
            sqlx::query!("DELETE FROM unfinished_logins WHERE user_id = ANY($1)", &self.settled_logins)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }

    async fn write_sessions(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.new_sessions.is_empty() {
            let new: Vec<_> = self.new_sessions.iter().map(|(id, new)| (id, &new.started, new.position)).collect();
            sqlx::query!(
                "INSERT INTO sessions (id, user_id, business_id, audience, user_agent, started_at, expires_at, position)
                 SELECT id, user_id, business_id, audience, user_agent, started_at, expires_at, position
                 FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[],
                             $7::timestamptz[], $8::bigint[])
                      AS new(id, user_id, business_id, audience, user_agent, started_at, expires_at, position)
                 ON CONFLICT (id) DO NOTHING",
                &column(&new, |(id, _, _)| **id),
                &column(&new, |(_, session, _)| session.user_id.0),
                &column(&new, |(_, session, _)| session.business_id.0),
                &column(&new, |(_, session, _)| session.audience.as_str()) as &[&str],
                &column(&new, |(_, session, _)| user_agent(session)) as &[Option<&str>],
                &column(&new, |(_, session, _)| OffsetDateTime::from(session.started_at)),
                &column(&new, |(_, session, _)| OffsetDateTime::from(session.expires_at)),
                &column(&new, |(_, _, position)| position.cast_signed())
            )
            .execute(&mut *connection)
            .await?;
        }
        if !self.refreshed_sessions.is_empty() {
            let refreshed: Vec<_> = self.refreshed_sessions.iter().collect();
            sqlx::query!(
                "UPDATE sessions SET expires_at = new.expires_at, refreshed_at = new.refreshed_at
                 FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS new(id, expires_at, refreshed_at)
                 WHERE sessions.id = new.id",
                &column(&refreshed, |(id, _)| **id),
                &column(&refreshed, |(_, fact)| OffsetDateTime::from(fact.expires_at)),
                &column(&refreshed, |(_, fact)| OffsetDateTime::from(fact.refreshed_at))
            )
            .execute(&mut *connection)
            .await?;
        }
        if !self.revoked_sessions.is_empty() {
            let revoked: Vec<_> = self.revoked_sessions.iter().collect();
            sqlx::query!(
                "UPDATE sessions SET revoked_at = new.revoked_at
                 FROM unnest($1::uuid[], $2::timestamptz[]) AS new(id, revoked_at) WHERE sessions.id = new.id",
                &column(&revoked, |(id, _)| **id),
                &column(&revoked, |(_, revoked_at)| OffsetDateTime::from(**revoked_at))
            )
            .execute(&mut *connection)
            .await?;
        }
        if !self.logged_out.is_empty() {
            let ends = &self.logged_out;
            sqlx::query!(
                // Of several ends of one session, which may have come in one batch, the first counts.
                "UPDATE sessions SET revoked_at = ended.at
                 FROM (
                     SELECT DISTINCT ON (s.id) s.id, ended.at
                     FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::bigint[]) AS ended(user_id, kept, at, position)
                     JOIN sessions s ON s.user_id = ended.user_id AND s.position < ended.position
                                    AND s.id IS DISTINCT FROM ended.kept AND s.revoked_at IS NULL
                     ORDER BY s.id, ended.position
                 ) ended
                 WHERE sessions.id = ended.id",
                &column(ends, |end| end.user_id),
                &column(ends, |end| end.kept_session) as &[Option<Uuid>],
                &column(ends, |end| OffsetDateTime::from(end.at)),
                &column(ends, |end| end.position.cast_signed())
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

fn user_agent(session: &SessionStarted) -> Option<&str> {
    session.user_agent.as_ref().and_then(|agent| agent.known()).map(String::as_str)
}

/// The form by which the email is compared; none when it is erased.
fn email_key(user: &UserCreated) -> Option<String> {
    user.email.known().and_then(|email| EmailAddress::parse(email).ok()).map(|email| email.to_key())
}

//! Logging in, and staying logged in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::login::{Login, LoginError};
use domain::session::{Audience, Session, SessionCommand, StartSession};
use domain::user::{Account, User};
use domain::{AuthenticationError, BusinessId, EmailAddress, SessionId, Timestamp, UserAgent, UserId};
use event_store::Metadata;
use tokio::time::Instant;
use uuid::Uuid;

use crate::caller::by_the_system;
use crate::repository::Refusal;
use crate::state_cache::Loaded;
use crate::{Claims, Commands, Done, Error, HashedFor, KeyedHash};

/// Life of a session that is not refreshed.
const SESSION_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Admin accounts of one email that are tried when no business is named.
const ADMIN_ACCOUNTS_TRIED: u32 = 8;
/// Minimum time of a refusal. It hides the additional work for an account that exists.
const REFUSAL: Duration = Duration::from_millis(60);

/// Refuses a login, but not before its time.
async fn refuse<T>(at: Instant) -> Result<T, Error> {
    tokio::time::sleep_until(at).await;
    Err(Error::rule(&AuthenticationError::Login))
}

/// A person who has just logged in.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// The new session.
    pub session_id: SessionId,
    /// API of the session.
    pub audience: Audience,
    /// Expiry, unless the session is refreshed.
    pub expires_at: Timestamp,
    /// Refresh token, known to the client only.
    pub refresh_token: String,
    /// True if the user has to change their password before anything else.
    pub must_change_password: bool,
    /// Account of the user.
    pub account: Account,
}

/// Credentials of a login.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The login.
    pub email: EmailAddress,
    /// Password as entered.
    pub password: String,
    /// Name that the device gives itself.
    pub user_agent: Option<UserAgent>,
    /// Address, or network, that they come from, if that is known.
    pub address: Option<IpAddr>,
}

impl Commands {
    /// Logs a person in at the messenger of a business.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], in the same words and after the same time, when there is no such business or account, when
    /// either is suspended, and when the password is wrong; [`Error::TooMany`] when too many logins wait already.
    pub async fn log_in(
        &self,
        business: BusinessId,
        credentials: Credentials,
        correlation_id: Uuid,
    ) -> Result<Done<LoggedIn>, Error> {
        let began = Instant::now();
        let whom = self.hashed_for(Some(business), &credentials);
        let Credentials { email, password, user_agent, .. } = credentials;
        let user = self.account_with(business, &email).await?;
        let Some(account) = self.check_password(whom, Some(user), password).await? else {
            return refuse(began + REFUSAL).await;
        };
        self.start_session(account, Audience::Messenger, user_agent, correlation_id).await
    }

    /// Logs a person in at the admin API. Without a business, the admin accounts of that email are tried.
    ///
    /// # Errors
    /// As [`Self::log_in`], also when the person may not administer; [`Error::Conflict`] when several accounts have this email
    /// and this password.
    pub async fn log_in_as_admin(
        &self,
        business: Option<BusinessId>,
        credentials: Credentials,
        correlation_id: Uuid,
    ) -> Result<Done<LoggedIn>, Error> {
        let began = Instant::now();
        let whom = self.hashed_for(business, &credentials);
        let Credentials { email, password, user_agent, .. } = credentials;
        let mut candidates = match business {
            Some(business) => vec![Some(self.account_with(business, &email).await?)],
            None => self.admin_accounts(&email).await?,
        };
        if candidates.is_empty() {
            candidates.push(None);
        }
        let tried = u32::try_from(candidates.len()).unwrap_or(1);
        let mut matching = vec![];
        for user in candidates {
            let account = self.check_password(whom.clone(), user, password.clone()).await?;
            matching.extend(account.filter(|account| account.role.may_administer()));
        }
        let Some(account) = matching.pop() else {
            // As if as many had been tried as ever are: how many there are is nobody's business.
            let as_many = if business.is_none() { began.elapsed() * ADMIN_ACCOUNTS_TRIED / tried } else { REFUSAL };
            return refuse(began + as_many.max(REFUSAL)).await;
        };
        if !matching.is_empty() {
            return Err(Error::rule(&LoginError::SeveralBusinesses));
        }
        self.start_session(account, Audience::Admin, user_agent, correlation_id).await
    }

    /// The account that has this email in this business; one that was never created when there is none. Both are read from the
    /// log whatever is remembered of them: those who exist are remembered, and it would show in the time that it takes.
    async fn account_with(&self, business: BusinessId, email: &EmailAddress) -> Result<Arc<Loaded<User>>, Error> {
        let login = self.repository.read::<Login>(&self.keyed_hash.login_id(business, email)).await?;
        let user = login.state.holder().unwrap_or(UserId(Uuid::nil()));
        self.repository.read::<User>(&user.to_string()).await
    }

    async fn admin_accounts(&self, email: &EmailAddress) -> Result<Vec<Option<Arc<Loaded<User>>>>, Error> {
        let mut users = vec![];
        for user in self.lookups.admin_accounts(email, ADMIN_ACCOUNTS_TRIED, self.acknowledged()).await? {
            users.push(Some(self.user(user).await?));
        }
        Ok(users)
    }

    fn hashed_for(&self, business: Option<BusinessId>, credentials: &Credentials) -> HashedFor {
        let named = business.unwrap_or(BusinessId(Uuid::nil()));
        let account = self.keyed_hash.login_id(named, &credentials.email);
        HashedFor::Login { address: credentials.address, business, account }
    }

    /// The account, if the password is right and both account and business are active. Takes as long when there is no account.
    async fn check_password(
        &self,
        whom: HashedFor,
        user: Option<Arc<Loaded<User>>>,
        password: String,
    ) -> Result<Option<Account>, Error> {
        let account = user.as_deref().and_then(|user| user.state.active());
        let hash = account.and_then(|account| account.password_hash.known()).cloned();
        let is_right = self.passwords.verify(whom, password, hash).await?;
        let Some(account) = account.filter(|_| is_right) else { return Ok(None) };
        let business = self.business(account.business_id).await?;
        Ok(business.state.is_active().then(|| account.clone()))
    }

    async fn start_session(
        &self,
        account: Account,
        audience: Audience,
        user_agent: Option<UserAgent>,
        correlation_id: Uuid,
    ) -> Result<Done<LoggedIn>, Error> {
        let id = SessionId(self.ids.next());
        let now = self.clock.now();
        let expires_at = now.plus_ms(SESSION_MS);
        let start = SessionCommand::Start(StartSession {
            id,
            user_id: account.id,
            business_id: account.business_id,
            audience,
            epoch: account.epoch,
            user_agent,
            expires_at,
            at: now,
        });
        let metadata = by_person(&account, correlation_id, id);
        let started = self.repository.execute::<Session>(&id.to_string(), start, &metadata).await?;
        Ok(self.done(self.logged_in(id, audience, 1, expires_at, account), started.position))
    }

    fn logged_in(
        &self,
        session_id: SessionId,
        audience: Audience,
        generation: u32,
        expires_at: Timestamp,
        account: Account,
    ) -> LoggedIn {
        let refresh_token = RefreshToken { session_id, generation }.sign(&self.keyed_hash);
        let must_change_password = self.must_change_password(&account, audience);
        LoggedIn { session_id, audience, expires_at, refresh_token, must_change_password, account }
    }

    /// The session of a refresh token, if it is one of ours; what it is worth today is another question.
    #[must_use]
    pub fn session_of(&self, refresh_token: &str) -> Option<SessionId> {
        RefreshToken::check(refresh_token, &self.keyed_hash).map(|token| token.session_id)
    }

    /// Trades a refresh token in for another one. Each is good once; using one a second time ends the session.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when the token is none of ours, of the other API or used up, and when its session is over or its
    /// person or business is suspended.
    pub async fn refresh(
        &self,
        audience: Audience,
        refresh_token: &str,
        correlation_id: Uuid,
    ) -> Result<Done<LoggedIn>, Error> {
        let refused = || Error::rule(&AuthenticationError::RefreshToken);
        let token = RefreshToken::check(refresh_token, &self.keyed_hash).ok_or_else(refused)?;
        let session = self.session(token.session_id).await?;
        let user_id = session.state.live(self.clock.now()).ok_or_else(refused)?.user_id;
        let claims = Claims { user_id, session_id: token.session_id, audience };
        let (_, user) = self.whoever_has(claims).await.map_err(|error| match error {
            Error::Unauthorized(_) => refused(),
            error => error,
        })?;
        let account = user.state.account().cloned().ok_or_else(refused)?;
        let now = self.clock.now();
        let refresh =
            SessionCommand::Refresh { generation: token.generation, expires_at: now.plus_ms(SESSION_MS), at: now };
        let metadata = by_person(&account, correlation_id, token.session_id);
        let refreshed =
            self.repository.execute::<Session>(&token.session_id.to_string(), refresh, &metadata).await.map_err(
                |refusal| match refusal {
                    Refusal::Rule(_) => refused(),
                    Refusal::Other(error) => error,
                },
            )?;
        let Session::Live(session) = &refreshed.state else {
            // It was used before, and the session has just been revoked for it.
            self.done((), refreshed.position);
            return Err(refused());
        };
        let logged_in = self.logged_in(session.id, audience, session.generation, session.expires_at, account);
        Ok(self.done(logged_in, refreshed.position))
    }

    pub(crate) async fn user(&self, id: UserId) -> Result<Arc<Loaded<User>>, Error> {
        self.repository.load::<User>(&id.to_string()).await
    }

    pub(crate) async fn session(&self, id: SessionId) -> Result<Arc<Loaded<Session>>, Error> {
        self.repository.load::<Session>(&id.to_string()).await
    }
}

/// Content of a refresh token: its session and its number there.
struct RefreshToken {
    session_id: SessionId,
    generation: u32,
}

impl RefreshToken {
    fn sign(&self, hash: &KeyedHash) -> String {
        let signature = hash.refresh_token(self.session_id, self.generation);
        format!("{}.{}.{signature}", self.session_id.0.simple(), self.generation)
    }

    /// The token, if it is one of ours.
    fn check(text: &str, hash: &KeyedHash) -> Option<Self> {
        let mut parts = text.split('.');
        let (session, generation, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let token = Self { session_id: session.parse().ok()?, generation: generation.parse().ok()? };
        let is_ours = parts.next().is_none() && hash.is_refresh_token(signature, token.session_id, token.generation);
        is_ours.then_some(token)
    }
}

/// Metadata of a login: the user acts in the session that begins with it.
fn by_person(account: &Account, correlation_id: Uuid, session: SessionId) -> Metadata {
    let mut metadata = by_the_system(account.business_id, correlation_id);
    metadata.actor.user = Some(account.id.0);
    metadata.actor.role = Some(account.role.as_str().into());
    metadata.actor.session = Some(session.0);
    metadata
}

//! How often. The contract's limits: a burst of the limit passes, and is refilled evenly over the minute (GCRA). Kept per node.

use std::num::NonZeroU32;

use domain::{BusinessId, EmailAddress, SessionId};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::error::{ApiError, ErrorBody, ErrorCode};

/// Who is counted at authentication: the account that somebody logs in to, whether it exists or not (the email is in the form by
/// which emails are compared), or the session that somebody refreshes.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Who {
    Account(Option<BusinessId>, String),
    Session(SessionId),
}

/// What a client says over a live stream, by how often it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emit {
    /// Signalling of calls: it comes in bursts.
    Signal,
    /// Typing.
    Typing,
    /// Anything else: as a request.
    Other,
}

/// Signals a minute that a session may send.
const SIGNALS: NonZeroU32 = NonZeroU32::new(1200).expect("it isn't 0");
/// Times a minute that a session may say that somebody types, or has stopped.
const TYPING: NonZeroU32 = NonZeroU32::new(120).expect("it isn't 0");

/// The limits of one node.
pub struct Limits {
    /// Logins and refreshes.
    authentication: Option<DefaultKeyedRateLimiter<Who>>,
    /// Everything else, by session.
    requests: Option<DefaultKeyedRateLimiter<SessionId>>,
    signals: DefaultKeyedRateLimiter<SessionId>,
    typing: DefaultKeyedRateLimiter<SessionId>,
    clock: DefaultClock,
}

impl Limits {
    /// So many logins a minute for an account, and so many requests a minute in a session; 0 is no limit.
    #[must_use]
    pub fn new(authentication_per_minute: u32, requests_per_minute: u32) -> Self {
        let quota = |per_minute| NonZeroU32::new(per_minute).map(Quota::per_minute);
        Self {
            authentication: quota(authentication_per_minute).map(RateLimiter::keyed),
            requests: quota(requests_per_minute).map(RateLimiter::keyed),
            signals: RateLimiter::keyed(Quota::per_minute(SIGNALS)),
            typing: RateLimiter::keyed(Quota::per_minute(TYPING)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts an attempt to log in.
    pub(crate) fn count_login(&self, business: Option<BusinessId>, email: &EmailAddress) -> Result<(), ApiError> {
        self.count(self.authentication.as_ref(), &Who::Account(business, email.to_key()))
    }

    /// Counts a refresh of a session.
    pub(crate) fn count_refresh(&self, session: SessionId) -> Result<(), ApiError> {
        self.count(self.authentication.as_ref(), &Who::Session(session))
    }

    /// Counts a request in a session.
    pub(crate) fn count_request(&self, session: SessionId) -> Result<(), ApiError> {
        self.count(self.requests.as_ref(), &session)
    }

    /// Counts what a client says over a live stream.
    pub(crate) fn count_emit(&self, session: SessionId, emit: Emit) -> Result<(), ApiError> {
        match emit {
            Emit::Signal => self.count(Some(&self.signals), &session),
            Emit::Typing => self.count(Some(&self.typing), &session),
            Emit::Other => self.count_request(session),
        }
    }

    fn count<K: Clone + Eq + std::hash::Hash>(
        &self,
        limiter: Option<&DefaultKeyedRateLimiter<K>>,
        key: &K,
    ) -> Result<(), ApiError> {
        let Some(limiter) = limiter else { return Ok(()) };
        limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            // Whole seconds, and no fewer than it takes.
            let retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let body = ErrorBody::new(ErrorCode::RateLimit, format!("Too many requests: try again in {retry_after} s"));
            ApiError::RateLimit(poem_openapi::payload::Json(body), retry_after)
        })
    }

    /// Forgets those who have been quiet for long enough to start afresh. To be called now and then.
    pub fn forget_the_quiet(&self) {
        if let Some(limiter) = &self.authentication {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        for limiter in self.requests.iter().chain([&self.signals, &self.typing]) {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn session(n: u128) -> SessionId {
        SessionId(Uuid::from_u128(n))
    }

    #[test]
    fn a_burst_of_the_limit_passes_and_the_next_says_how_long_to_wait() {
        let limits = Limits::new(100, 60);
        for _ in 0..60 {
            assert!(limits.count_request(session(1)).is_ok());
        }
        let Err(ApiError::RateLimit(body, retry_after)) = limits.count_request(session(1)) else {
            panic!("one too many")
        };
        assert_eq!((body.0.status_code, retry_after), (429, 1), "60 a minute is one a second");
        assert!(limits.count_request(session(2)).is_ok(), "another session has its own");
    }

    #[test]
    fn logins_are_counted_by_account_whatever_the_case() {
        let limits = Limits::new(1, 0);
        let count = |business, email| limits.count_login(business, &EmailAddress::parse(email).unwrap());
        let acme = Some(BusinessId(Uuid::from_u128(1)));
        assert!(count(acme, "ann@example.com").is_ok());
        assert!(count(acme, "ANN@example.com").is_err());
        assert!(count(acme, "bob@example.com").is_ok());
        assert!(count(None, "ann@example.com").is_ok());
        assert!(limits.count_refresh(session(1)).is_ok());
        assert!(limits.count_refresh(session(1)).is_err());
    }

    #[test]
    fn typing_and_signals_have_limits_of_their_own() {
        let limits = Limits::new(0, 1);
        let burst = |emit| (0..2000).take_while(|_| limits.count_emit(session(1), emit).is_ok()).count();
        assert_eq!(burst(Emit::Typing), 120);
        assert!(burst(Emit::Signal) >= 1200);
        assert_eq!(burst(Emit::Other), 1);
    }

    #[test]
    fn nought_is_no_limit_and_the_quiet_are_forgotten() {
        let limits = Limits::new(0, 0);
        assert!((0..10_000).all(|_| limits.count_request(session(1)).is_ok()));
        let limits = Limits::new(u32::MAX, u32::MAX);
        assert!(limits.count_request(session(1)).is_ok());
        limits.forget_the_quiet();
        assert!(limits.requests.unwrap().is_empty());
    }
}

//! Rate limits of the contract: a burst of the limit passes, and is refilled evenly over the minute (GCRA). Kept for each node.

use std::cell::Cell;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use domain::{BusinessId, EmailAddress, SessionId};
use futures_util::FutureExt;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use poem::Response;
use poem::http::{HeaderName, HeaderValue};

use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::identity::Checked;

/// Subject counted at authentication: the account that somebody logs in to, whether it exists or not (the email is in the form by
/// which emails are compared), or the session that somebody refreshes.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Who {
    Account(Option<BusinessId>, String),
    Session(SessionId),
}

/// Kinds of client events, by their rate limit.
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

type Limiter<K> = RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// One limit: so many a minute for each of those it counts.
struct Limit<K: Clone + Eq + Hash> {
    /// Name in answers.
    name: &'static str,
    per_minute: u32,
    limiter: Limiter<K>,
}

/// The limits of one node.
pub struct Limits {
    /// Logins and refreshes.
    authentication: Option<Limit<Who>>,
    /// Everything else, by session.
    requests: Option<Limit<SessionId>>,
    /// Anonymous requests, by address.
    addresses: Option<Limit<IpAddr>>,
    signals: Limit<SessionId>,
    typing: Limit<SessionId>,
    /// Socket.IO handshakes, by where they come from: what they are worth is only said later.
    handshakes: Option<Limit<IpAddr>>,
    clock: DefaultClock,
}

/// Limits that operators set. 0 is no limit.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Logins a minute for an account.
    pub authentication: u32,
    /// Requests a minute in a session.
    pub requests: u32,
    /// Requests a minute that don't say who they are from, from an address.
    pub anonymous: u32,
    /// Socket.IO handshakes a minute from an address.
    pub handshakes: u32,
}

/// Remaining allowance of the limit that counted a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Allowance {
    name: &'static str,
    per_minute: u32,
    /// Requests that would pass now.
    remaining: u32,
    /// Seconds until all would, or, if none does, one.
    reset_s: u64,
}

tokio::task_local! {
    /// The limit that counts the request at hand; the last one, when several do.
    static ALLOWANCE: Cell<Option<Allowance>>;
}

/// The headers that tell a client how it stands with its limits (the IETF's draft of the `RateLimit` fields).
pub(crate) struct LimitHeaders(Option<Allowance>);

/// Answers a request, and learns by which limit it was counted meanwhile. Not an `async fn`: those keep what they are given twice.
pub(crate) fn counted<T>(answering: impl Future<Output = T>) -> impl Future<Output = (T, LimitHeaders)> {
    ALLOWANCE.scope(Cell::new(None), answering.map(|answer| (answer, LimitHeaders(ALLOWANCE.with(Cell::get)))))
}

impl LimitHeaders {
    /// Adds them, if the request was counted.
    pub(crate) fn set(self, response: &mut Response) {
        let Some(Allowance { name, per_minute, remaining, reset_s }) = self.0 else { return };
        let policy = format!("\"{name}\";q={per_minute};w=60");
        let limit = format!("\"{name}\";r={remaining};t={reset_s}");
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", limit)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
    }
}

impl<K: Clone + Eq + Hash> Limit<K> {
    /// None when there is no limit.
    fn new(name: &'static str, per_minute: u32) -> Option<Self> {
        NonZeroU32::new(per_minute).map(|quota| Self::of(name, quota))
    }

    fn of(name: &'static str, per_minute: NonZeroU32) -> Self {
        let limiter = RateLimiter::keyed(Quota::per_minute(per_minute)).with_middleware();
        Self { name, per_minute: per_minute.get(), limiter }
    }

    fn count(&self, key: &K, clock: &DefaultClock) -> Result<(), ApiError> {
        let counted = self.limiter.check_key(key);
        let (remaining, reset_s) = match &counted {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let missing = u64::from(self.per_minute.saturating_sub(remaining));
                (remaining, (missing * 60).div_ceil(self.per_minute.into()))
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(clock.now());
                // Whole seconds, and no fewer than it takes.
                (0, (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
            }
        };
        let allowance = Allowance { name: self.name, per_minute: self.per_minute, remaining, reset_s };
        // What is said over a live stream has no headers.
        let _ = ALLOWANCE.try_with(|slot| slot.set(Some(allowance)));
        counted.map(drop).map_err(|_| {
            let body = ErrorBody::new(ErrorCode::RateLimit, format!("Too many requests: try again in {reset_s} s"));
            ApiError::RateLimit(poem_openapi::payload::Json(body), reset_s)
        })
    }

    fn forget_the_quiet(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

impl Limits {
    /// Limits of one node.
    #[must_use]
    pub fn new(limits: RateLimits) -> Self {
        Self {
            authentication: Limit::new("account", limits.authentication),
            requests: Limit::new("session", limits.requests),
            addresses: Limit::new("address", limits.anonymous),
            signals: Limit::of("signals", SIGNALS),
            typing: Limit::of("typing", TYPING),
            handshakes: Limit::new("handshakes", limits.handshakes),
            clock: DefaultClock::default(),
        }
    }

    /// Counts an attempt to log in.
    ///
    /// One that names no business is counted by its email alone, and not by the accounts that are tried: whoever has used up what an
    /// account may be tried would see by it whether there is one.
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

    /// Counts a request of nobody in particular. One whose address isn't known isn't counted.
    pub(crate) fn count_address(&self, address: Option<IpAddr>) -> Result<(), ApiError> {
        let Some(address) = address else { return Ok(()) };
        self.count(self.addresses.as_ref(), &network_of(address))
    }

    /// Counts somebody who opens a live stream, which `opening` says the outcome of: by their session, or by their address when they may
    /// not be here. Whoever may not is nobody in particular.
    pub(crate) fn count_opening(
        &self,
        address: Option<IpAddr>,
        opening: Result<Checked, ApiError>,
    ) -> Result<Checked, ApiError> {
        match &opening {
            Ok((caller, _)) => self.count_request(caller.session_id)?,
            Err(ApiError::Unauthorized(_) | ApiError::Forbidden(_)) => self.count_address(address)?,
            Err(_) => {}
        }
        opening
    }

    /// Counts a Socket.IO handshake.
    pub(crate) fn count_handshake(&self, address: Option<IpAddr>) -> Result<(), ApiError> {
        let Some(address) = address else { return Ok(()) };
        self.count(self.handshakes.as_ref(), &network_of(address))
    }

    /// Counts what a client says over a live stream.
    pub(crate) fn count_emit(&self, session: SessionId, emit: Emit) -> Result<(), ApiError> {
        match emit {
            Emit::Signal => self.signals.count(&session, &self.clock),
            Emit::Typing => self.typing.count(&session, &self.clock),
            Emit::Other => self.count_request(session),
        }
    }

    fn count<K: Clone + Eq + Hash>(&self, limit: Option<&Limit<K>>, key: &K) -> Result<(), ApiError> {
        limit.map_or(Ok(()), |limit| limit.count(key, &self.clock))
    }

    /// Forgets those who have been quiet for long enough to start afresh. To be called now and then.
    pub fn forget_the_quiet(&self) {
        if let Some(limit) = &self.authentication {
            limit.forget_the_quiet();
        }
        for limit in self.addresses.iter().chain(&self.handshakes) {
            limit.forget_the_quiet();
        }
        for limit in self.requests.iter().chain([&self.signals, &self.typing]) {
            limit.forget_the_quiet();
        }
    }
}

/// Returns the network that an address stands for: a user of version 6 has a great many addresses.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use poem::IntoResponse;
    use uuid::Uuid;

    use super::*;

    fn limits(authentication: u32, requests: u32, anonymous: u32) -> Limits {
        Limits::new(RateLimits { authentication, requests, anonymous, handshakes: 2 })
    }

    fn session(n: u128) -> SessionId {
        SessionId(Uuid::from_u128(n))
    }

    #[test]
    fn a_burst_of_the_limit_passes_and_the_next_says_how_long_to_wait() {
        let limits = limits(100, 60, 0);
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
        let limits = limits(1, 0, 0);
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
    fn whoever_is_nobody_in_particular_is_counted_by_address_or_network() {
        let limits = limits(0, 0, 1);
        let count = |address: &str| limits.count_address(Some(address.parse().unwrap()));
        assert!(count("192.0.2.1").is_ok() && count("192.0.2.2").is_ok());
        assert!(count("::ffff:192.0.2.1").is_err(), "it is the same");
        assert!(count("2001:db8::1").is_ok());
        assert!(count("2001:db8::ffff:1").is_err(), "it is the same network");
        assert!(count("2001:db8:1::1").is_ok());
        assert!(limits.count_address(None).is_ok());
    }

    #[test]
    fn handshakes_are_counted_by_address() {
        let limits = limits(0, 0, 0);
        let count = |address: &str| limits.count_handshake(Some(address.parse().unwrap())).is_ok();
        assert!(count("192.0.2.1") && count("192.0.2.1") && !count("192.0.2.1"));
        assert!(count("192.0.2.2"));
    }

    #[tokio::test]
    async fn whoever_is_counted_is_told_how_they_stand() {
        let limits = limits(0, 60, 0);
        let mut told = vec![];
        for _ in 0..61 {
            let (counted, headers) = counted(async { limits.count_request(session(1)) }).await;
            let mut response = counted.map_or_else(IntoResponse::into_response, IntoResponse::into_response);
            headers.set(&mut response);
            assert_eq!(response.headers()["ratelimit-policy"], "\"session\";q=60;w=60");
            told.push((response.status().as_u16(), response.headers()["ratelimit"].to_str().unwrap().to_owned()));
        }
        assert_eq!(told[0], (200, "\"session\";r=59;t=1".to_owned()));
        assert_eq!(told[59], (200, "\"session\";r=0;t=60".to_owned()));
        assert_eq!(told[60], (429, "\"session\";r=0;t=1".to_owned()));
    }

    #[test]
    fn typing_and_signals_have_limits_of_their_own() {
        let limits = limits(0, 1, 0);
        let burst = |emit| (0..2000).take_while(|_| limits.count_emit(session(1), emit).is_ok()).count();
        assert_eq!(burst(Emit::Typing), 120);
        assert!(burst(Emit::Signal) >= 1200);
        assert_eq!(burst(Emit::Other), 1);
    }

    #[test]
    fn nought_is_no_limit_and_the_quiet_are_forgotten() {
        let unlimited = limits(0, 0, 0);
        assert!((0..10_000).all(|_| unlimited.count_request(session(1)).is_ok()));
        let limits = limits(u32::MAX, u32::MAX, u32::MAX);
        assert!(limits.count_request(session(1)).is_ok());
        limits.forget_the_quiet();
        assert!(limits.requests.unwrap().limiter.is_empty());
    }
}

//! Access tokens: short-lived JWTs that say who is in which session. What they may do is looked up when they are used.

use std::sync::{Arc, PoisonError, RwLock};

use commands::{Claims, LoggedIn};
use domain::session::Audience;
use domain::{SessionId, Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const ISSUER: &str = "switchboard";
/// Maximum difference between the clocks of nodes, in seconds.
const LEEWAY_S: u64 = 5;
/// Tokens that are remembered once they have been checked: to find one again takes a fraction of the time.
const REMEMBERED: usize = 10_000;
/// Audiences of tokens.
const AUDIENCES: [Audience; 2] = [Audience::Admin, Audience::Messenger];

/// A key that tokens are signed with. All nodes have the same.
pub struct SigningKey {
    /// Names the key in tokens.
    pub id: String,
    /// 256 random bits.
    pub secret: [u8; 32],
}

/// Issues and checks access tokens.
pub struct Tokens {
    keys: RwLock<Arc<Keys>>,
    validation: Validation,
    life_ms: i64,
}

/// The keys of the hour.
struct Keys {
    /// The first signs; all of them are good.
    list: Vec<Key>,
    /// Tokens that were found to be good by these keys, and what they say. Forgotten with the keys.
    good: quick_cache::sync::Cache<Box<str>, Good>,
}

/// Claims of a valid token, and its expiry.
#[derive(Clone, Copy)]
struct Good {
    claims: Claims,
    expires_s: i64,
}

impl Good {
    /// Returns true if it has not expired since, by the library's own rule.
    fn is_good_at(&self, now_s: i64) -> bool {
        self.expires_s >= now_s.saturating_sub(LEEWAY_S.cast_signed())
    }
}

impl Keys {
    fn new(keys: &[SigningKey]) -> Arc<Self> {
        let good = quick_cache::sync::Cache::new(REMEMBERED);
        Arc::new(Self { list: keys.iter().map(Key::new).collect(), good })
    }
}

/// A signing key, ready for use.
struct Key {
    id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl Key {
    fn new(key: &SigningKey) -> Self {
        Self {
            id: key.id.clone(),
            encoding: EncodingKey::from_secret(&key.secret),
            decoding: DecodingKey::from_secret(&key.secret),
        }
    }
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessToken {
    pub(crate) token: String,
    pub(crate) expires_at: Timestamp,
}

/// Claims of a token. Times are in seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    sub: Uuid,
    sid: Uuid,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl Tokens {
    /// Signs with the first of these keys, and takes what was signed with any. A token is good for `life_ms` milliseconds.
    #[must_use]
    pub fn new(keys: &[SigningKey], life_ms: i64) -> Self {
        Self { keys: RwLock::new(Keys::new(keys)), validation: validation(), life_ms }
    }

    /// Signs with the first of these keys from now on, and takes what was signed with any.
    pub fn use_keys(&self, keys: &[SigningKey]) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Keys::new(keys);
    }

    fn keys(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A token for somebody who has just logged in.
    pub(crate) fn issue(&self, logged_in: &LoggedIn, now: Timestamp) -> AccessToken {
        let expires_at = now.plus_ms(self.life_ms);
        let now_s = now.unix_ms() / 1000;
        let payload = Payload {
            iss: ISSUER.to_owned(),
            aud: logged_in.audience.as_str().to_owned(),
            sub: logged_in.account.id.0,
            sid: logged_in.session_id.0,
            iat: now_s,
            nbf: now_s,
            exp: expires_at.unix_ms() / 1000,
        };
        let keys = self.keys();
        let key = keys.list.first().expect("there is always a key");
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::HS256) };
        let token =
            jsonwebtoken::encode(&header, &payload, &key.encoding).expect("a payload of strings and numbers is signed");
        AccessToken { token, expires_at }
    }

    /// Returns the claims and the expiry of a token, if it is one of ours, for this API, and not expired.
    pub(crate) fn check(&self, token: &str, audience: Audience) -> Option<(Claims, Timestamp)> {
        self.check_any(token).filter(|(claims, _)| claims.audience == audience)
    }

    /// The same, for whichever API it is.
    pub(crate) fn check_any(&self, token: &str) -> Option<(Claims, Timestamp)> {
        let keys = self.keys();
        let good = match keys.good.get(token) {
            Some(good) if good.is_good_at(now_s()) => good,
            // It has run out since, or hasn't been seen.
            _ => {
                let good = self.verify(&keys.list, token)?;
                keys.good.insert(token.into(), good);
                good
            }
        };
        Some((good.claims, Timestamp::from_unix_ms(good.expires_s.saturating_mul(1000))))
    }

    fn verify(&self, keys: &[Key], token: &str) -> Option<Good> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let key = keys.iter().find(|key| Some(&key.id) == header.kid.as_ref())?;
        let payload = jsonwebtoken::decode::<Payload>(token, &key.decoding, &self.validation).ok()?.claims;
        let audience = AUDIENCES.into_iter().find(|audience| audience.as_str() == payload.aud)?;
        let claims = Claims { user_id: UserId(payload.sub), session_id: SessionId(payload.sid), audience };
        Some(Good { claims, expires_s: payload.exp })
    }
}

/// The time by which tokens are judged, in seconds since 1970: the library's own.
fn now_s() -> i64 {
    i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap_or(i64::MAX)
}

/// Every claim is required: by default a token without an audience passes for any, and one from the future for one of today.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = LEEWAY_S;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    validation.set_audience(&AUDIENCES.map(Audience::as_str));
    validation.set_issuer(&[ISSUER]);
    validation
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn tokens() -> Tokens {
        Tokens::new(&[SigningKey { id: "k1".into(), secret: KEY }], 3_600_000)
    }

    fn payload() -> Value {
        json!({
            "iss": "switchboard", "aud": "messenger", "sub": Uuid::from_u128(1), "sid": Uuid::from_u128(2),
            "iat": now_s(), "nbf": now_s(), "exp": now_s() + 3600,
        })
    }

    fn signed(payload: &Value, header: &Header, secret: &[u8]) -> String {
        jsonwebtoken::encode(header, payload, &EncodingKey::from_secret(secret)).unwrap()
    }

    fn header() -> Header {
        Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS256) }
    }

    fn is_accepted(token: &str) -> bool {
        tokens().check(token, Audience::Messenger).is_some()
    }

    #[test]
    fn a_token_of_ours_is_accepted_by_the_api_it_is_for() {
        let token = signed(&payload(), &header(), &KEY);
        assert!(is_accepted(&token));
        assert!(tokens().check(&token, Audience::Admin).is_none());
        let (claims, _) = tokens().check_any(&token).unwrap();
        assert_eq!(claims.audience, Audience::Messenger);
    }

    #[test]
    fn a_key_that_signs_no_more_is_good_until_it_is_gone() {
        let tokens = tokens();
        let old = signed(&payload(), &header(), &KEY);
        let key = |id: &str, byte| SigningKey { id: id.into(), secret: [byte; 32] };
        let is_accepted = |token: &str| tokens.check(token, Audience::Messenger).is_some();
        tokens.use_keys(&[key("k2", 8), key("k1", 7)]);
        let new = signed(&payload(), &Header { kid: Some("k2".into()), ..header() }, &[8; 32]);
        assert!(is_accepted(&old) && is_accepted(&new));
        tokens.use_keys(&[key("k2", 8)]);
        assert!(!is_accepted(&old) && is_accepted(&new));
    }

    #[test]
    fn a_token_that_is_remembered_runs_out_like_any_other() {
        let tokens = tokens();
        let claims =
            Claims { user_id: UserId(Uuid::nil()), session_id: SessionId(Uuid::nil()), audience: Audience::Admin };
        for (left_s, expected) in [(1, true), (0, true), (-30, false)] {
            let expires_s = now_s() + left_s;
            tokens.keys().good.insert("seen before".into(), Good { claims, expires_s });
            assert_eq!(tokens.check_any("seen before").is_some(), expected, "{left_s}");
        }
        let leeway_s = LEEWAY_S.cast_signed();
        let good = Good { claims, expires_s: 100 };
        assert!(good.is_good_at(100 + leeway_s) && !good.is_good_at(101 + leeway_s));
    }

    #[test]
    fn every_claim_is_required() {
        for claim in ["iss", "aud", "sub", "sid", "iat", "nbf", "exp"] {
            let mut without = payload();
            without.as_object_mut().unwrap().remove(claim);
            assert!(!is_accepted(&signed(&without, &header(), &KEY)), "without {claim}");
        }
    }

    #[test]
    fn a_claim_that_is_off_is_refused() {
        let wrong = [
            ("iss", json!("somebody")),
            ("aud", json!("admin")),
            ("aud", json!([])),
            ("aud", json!(["messenger"])),
            ("aud", json!("nobody")),
            ("sub", json!("me")),
            ("exp", json!(now_s() - 30)),
            ("exp", json!("tomorrow")),
            ("nbf", json!(now_s() + 60)),
        ];
        for (claim, value) in wrong {
            let mut payload = payload();
            payload[claim] = value;
            assert!(!is_accepted(&signed(&payload, &header(), &KEY)), "{claim}");
        }
    }

    #[test]
    fn other_keys_and_algorithms_are_refused() {
        assert!(!is_accepted(&signed(&payload(), &header(), &[8; 32])));
        let other_kid = Header { kid: Some("k2".into()), ..header() };
        assert!(!is_accepted(&signed(&payload(), &other_kid, &KEY)));
        let no_kid = Header { kid: None, ..header() };
        assert!(!is_accepted(&signed(&payload(), &no_kid, &KEY)));
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            let header = Header { alg: algorithm, ..header() };
            assert!(!is_accepted(&signed(&payload(), &header, &KEY)));
        }
    }

    #[test]
    fn a_token_without_a_signature_is_refused() {
        let signed = signed(&payload(), &header(), &KEY);
        let (unsigned, _) = signed.rsplit_once('.').unwrap();
        let (_, payload) = unsigned.split_once('.').unwrap();
        // {"alg":"none","typ":"JWT","kid":"k1"}
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoiazEifQ.{payload}.");
        for token in ["", ".", "..", "a.b.c", unsigned, &format!("{unsigned}."), &none] {
            assert!(!is_accepted(token), "{token}");
        }
    }
}

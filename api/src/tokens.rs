//! Access tokens: short-lived JWTs that say who is in which session. What they may do is looked up when they are used.

use commands::{Claims, LoggedIn};
use domain::session::Audience;
use domain::{SessionId, Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const ISSUER: &str = "switchboard";
/// How far the clocks of nodes may be apart.
const LEEWAY_S: u64 = 5;

/// A key that tokens are signed with. All nodes have the same.
pub struct SigningKey {
    /// Names the key in tokens.
    pub id: String,
    /// 256 random bits.
    pub secret: [u8; 32],
}

/// Issues and checks access tokens.
pub struct Tokens {
    key_id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    admin: Validation,
    messenger: Validation,
    life_ms: i64,
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessToken {
    pub(crate) token: String,
    pub(crate) expires_at: Timestamp,
}

/// What stands in a token. Times are in seconds since 1970.
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
    /// Signs and checks with this key. A token is good for `life_ms` milliseconds.
    #[must_use]
    pub fn new(key: &SigningKey, life_ms: i64) -> Self {
        Self {
            key_id: key.id.clone(),
            encoding: EncodingKey::from_secret(&key.secret),
            decoding: DecodingKey::from_secret(&key.secret),
            admin: validation(Audience::Admin),
            messenger: validation(Audience::Messenger),
            life_ms,
        }
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
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &payload, &self.encoding)
            .expect("a payload of strings and numbers is signed");
        AccessToken { token, expires_at }
    }

    /// What a token says and when it runs out, if it is one of ours, for this API, and of this hour.
    pub(crate) fn check(&self, token: &str, audience: Audience) -> Option<(Claims, Timestamp)> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.kid.as_ref() != Some(&self.key_id) {
            return None;
        }
        let validation = match audience {
            Audience::Admin => &self.admin,
            Audience::Messenger => &self.messenger,
        };
        let payload = jsonwebtoken::decode::<Payload>(token, &self.decoding, validation).ok()?.claims;
        let claims = Claims { user_id: UserId(payload.sub), session_id: SessionId(payload.sid), audience };
        Some((claims, Timestamp::from_unix_ms(payload.exp.saturating_mul(1000))))
    }
}

/// Every claim is required: by default a token without an audience passes for any, and one from the future for one of today.
fn validation(audience: Audience) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = LEEWAY_S;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    validation.set_audience(&[audience.as_str()]);
    validation.set_issuer(&[ISSUER]);
    validation
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn tokens() -> Tokens {
        Tokens::new(&SigningKey { id: "k1".into(), secret: KEY }, 3_600_000)
    }

    fn now_s() -> i64 {
        i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap()
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

//! STUN and TURN servers for calls, with credentials that expire.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{Timestamp, UserId};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The servers of this installation.
#[derive(Clone, Debug, Default)]
pub struct IceServers {
    /// Addresses like `stun:stun.example.com:3478`.
    pub stun_urls: Vec<String>,
    /// The TURN servers, if there are any.
    pub turn: Option<Turn>,
}

/// TURN servers that share a secret with us.
#[derive(Clone)]
pub struct Turn {
    /// Addresses like `turn:turn.example.com:3478?transport=udp`.
    pub urls: Vec<String>,
    /// The secret, as in coturn's `static-auth-secret`.
    pub secret: String,
    /// Life of credentials, in seconds.
    pub ttl_s: i64,
}

/// Without the secret.
impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("urls", &self.urls).field("ttl_s", &self.ttl_s).finish_non_exhaustive()
    }
}

/// Credentials at a TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TurnCredentials {
    pub(crate) username: String,
    pub(crate) credential: String,
    pub(crate) expires_at: Timestamp,
}

impl Turn {
    /// Credentials by coturn's REST scheme: the user name says when they run out, in seconds since 1970, and the password is its
    /// HMAC-SHA1 under the shared secret.
    pub(crate) fn credentials(&self, user: UserId, now: Timestamp) -> TurnCredentials {
        let expires_at_s = now.unix_ms() / 1000 + self.ttl_s;
        let username = format!("{expires_at_s}:{user}");
        let mut mac = Hmac::<Sha1>::new_from_slice(self.secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(username.as_bytes());
        let credential = STANDARD.encode(mac.finalize().into_bytes());
        TurnCredentials { username, credential, expires_at: Timestamp::from_unix_ms(expires_at_s * 1000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_coturn_computes() {
        let turn = Turn { urls: vec![], secret: "north".into(), ttl_s: 600 };
        let user = UserId(uuid::Uuid::from_u128(7));
        let credentials = turn.credentials(user, Timestamp::from_unix_ms(1_000_000));
        assert_eq!(credentials.username, "1600:00000000-0000-0000-0000-000000000007");
        // echo -n "$username" | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(credentials.credential, "Hsyy+M6ovZLMwTHWWs/UprGctEI=");
    }
}

//! Hashes that only this installation can compute, so that no dictionary reverses them.

use std::fmt::Write;

use domain::{BusinessId, EmailAddress};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// HMAC-SHA-256 under a key that all nodes share.
#[derive(Clone)]
pub struct KeyedHash(Hmac<Sha256>);

impl KeyedHash {
    /// Hashes under this key.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "it doesn't")]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// Id of the login of this email in this business.
    pub(crate) fn login_id(&self, business: BusinessId, email: &EmailAddress) -> String {
        self.hex("login", &[business.0.as_bytes(), email.to_key().as_bytes()])
    }

    /// Stands for a refresh token in the log.
    pub(crate) fn refresh_token(&self, token: &str) -> String {
        self.hex("refresh-token", &[token.as_bytes()])
    }

    /// Stands for everything that a client sent under a retry key.
    pub(crate) fn fingerprint(&self, parts: &[&[u8]]) -> String {
        self.hex("fingerprint", parts)
    }

    /// Each part goes in with its length, so that no two lists of parts are the same bytes.
    fn hex(&self, purpose: &str, parts: &[&[u8]]) -> String {
        let mut mac = self.0.clone();
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl std::fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_depends_on_key_business_and_email_but_not_on_case() {
        let hash = KeyedHash::new(&[1; 32]);
        let business = |n| BusinessId(uuid::Uuid::from_u128(n));
        let email = |text| EmailAddress::parse(text).unwrap();
        let login = hash.login_id(business(1), &email("ann@example.com"));
        assert_eq!(login, hash.login_id(business(1), &email("ANN@example.com")));
        assert_ne!(login, hash.login_id(business(2), &email("ann@example.com")));
        assert_ne!(login, hash.login_id(business(1), &email("bob@example.com")));
        assert_ne!(login, KeyedHash::new(&[2; 32]).login_id(business(1), &email("ann@example.com")));
    }

    #[test]
    fn parts_are_not_run_together() {
        let hash = KeyedHash::new(&[1; 32]);
        assert_ne!(hash.fingerprint(&[b"ab", b"c"]), hash.fingerprint(&[b"a", b"bc"]));
    }
}

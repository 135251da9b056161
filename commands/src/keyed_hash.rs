//! Hashes that only this installation can compute, so that no dictionary reverses them.

use domain::{BusinessId, EmailAddress, SessionId};
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

    /// A name that no other installation has.
    #[must_use]
    pub fn installation(&self) -> String {
        self.hex("installation", &[])
    }

    /// Id of the login of this email in this business.
    pub(crate) fn login_id(&self, business: BusinessId, email: &EmailAddress) -> String {
        self.hex("login", &[business.0.as_bytes(), email.to_key().as_bytes()])
    }

    /// Signature of a refresh token. Tokens need not be stored.
    pub(crate) fn refresh_token(&self, session: SessionId, generation: u32) -> String {
        self.hex("refresh-token", &[session.0.as_bytes(), &generation.to_le_bytes()])
    }

    /// Returns true if this is the signature of that refresh token.
    pub(crate) fn is_refresh_token(&self, signature: &str, session: SessionId, generation: u32) -> bool {
        let parts = [session.0.as_bytes().as_slice(), &generation.to_le_bytes()];
        hex::decode(signature).is_ok_and(|signature| self.mac("refresh-token", &parts).verify_slice(&signature).is_ok())
    }

    /// Stands for everything that a client sent under a retry key.
    pub(crate) fn fingerprint(&self, parts: &[&[u8]]) -> String {
        self.hex("fingerprint", parts)
    }

    fn hex(&self, purpose: &str, parts: &[&[u8]]) -> String {
        hex::encode(self.mac(purpose, parts).finalize().into_bytes())
    }

    /// Each part goes in with its length, so that no two lists of parts are the same bytes.
    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
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
    fn a_refresh_token_is_known_by_its_signature() {
        let hash = KeyedHash::new(&[1; 32]);
        let session = |n| SessionId(uuid::Uuid::from_u128(n));
        let signature = hash.refresh_token(session(1), 7);
        assert!(hash.is_refresh_token(&signature, session(1), 7));
        assert!(!hash.is_refresh_token(&signature, session(1), 8));
        assert!(!hash.is_refresh_token(&signature, session(2), 7));
        for forged in ["", "00", "nonsense", &signature[2..]] {
            assert!(!hash.is_refresh_token(forged, session(1), 7), "{forged}");
        }
    }

    #[test]
    fn parts_are_not_run_together() {
        let hash = KeyedHash::new(&[1; 32]);
        assert_ne!(hash.fingerprint(&[b"ab", b"c"]), hash.fingerprint(&[b"a", b"bc"]));
    }
}

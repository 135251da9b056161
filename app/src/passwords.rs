//! Slow hashes of passwords: Argon2id with OWASP's minimum (19 MiB, two passes).

use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use async_trait::async_trait;
use commands::Passwords;
use domain::Password;
use tokio::sync::Semaphore;

/// Computes hashes off the threads that serve requests, as many at once as there are processors: more would only take the
/// memory and the time of everything else.
pub(crate) struct SlowHashes {
    slots: Arc<Semaphore>,
    /// What is verified when there is no hash, so that it takes as long.
    decoy: String,
}

impl SlowHashes {
    pub(crate) fn new() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self { slots: Arc::new(Semaphore::new(processors)), decoy: hash("nobody has this password") }
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(work).await.expect("hashing doesn't panic")
    }
}

#[async_trait]
impl Passwords for SlowHashes {
    async fn hash(&self, password: Password) -> String {
        self.compute(move || hash(password.as_str())).await
    }

    async fn verify(&self, password: String, expected: Option<String>) -> bool {
        let exists = expected.is_some();
        let expected = expected.unwrap_or_else(|| self.decoy.clone());
        self.compute(move || verify(&password, &expected)).await && exists
    }
}

fn hash(password: &str) -> String {
    Argon2::default().hash_password(password.as_bytes()).expect("a password of any length is hashed").to_string()
}

fn verify(password: &str, expected: &str) -> bool {
    PasswordHash::new(expected)
        .is_ok_and(|expected| Argon2::default().verify_password(password.as_bytes(), &expected).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_who_exists_is_right() {
        let hashes = SlowHashes::new();
        let hash = hashes.hash(Password::parse("correct horse").unwrap()).await;
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hashes.verify("correct horse".into(), Some(hash.clone())).await);
        assert!(!hashes.verify("battery staple".into(), Some(hash)).await);
        assert!(!hashes.verify("nobody has this password".into(), None).await);
        assert!(!hashes.verify("correct horse".into(), Some("not a hash".into())).await);
    }
}

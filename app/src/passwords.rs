//! Slow hashes of passwords: Argon2id with OWASP's minimum (19 MiB, two passes).

use std::num::NonZeroUsize;
use std::thread::{self, available_parallelism};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use async_trait::async_trait;
use commands::Passwords;
use domain::Password;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Hashes that may wait for a thread before those who want them are made to wait.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// Computes hashes on threads of its own, as many as there are processors: more at once would only take the memory and the time
/// of everything else, and threads that come and go would each keep the memory of their last hash.
pub(crate) struct SlowHashes {
    jobs: mpsc::Sender<Job>,
    /// What is verified when there is no hash, so that it takes as long.
    decoy: String,
}

impl SlowHashes {
    pub(crate) fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUE);
        let queue = std::sync::Arc::new(Mutex::new(queue));
        for _ in 0..available_parallelism().map_or(1, NonZeroUsize::get) {
            let queue = queue.clone();
            thread::spawn(move || {
                while let Some(job) = { queue.blocking_lock().blocking_recv() } {
                    job();
                }
            });
        }
        Self { jobs, decoy: hash("nobody has this password") }
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever wanted it may have gone before its turn came.
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        });
        self.jobs.send(job).await.expect("the threads live as long as we do");
        answer.await.expect("hashing doesn't panic")
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_computed() {
        let hashes = SlowHashes::new();
        let computed = Arc::new(AtomicUsize::new(0));
        let count = || {
            let computed = computed.clone();
            move || computed.fetch_add(1, Ordering::Relaxed)
        };
        // Every thread is busy, so that what comes next has to wait.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let busy: Vec<_> = (0..available_parallelism().unwrap().get())
            .map(|_| {
                let wait = wait.clone();
                Box::pin(hashes.compute(move || wait.lock().unwrap().recv().is_ok()))
            })
            .collect();
        let mut busy = futures_util::future::join_all(busy);
        assert!(futures_util::poll!(&mut busy).is_pending());
        for _ in 0..QUEUE / 2 {
            let mut given_up = Box::pin(hashes.compute(count()));
            assert!(futures_util::poll!(&mut given_up).is_pending());
        }
        drop(go);
        busy.await;
        hashes.compute(count()).await;
        assert_eq!(computed.load(Ordering::Relaxed), 1);
    }
}

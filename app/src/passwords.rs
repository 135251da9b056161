//! Slow hashes of passwords: Argon2id with OWASP's minimum (19 MiB, two passes).

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, available_parallelism};

use api::{FairQueue, Room, Shares};
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use async_trait::async_trait;
use commands::{HashedFor, Passwords, TooManyHashes};
use domain::{BusinessId, Password, UserId};
use tokio::sync::oneshot;

/// Logins that may wait for their hash: at an account as many as may be tried in a minute, and a few more from one address.
const LOGINS: Room = Room { member: 100, group: 128 };
/// Logins at one business that may wait, wherever they come from.
const LOGINS_AT_A_BUSINESS: usize = 256;
/// Hashes for users who have logged in that may wait: of a user as many as they may ask for in a minute.
const OF_USERS: Room = Room { member: 1000, group: 2000 };
const OF_THE_SYSTEM: Room = Room { member: usize::MAX, group: usize::MAX };

type Job = Box<dyn FnOnce() + Send>;

/// Those among whom processors are shared out: the network that logins come from, or the business of whoever has logged in.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Group {
    Strangers(Option<IpAddr>),
    Business(BusinessId),
    System,
}

/// Those among whom the share of a group is.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Member {
    Account(String),
    User(UserId),
    System,
}

/// Computes hashes on threads of its own, as many as there are processors: more at once would only take the memory and the time
/// of everything else, and threads that come and go would each keep the memory of their last hash.
pub(crate) struct SlowHashes {
    jobs: mpsc::Sender<Job>,
    turns: FairQueue<Group, Member>,
    /// Logins at each business that wait or are computed.
    at_businesses: Shares<BusinessId>,
    /// Hash that is verified if there is none, so that this takes as long.
    decoy: String,
}

impl SlowHashes {
    pub(crate) fn new() -> Self {
        let threads = available_parallelism().map_or(1, NonZeroUsize::get);
        // No more jobs are sent than there are turns.
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = queue.clone();
            thread::spawn(move || {
                while let Ok(job) = { queue.lock().unwrap_or_else(PoisonError::into_inner).recv() } {
                    job();
                }
            });
        }
        Self {
            jobs,
            turns: FairQueue::new(threads),
            at_businesses: Shares::new(LOGINS_AT_A_BUSINESS),
            decoy: hash("nobody has this password"),
        }
    }

    async fn compute<T: Send + 'static>(
        &self,
        whom: HashedFor,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TooManyHashes> {
        let counted = match &whom {
            HashedFor::Login { business: Some(business), .. } => {
                Some(self.at_businesses.take(business).ok_or(TooManyHashes)?)
            }
            HashedFor::Login { .. } | HashedFor::User(..) | HashedFor::System => None,
        };
        let (group, member, room) = match whom {
            HashedFor::Login { address, account, .. } => (Group::Strangers(address), Member::Account(account), LOGINS),
            HashedFor::User(business, user) => (Group::Business(business), Member::User(user), OF_USERS),
            HashedFor::System => (Group::System, Member::System, OF_THE_SYSTEM),
        };
        let turn = self.turns.turn(group, member, room).await.map_err(|_| TooManyHashes)?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Held by the job: whoever wanted the hash may go, and it is computed all the same.
            let _held = (turn, counted);
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        });
        self.jobs.send(job).expect("the threads live as long as we do");
        Ok(answer.await.expect("hashing doesn't panic"))
    }
}

#[async_trait]
impl Passwords for SlowHashes {
    async fn hash(&self, whom: HashedFor, password: Password) -> Result<String, TooManyHashes> {
        self.compute(whom, move || hash(password.as_str())).await
    }

    async fn verify(&self, whom: HashedFor, password: String, expected: Option<String>) -> Result<bool, TooManyHashes> {
        let exists = expected.is_some();
        let expected = expected.unwrap_or_else(|| self.decoy.clone());
        Ok(self.compute(whom, move || verify(&password, &expected)).await? && exists)
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;
    use uuid::Uuid;

    use super::*;

    fn login(address: u8, account: usize) -> HashedFor {
        let address = Some(IpAddr::from([192, 0, 2, address]));
        HashedFor::Login { address, business: None, account: account.to_string() }
    }

    fn business(n: u128) -> BusinessId {
        BusinessId(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn only_the_right_password_of_somebody_who_exists_is_right() {
        let hashes = SlowHashes::new();
        let verify = async |password: &str, hash: Option<&str>| {
            hashes.verify(login(1, 1), password.to_owned(), hash.map(str::to_owned)).await.unwrap()
        };
        let hash = hashes.hash(HashedFor::System, Password::parse("correct horse").unwrap()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct horse", Some(&hash)).await);
        assert!(!verify("battery staple", Some(&hash)).await);
        assert!(!verify("nobody has this password", None).await);
        assert!(!verify("correct horse", Some("not a hash")).await);
    }

    /// Hashes whose threads are all busy until the returned sender is dropped.
    async fn busy(hashes: &Arc<SlowHashes>) -> mpsc::Sender<()> {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        for n in 0..available_parallelism().unwrap().get() {
            let (hashes, wait) = (hashes.clone(), wait.clone());
            let job = move || wait.lock().unwrap().recv().is_ok();
            tokio::spawn(async move {
                hashes.compute(HashedFor::User(business(99), UserId(Uuid::from_u128(n as u128))), job).await
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        go
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_computed() {
        let hashes = Arc::new(SlowHashes::new());
        let computed = Arc::new(AtomicUsize::new(0));
        let count = || {
            let computed = computed.clone();
            move || computed.fetch_add(1, Ordering::Relaxed)
        };
        let go = busy(&hashes).await;
        for _ in 0..32 {
            let mut given_up = Box::pin(hashes.compute(login(1, 1), count()));
            assert!(futures_util::poll!(&mut given_up).is_pending());
        }
        drop(go);
        hashes.compute(login(1, 1), count()).await.unwrap();
        assert_eq!(computed.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_flood_from_one_address_or_of_one_business_delays_no_other() {
        let hashes = Arc::new(SlowHashes::new());
        let order = Arc::new(Mutex::new(vec![]));
        let go = busy(&hashes).await;
        let note = |who: &'static str| {
            let order = order.clone();
            move || order.lock().unwrap().push(who)
        };
        let flood = (0..200).map(|n| hashes.compute(login(1, n), note("flood")));
        let resets = (0..200).map(|_| hashes.compute(HashedFor::User(business(1), UserId(Uuid::nil())), note("reset")));
        let mut flood = Box::pin(join_all(flood));
        let mut resets = Box::pin(join_all(resets));
        assert!(futures_util::poll!(&mut flood).is_pending() && futures_util::poll!(&mut resets).is_pending());
        let neighbour = hashes.compute(login(1, 1000), note("neighbour"));
        assert_eq!(neighbour.await, Err(TooManyHashes), "an address has so much room");
        let mut other = Box::pin(hashes.compute(login(2, 1), note("other")));
        assert!(futures_util::poll!(&mut other).is_pending());
        drop(go);
        let (flood, resets, other) = tokio::join!(flood, resets, other);
        assert_eq!(flood.iter().filter(|hash| hash.is_ok()).count(), LOGINS.group);
        assert!(resets.iter().all(Result::is_ok) && other.is_ok());
        let place = order.lock().unwrap().iter().position(|who| *who == "other").unwrap();
        assert!(place < 8 + 2 * available_parallelism().unwrap().get(), "{place} were before");
    }

    #[tokio::test]
    async fn logins_at_one_business_are_bounded_wherever_they_come_from() {
        let hashes = Arc::new(SlowHashes::new());
        let go = busy(&hashes).await;
        let at = |address: u8, business| HashedFor::Login {
            address: Some(IpAddr::from([192, 0, 2, address])),
            business: Some(business),
            account: address.to_string(),
        };
        let mut waiting: Vec<_> = (0..=255).map(|n| Box::pin(hashes.compute(at(n, business(1)), || ()))).collect();
        for waiting in &mut waiting {
            assert!(futures_util::poll!(waiting).is_pending());
        }
        assert_eq!(hashes.compute(at(1, business(1)), || ()).await, Err(TooManyHashes));
        let mut elsewhere = Box::pin(hashes.compute(at(1, business(2)), || ()));
        assert!(futures_util::poll!(&mut elsewhere).is_pending());
        drop(waiting);
        drop(go);
        elsewhere.await.unwrap();
    }
}

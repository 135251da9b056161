//! Use cases over a log in memory, where the clock and the look-ups do what a test says.

mod calls;
mod files;
mod people;
mod stored;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::login::{Login, LoginCommand};
use domain::session::Audience;
use domain::{
    BusinessId, CallId, DisplayName, EmailAddress, FileId, MessageId, Password, Role, SessionId, Timestamp, UserId,
};
use event_store::memory::MemoryStore;
use event_store::{EventStore, Position, RecordedEvent};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::caller::by_the_system;
use crate::{
    ActiveCall, Caller, Clock, Commands, Dependencies, Error, FirstSuperAdmin, HashedFor, Ids, KeyedHash, LookupError,
    Lookups, NewUser, Passwords, Request, TooManyHashes, UnfinishedLogin,
};

#[derive(Default)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed))
    }
}

struct Counter(AtomicU64);

impl Ids for Counter {
    fn next(&self) -> Uuid {
        Uuid::from_u128(self.0.fetch_add(1, Ordering::Relaxed).into())
    }
}

struct PlainPasswords;

#[async_trait]
impl Passwords for PlainPasswords {
    async fn hash(&self, _: HashedFor, password: Password) -> Result<String, TooManyHashes> {
        Ok(password.into_string())
    }

    async fn verify(&self, _: HashedFor, password: String, hash: Option<String>) -> Result<bool, TooManyHashes> {
        Ok(Some(password) == hash)
    }
}

#[derive(Default)]
struct TestLookups {
    unfinished: Mutex<Vec<UnfinishedLogin>>,
    rung_out: Mutex<Vec<CallId>>,
    active: Mutex<Vec<ActiveCall>>,
    super_admins: Mutex<Vec<UserId>>,
    idle_files: Mutex<Vec<FileId>>,
    stale_carriers: Mutex<Vec<(FileId, MessageId)>>,
}

#[async_trait]
impl Lookups for TestLookups {
    async fn admin_accounts(&self, _: &EmailAddress, _: u32, _: Position) -> Result<Vec<UserId>, LookupError> {
        Ok(vec![])
    }

    async fn unfinished_logins(&self, _: Timestamp, _: u32) -> Result<Vec<UnfinishedLogin>, LookupError> {
        Ok(self.unfinished.lock().unwrap().clone())
    }

    async fn calls_rung_out(&self, _: Timestamp, _: u32) -> Result<Vec<CallId>, LookupError> {
        Ok(self.rung_out.lock().unwrap().clone())
    }

    async fn super_admins(&self, _: u32, _: Position) -> Result<Vec<UserId>, LookupError> {
        Ok(self.super_admins.lock().unwrap().clone())
    }

    async fn idle_files(&self, _: Timestamp, _: u32) -> Result<Vec<FileId>, LookupError> {
        Ok(self.idle_files.lock().unwrap().clone())
    }

    async fn stale_carriers(&self, _: Timestamp, _: u32) -> Result<Vec<(FileId, MessageId)>, LookupError> {
        Ok(self.stale_carriers.lock().unwrap().clone())
    }

    async fn active_calls(&self) -> Result<Vec<ActiveCall>, LookupError> {
        Ok(self.active.lock().unwrap().clone())
    }
}

struct Node {
    commands: Commands,
    clock: Arc<TestClock>,
    lookups: Arc<TestLookups>,
    store: MemoryStore,
}

/// A node on a log. It doesn't follow the log: what it remembers gets as old as can be.
fn node(store: &MemoryStore, first_id: u64) -> Node {
    let (clock, lookups) = (Arc::new(TestClock::default()), Arc::new(TestLookups::default()));
    let commands = Commands::new(Dependencies {
        store: Arc::new(store.clone()),
        lookups: lookups.clone(),
        passwords: Arc::new(PlainPasswords),
        clock: clock.clone(),
        ids: Arc::new(Counter(AtomicU64::new(first_id))),
        keyed_hash: KeyedHash::new(&[1; 32]),
        ring_timeout_ms: 45_000,
        edit_window_ms: 60_000,
        temporary_passwords_must_change: false,
        audit_queries_per_minute: 0,
    });
    Node { commands, clock, lookups, store: store.clone() }
}

#[expect(clippy::disallowed_methods, reason = "the memory store wants a clock, and no test looks at it")]
fn log() -> MemoryStore {
    MemoryStore::new(OffsetDateTime::now_utc)
}

fn by(user_id: UserId, role: Role, business_id: BusinessId) -> Request {
    let caller = Caller { user_id, business_id, role, session_id: SessionId(Uuid::nil()), audience: Audience::Admin };
    Request { caller, correlation_id: Uuid::nil() }
}

fn super_admin() -> Request {
    by(UserId(Uuid::nil()), Role::SystemSuperAdmin, BusinessId::SYSTEM)
}

fn first_admin() -> FirstSuperAdmin {
    FirstSuperAdmin {
        email: EmailAddress::parse("root@example.com").unwrap(),
        password: Password::parse("correct horse").unwrap(),
    }
}

fn new_user(business_id: BusinessId) -> NewUser {
    NewUser {
        business_id,
        email: EmailAddress::parse("ann@example.com").unwrap(),
        name: DisplayName::parse("Ann").unwrap(),
        avatar: None,
        role: Role::BusinessUser,
        password: Password::parse("correct horse").unwrap(),
    }
}

impl Node {
    async fn business(&self) -> BusinessId {
        let acme = self.commands.register_business(&super_admin(), DisplayName::parse("Acme").unwrap()).await.unwrap();
        acme.value.registered().unwrap().id
    }

    /// As if the node had died between reserving the login and creating the account.
    async fn reserve(&self, business: BusinessId, email: &str, user_id: UserId) -> String {
        let email = EmailAddress::parse(email).unwrap();
        let login_id = self.commands.keyed_hash.login_id(business, &email);
        let reserve = LoginCommand::Reserve { business_id: business, user_id, at: self.commands.clock.now() };
        let metadata = by_the_system(business, Uuid::nil());
        self.commands.repository.execute::<Login>(&login_id, reserve, &metadata).await.unwrap();
        login_id
    }

    fn wait(&self, s: i64) {
        self.clock.0.fetch_add(s * 1000, Ordering::Relaxed);
    }

    async fn events(&self) -> Vec<RecordedEvent> {
        self.store.read_all(0, 1000).await.unwrap()
    }

    async fn types(&self) -> Vec<String> {
        self.events().await.iter().map(|event| event.event_type.to_string()).collect()
    }
}

#[tokio::test]
async fn a_login_reserved_for_nobody_is_released_after_a_minute_and_its_account_never_created() {
    let node = node(&log(), 1);
    let acme = node.business().await;
    let slow = UserId(Uuid::from_u128(99));
    let login_id = node.reserve(acme, "ann@example.com", slow).await;
    let create = async || node.commands.create_user(&super_admin(), new_user(acme)).await;
    assert!(matches!(create().await, Err(Error::Conflict(_))), "its account may still come");
    node.wait(61);
    node.lookups.unfinished.lock().unwrap().push(UnfinishedLogin { login_id, user_id: slow });
    assert_eq!(node.commands.release_unfinished_logins().await.unwrap(), 1);
    create().await.unwrap();
    let metadata = by_the_system(acme, Uuid::nil());
    let late = node.commands.create_user_as(slow, new_user(acme), HashedFor::System, &metadata).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
}

#[tokio::test]
async fn a_login_whose_account_exists_is_never_released_however_late_the_lookup_is() {
    let node = node(&log(), 1);
    let acme = node.business().await;
    let ann = node.commands.create_user(&super_admin(), new_user(acme)).await.unwrap().value;
    let login_id = node.commands.keyed_hash.login_id(acme, &EmailAddress::parse("ann@example.com").unwrap());
    node.wait(3600);
    node.lookups.unfinished.lock().unwrap().push(UnfinishedLogin { login_id, user_id: ann.id });
    let before = node.types().await;
    node.commands.release_unfinished_logins().await.unwrap();
    assert_eq!(node.types().await, before);
}

#[tokio::test]
async fn the_first_super_admin_is_made_once_whoever_tries() {
    let log = log();
    let (one, other) = (node(&log, 1), node(&log, 1000));
    assert!(!one.commands.has_first_super_admin().await.unwrap());
    assert!(one.commands.ensure_first_super_admin(first_admin()).await.unwrap());
    for node in [&one, &other] {
        assert!(!node.commands.ensure_first_super_admin(first_admin()).await.unwrap());
        assert!(node.commands.has_first_super_admin().await.unwrap());
    }
}

#[tokio::test]
async fn a_first_super_admin_that_was_given_up_half_way_is_made_all_the_same() {
    let node = node(&log(), 1);
    let first = UserId(Uuid::new_v5(&BusinessId::SYSTEM.0, b"first super admin"));
    let login_id = node.reserve(BusinessId::SYSTEM, "root@example.com", first).await;
    node.wait(61);
    // The sweep is faster than the restart.
    node.lookups.unfinished.lock().unwrap().push(UnfinishedLogin { login_id, user_id: first });
    node.commands.release_unfinished_logins().await.unwrap();
    assert!(node.commands.ensure_first_super_admin(first_admin()).await.unwrap());
    assert!(node.commands.has_first_super_admin().await.unwrap());
    assert!(!node.commands.ensure_first_super_admin(first_admin()).await.unwrap());
}

#[tokio::test]
async fn what_another_node_has_changed_is_seen_before_nothing_is_done() {
    let log = log();
    let (one, other) = (node(&log, 1), node(&log, 1000));
    let acme = one.business().await;
    let ann = one.commands.create_user(&super_admin(), new_user(acme)).await.unwrap().value.id;
    // Both remember her.
    for node in [&one, &other] {
        assert!(node.commands.account(ann).await.unwrap().is_some());
    }
    one.commands.suspend_user(&super_admin(), ann).await.unwrap();
    other.commands.reactivate_user(&super_admin(), ann).await.unwrap();
    let suspended = one.commands.suspend_user(&super_admin(), ann).await.unwrap();
    assert!(suspended.value.active().is_none());
    let changes: Vec<String> = one.types().await.into_iter().skip(3).collect();
    assert_eq!(changes, ["UserSuspended", "UserReactivated", "UserSuspended"]);
}

#[tokio::test]
async fn everything_says_who_caused_it_in_which_request_and_after_what() {
    let node = node(&log(), 1);
    let acme = node.business().await;
    let correlation_id = Uuid::from_u128(77);
    let request = Request { correlation_id, ..super_admin() };
    node.commands.create_user(&request, new_user(acme)).await.unwrap();
    let events = node.events().await;
    let [_, reserved, created] = &events[..] else { panic!("three events expected: {events:?}") };
    for event in [reserved, created] {
        assert_eq!(event.metadata.correlation_id, correlation_id);
        assert_eq!(event.metadata.business_id, acme.0);
        assert_eq!(event.metadata.actor.role.as_deref(), Some("SYSTEM_SUPER_ADMIN"));
    }
    assert_eq!(created.metadata.causation_id, Some(reserved.event_id));
}

//! The client, which is made anew whenever it is of no use any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventstore::{AppendToStreamOptions, Client, ReadAllOptions, ReadStreamOptions, SubscribeToAllOptions};
use tokio::time::{Instant, sleep, sleep_until};

use super::address::Address;
use super::failure::{Damage, Failure};
use crate::StoreError;

/// Time for which an operation is retried before it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A connection that is lost comes back by itself, unless the node it led to is gone: then another one has to be found, which the
/// client does only when it is new.
const TIME_TO_HEAL: Duration = Duration::from_millis(500);
/// Pauses between new clients double up to this.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// Deadline of an append.
pub(super) const APPEND_TIME: Duration = Duration::from_secs(4);
/// How long the server may take for each event that is read. Long, since it says nothing while it looks through events of its own:
/// a connection that is dead is found out earlier, by pings.
pub(super) const READ_TIME: Duration = Duration::from_secs(30);

/// The way to a server, shared by all who use it.
pub(super) struct Connection {
    address: Arc<Address>,
    state: Mutex<State>,
}

struct State {
    /// Number of this client. Of all tasks that find it dead, only the first replaces it.
    generation: u64,
    /// None when it is dead.
    client: Option<Client>,
    /// Earliest time of the next replacement.
    rested_at: Instant,
    /// Clients that have died in a row.
    deaths: u32,
    /// Since when nothing has worked.
    failing_since: Option<Instant>,
}

/// A client, and how it is used.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) client: Client,
    generation: u64,
    address: Arc<Address>,
}

/// Gives options the credentials, and sends them to the leader: a follower may not know yet what was acknowledged a moment ago.
macro_rules! options {
    ($session:expr, $options:ty) => {{
        let options = <$options>::default().requires_leader(true);
        match &$session.address.credentials {
            Some(credentials) => options.authenticated(credentials.clone()),
            None => options,
        }
    }};
}

impl Session {
    pub(super) fn append_options(&self) -> AppendToStreamOptions {
        options!(self, AppendToStreamOptions).deadline(APPEND_TIME)
    }

    pub(super) fn read_stream_options(&self) -> ReadStreamOptions {
        options!(self, ReadStreamOptions)
    }

    pub(super) fn read_all_options(&self) -> ReadAllOptions {
        options!(self, ReadAllOptions)
    }

    pub(super) fn subscribe_options(&self) -> SubscribeToAllOptions {
        options!(self, SubscribeToAllOptions)
    }
}

impl Connection {
    pub(super) fn new(address: Address) -> Self {
        let state = State { generation: 0, client: None, rested_at: Instant::now(), deaths: 0, failing_since: None };
        Self { address: address.into(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that happens under the lock leaves it half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client of the moment, or the next one as soon as it may be made. It connects when it is used.
    pub(super) async fn session(&self) -> Result<Session, Failure> {
        loop {
            let rested_at = {
                let mut state = self.state();
                if state.client.is_none() && state.rested_at <= Instant::now() {
                    // Under the lock, so that there is one: it takes some milliseconds, and nobody could do anything meanwhile.
                    let client = Client::new(self.address.settings.clone());
                    state.client = Some(client.map_err(|error| Failure::Client(error.to_string()))?);
                    state.generation += 1;
                }
                if let Some(client) = &state.client {
                    let (client, generation) = (client.clone(), state.generation);
                    return Ok(Session { client, generation, address: self.address.clone() });
                }
                state.rested_at
            };
            sleep_until(rested_at).await;
        }
    }

    /// The server has answered.
    pub(super) fn works(&self, session: &Session) {
        let mut state = self.state();
        if state.generation == session.generation {
            state.deaths = 0;
            state.failing_since = None;
        }
    }

    /// Something went wrong with a client; if that was the end of it, the next one is another.
    pub(super) fn failed(&self, session: &Session, failure: &Failure) {
        let damage = failure.damage();
        let mut state = self.state();
        if state.generation != session.generation || state.client.is_none() || damage == Damage::None {
            return;
        }
        let now = Instant::now();
        let failing_since = *state.failing_since.get_or_insert(now);
        if damage == Damage::Connection && now - failing_since < TIME_TO_HEAL {
            return;
        }
        state.client = None;
        state.failing_since = None;
        state.rested_at = now + (FIRST_PAUSE * 2_u32.saturating_pow(state.deaths)).min(LONGEST_REST);
        state.deaths = (state.deaths + 1).min(16);
        metrics::counter!("switchboard_log_clients_replaced_total").increment(1);
        tracing::info!(generation = state.generation, cause = %failure, "replacing the KurrentDB client");
    }

    /// Does something that may be done twice, and again for a while when it fails for a reason that passes; once more in any case, since
    /// one attempt that nobody ever answers can use all the patience up.
    pub(super) async fn retrying<T, F>(
        &self,
        patience: Duration,
        attempted: &'static str,
        call: impl Fn(Session) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let deadline = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        let mut is_first = true;
        loop {
            let session = self.session().await.map_err(|failure| StoreError::new(attempted, failure))?;
            let failure = match call(session.clone()).await {
                Ok(done) => {
                    self.works(&session);
                    return Ok(done);
                }
                Err(failure) => failure,
            };
            self.failed(&session, &failure);
            if !failure.passes() || (!is_first && Instant::now() + pause > deadline) {
                return Err(StoreError::new(attempted, failure));
            }
            is_first = false;
            tracing::debug!(attempted, cause = %failure, "KurrentDB request failed; retrying");
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Returns the client's answer, or fails after a deadline: the client sends deadlines and does not enforce them.
pub(super) async fn within<T>(
    time: Duration,
    answer: impl Future<Output = eventstore::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(time, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::TimedOut),
    }
}

//! Presence: a user is online while a connection to any node exists, and for a grace period after, so that a reconnect is not seen
//! as an absence.
//!
//! Each node keeps the whole picture in memory. What it adds itself it writes down and tells the others; a node that hasn't said
//! for [`LEASE`] that it is alive is dead, and its people with it.

mod change;
mod picture;
mod table;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{BusinessId, UserId};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

pub use self::change::PresenceChange;
use self::picture::Picture;
use self::table::Table;
use crate::bus::Listener;
use crate::{Bus, ClusterError, NodeId, Notice};

/// Interval of a node's heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Time after its last heartbeat for which a node counts as alive.
pub const LEASE: Duration = Duration::from_secs(8);
/// Every so many looks everything is looked up, in case something was missed.
const DOUBT: u32 = 15;
/// Maximum users in one message to other nodes.
const MESSAGE_PEOPLE: usize = 500;

/// Online users, as known to this node.
#[derive(Clone)]
pub struct Presence {
    pool: PgPool,
    node: NodeId,
    grace: Duration,
    state: Arc<Mutex<State>>,
    /// There is something to write down and to tell.
    news: Arc<Notify>,
}

#[derive(Default)]
struct State {
    picture: Picture,
    /// Those with devices at this node, or who had until a moment ago.
    here: HashMap<UserId, Here>,
    /// Those whose last device here has left, in the order in which they will have been away for long enough.
    leaving: VecDeque<(Instant, UserId)>,
    /// Users who came to this node and have not been announced yet.
    came: Vec<(UserId, BusinessId)>,
    went: Vec<UserId>,
    changes: Vec<PresenceChange>,
}

struct Here {
    business_id: BusinessId,
    devices: usize,
    left_at: Option<Instant>,
}

/// Messages between nodes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "presence")]
enum Telling {
    Came { node: Uuid, people: Vec<(UserId, BusinessId)> },
    Went { node: Uuid, people: Vec<UserId> },
}

impl Presence {
    /// Creates an empty presence. A user stays online for `grace` after their last connection has ended.
    #[must_use]
    pub fn new(pool: PgPool, node: NodeId, grace: Duration) -> Self {
        Self { pool, node, grace, state: Arc::default(), news: Arc::default() }
    }

    /// A device of a person has connected to this node.
    pub fn connected(&self, user_id: UserId, business_id: BusinessId) {
        let mut state = self.state();
        let state = &mut *state;
        let here = state.here.entry(user_id).or_insert_with(|| {
            state.came.push((user_id, business_id));
            state.changes.extend(state.picture.add(self.node, user_id, business_id));
            self.news.notify_one();
            Here { business_id, devices: 0, left_at: None }
        });
        here.devices += 1;
        here.left_at = None;
    }

    /// A device of a person has left this node.
    pub fn disconnected(&self, user_id: UserId) {
        let mut state = self.state();
        let Some(here) = state.here.get_mut(&user_id) else { return };
        here.devices = here.devices.saturating_sub(1);
        if here.devices == 0 {
            let now = Instant::now();
            here.left_at = Some(now);
            state.leaving.push_back((now, user_id));
            self.news.notify_one();
        }
    }

    /// Returns true if a user is online.
    #[must_use]
    pub fn is_online(&self, user: UserId) -> bool {
        self.state().picture.is_online(user)
    }

    /// Everybody of a business who is online.
    #[must_use]
    pub fn online(&self, business: BusinessId) -> Vec<UserId> {
        self.state().picture.online(business)
    }

    /// Keeps the picture current, and says what changes in it. Never returns.
    pub async fn run(&self, bus: Bus, tell: impl Fn(PresenceChange)) {
        let mut keeper = Keeper {
            known: HashSet::new(),
            suspects: HashSet::new(),
            beats: 0,
            presence: self,
            table: Table::new(self.pool.clone(), self.node),
            listener: bus.listen(),
            bus,
            tell,
        };
        keeper.run().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lets go of those who have been away for long enough. When to look again, if there is anybody else.
    fn let_go(&mut self, node: NodeId, grace: Duration) -> Option<Instant> {
        let now = Instant::now();
        while let Some((left_at, user_id)) = self.leaving.front().copied() {
            if left_at + grace > now {
                return Some(left_at + grace);
            }
            self.leaving.pop_front();
            // They may have been back since, and may have left again.
            if self.here.get(&user_id).is_some_and(|here| here.left_at == Some(left_at)) {
                self.here.remove(&user_id);
                // Nobody needs to hear of somebody who came and went before they were told.
                match self.came.iter().position(|(came, _)| *came == user_id) {
                    Some(at) => drop(self.came.swap_remove(at)),
                    None => self.went.push(user_id),
                }
                self.changes.extend(self.picture.remove(node, user_id));
            }
        }
        None
    }
}

/// Keeps the picture of one node current.
struct Keeper<'a, F> {
    /// Nodes whose people have been looked up.
    known: HashSet<NodeId>,
    /// Nodes that didn't count as alive at the last look. One look isn't enough to take all its people offline: a database that
    /// has crashed has forgotten them all, until they say that they are alive.
    suspects: HashSet<NodeId>,
    /// Looks so far.
    beats: u32,
    presence: &'a Presence,
    table: Table,
    bus: Bus,
    listener: Listener,
    tell: F,
}

impl<F: Fn(PresenceChange)> Keeper<'_, F> {
    async fn run(&mut self) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What is written down may not be what is so.
        let mut is_unsure = true;
        loop {
            let wake = self.presence.state().let_go(self.presence.node, self.presence.grace);
            if let Err(error) = self.spread_news().await {
                tracing::warn!(error = %error, cause = %error.source, "writing presence failed; retrying");
                is_unsure = true;
            }
            let outcome = tokio::select! {
                _ = heartbeat.tick() => self.beat(&mut is_unsure).await,
                () = self.presence.news.notified() => Ok(()),
                () = sleep_until(wake) => Ok(()),
                notice = self.listener.next() => {
                    match notice {
                        Notice::Message(message) => self.hear(&message),
                        Notice::Interrupted => is_unsure = true,
                    }
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                tracing::warn!(error = %error, cause = %error.source, "reading presence failed; retrying");
                is_unsure = true;
            }
        }
    }

    /// Says that this node is alive, and looks which others are.
    async fn beat(&mut self, is_unsure: &mut bool) -> Result<(), ClusterError> {
        self.beats = self.beats.wrapping_add(1);
        *is_unsure |= self.beats.is_multiple_of(DOUBT);
        if *is_unsure {
            self.rewrite().await?;
        }
        if self.table.say_alive().await? && !*is_unsure {
            self.rewrite().await?;
        }
        self.table.bury_the_dead(LEASE).await?;
        let alive = self.table.alive(LEASE).await?;
        let alive_or_suspect = |node: NodeId| alive.contains(&node) || !self.suspects.contains(&node);
        let unknown: Vec<NodeId> = {
            let mut state = self.presence.state();
            let State { picture, changes, .. } = &mut *state;
            changes.extend(picture.retain(|node| node == self.presence.node || alive_or_suspect(node)));
            let is_news = |node: &NodeId| *node != self.presence.node && (*is_unsure || !self.known.contains(node));
            alive.iter().copied().filter(is_news).collect()
        };
        if !unknown.is_empty() {
            let people = self.table.people_of(&unknown).await?;
            let mut state = self.presence.state();
            let State { picture, changes, .. } = &mut *state;
            changes.extend(picture.replace(&unknown, people));
        }
        self.suspects = self.presence.state().picture.nodes().filter(|node| !alive.contains(node)).collect();
        self.known = alive.into_iter().collect();
        *is_unsure = false;
        Ok(())
    }

    async fn rewrite(&self) -> Result<(), ClusterError> {
        let people: Vec<(UserId, BusinessId)> =
            self.presence.state().here.iter().map(|(user, here)| (*user, here.business_id)).collect();
        self.table.rewrite(&people).await
    }

    fn hear(&mut self, message: &str) {
        let Ok(telling) = serde_json::from_str(message) else { return };
        let mut state = self.presence.state();
        let State { picture, changes, .. } = &mut *state;
        match telling {
            Telling::Came { node, people } => {
                for (user, business) in people {
                    changes.extend(picture.add(NodeId(node), user, business));
                }
            }
            Telling::Went { node, people } => {
                for user in people {
                    changes.extend(picture.remove(NodeId(node), user));
                }
            }
        }
    }

    /// Writes down and tells other nodes who came and went here, and tells this one what changed anywhere.
    async fn spread_news(&mut self) -> Result<(), ClusterError> {
        let (came, went, changes) = {
            let mut state = self.presence.state();
            (std::mem::take(&mut state.came), std::mem::take(&mut state.went), std::mem::take(&mut state.changes))
        };
        changes.into_iter().for_each(&self.tell);
        // Written down first: whoever is told, and looks it up, finds it so.
        let written = self.write_down(&came, &went).await;
        let node = self.presence.node.0;
        for people in went.chunks(MESSAGE_PEOPLE) {
            self.publish(&Telling::Went { node, people: people.to_vec() });
        }
        for people in came.chunks(MESSAGE_PEOPLE) {
            self.publish(&Telling::Came { node, people: people.to_vec() });
        }
        written
    }

    async fn write_down(&self, came: &[(UserId, BusinessId)], went: &[UserId]) -> Result<(), ClusterError> {
        if !went.is_empty() {
            self.table.remove(went).await?;
        }
        if !came.is_empty() {
            self.table.add(came).await?;
        }
        Ok(())
    }

    fn publish(&self, telling: &Telling) {
        self.bus.publish(serde_json::to_string(telling).unwrap_or_default());
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

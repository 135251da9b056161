//! A queue for what only so many may do at the same time, in which nobody waits for the many who belong together.
//!
//! Those who wait are members of groups. Groups take turns, and within a group its members do; a member gets one turn at a time. So a
//! member who wants a thousand turns delays another one of the same group by one turn, and another group by one turn too.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Maximum waiting requests.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// For each member.
    pub member: usize,
    /// For all members of a group together.
    pub group: usize,
}

/// As many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many wait already")]
pub struct Crowded;

/// Hands out turns.
pub struct FairQueue<G: Name, M: Name>(Arc<Mutex<State<G, M>>>);

/// Names of groups and members.
pub trait Name: Clone + Eq + Hash + Send + 'static {}

impl<T: Clone + Eq + Hash + Send + 'static> Name for T {}

/// Hands a turn to whoever waits for it.
type Sender<G, M> = oneshot::Sender<FairTurn<G, M>>;

/// A member of a group.
type Whose<G, M> = (G, M);

/// A member, and those of its turns that it waits for.
type Member<G, M> = (M, VecDeque<Sender<G, M>>);

struct State<G: Name, M: Name> {
    free: usize,
    /// Groups with members who wait; the first one's turn is next.
    groups: VecDeque<Group<G, M>>,
    /// Members who have a turn.
    busy: HashSet<(G, M)>,
}

struct Group<G: Name, M: Name> {
    name: G,
    /// The first one's turn is next.
    members: VecDeque<Member<G, M>>,
}

/// A turn, until it is dropped.
pub struct FairTurn<G: Name, M: Name> {
    queue: Arc<Mutex<State<G, M>>>,
    whose: (G, M),
}

impl<G: Name, M: Name> FairQueue<G, M> {
    /// Hands out so many turns at the same time.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        let state = State { free: at_once, groups: VecDeque::new(), busy: HashSet::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Waits for a turn. Whoever stops waiting loses nothing and delays nobody.
    ///
    /// # Errors
    /// If there is no room to wait.
    pub async fn turn(&self, group: G, member: M, room: Room) -> Result<FairTurn<G, M>, Crowded> {
        let turn = {
            let mut state = lock(&self.0);
            let (sender, turn) = oneshot::channel();
            state.enqueue(group, member, room, sender)?;
            turn
        };
        hand_out(&self.0);
        turn.await.map_err(|_| Crowded)
    }
}

impl<G: Name, M: Name> State<G, M> {
    fn enqueue(&mut self, group: G, member: M, room: Room, sender: Sender<G, M>) -> Result<(), Crowded> {
        let place = self.groups.iter().position(|other| other.name == group).unwrap_or_else(|| {
            self.groups.push_back(Group { name: group, members: VecDeque::new() });
            self.groups.len() - 1
        });
        let group = &mut self.groups[place];
        // Whoever has stopped waiting takes no room.
        for (_, waiting) in &mut group.members {
            waiting.retain(|sender| !sender.is_closed());
        }
        group.members.retain(|(_, waiting)| !waiting.is_empty());
        let in_group: usize = group.members.iter().map(|(_, waiting)| waiting.len()).sum();
        let known = group.members.iter().position(|(other, _)| *other == member);
        let own = known.map_or(0, |place| group.members[place].1.len());
        if own >= room.member || in_group >= room.group {
            if group.members.is_empty() {
                self.groups.remove(place);
            }
            return Err(Crowded);
        }
        match known {
            Some(place) => group.members[place].1.push_back(sender),
            None => group.members.push_back((member, VecDeque::from([sender]))),
        }
        Ok(())
    }

    /// The next one whose turn it is, if a turn is free and somebody waits who has none.
    fn next(&mut self) -> Option<(Whose<G, M>, Sender<G, M>)> {
        if self.free == 0 {
            return None;
        }
        for _ in 0..self.groups.len() {
            let mut group = self.groups.pop_front()?;
            let next = group.next(&self.busy);
            let name = group.name.clone();
            if !group.members.is_empty() {
                self.groups.push_back(group);
            }
            if let Some((member, sender)) = next {
                self.free -= 1;
                self.busy.insert((name.clone(), member.clone()));
                return Some(((name, member), sender));
            }
        }
        None
    }
}

impl<G: Name, M: Name> Group<G, M> {
    fn next(&mut self, busy: &HashSet<(G, M)>) -> Option<(M, Sender<G, M>)> {
        for _ in 0..self.members.len() {
            let (member, mut waiting) = self.members.pop_front()?;
            waiting.retain(|sender| !sender.is_closed());
            let is_busy = busy.contains(&(self.name.clone(), member.clone()));
            let sender = if is_busy { None } else { waiting.pop_front() };
            if !waiting.is_empty() {
                self.members.push_back((member.clone(), waiting));
            }
            if let Some(sender) = sender {
                return Some((member, sender));
            }
        }
        None
    }
}

impl<G: Name, M: Name> Drop for FairTurn<G, M> {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.queue);
            state.free += 1;
            state.busy.remove(&self.whose);
        }
        hand_out(&self.queue);
    }
}

/// Hands out the turns that are free. A turn whose receiver has gone at this very moment is dropped, and handed out again.
fn hand_out<G: Name, M: Name>(queue: &Arc<Mutex<State<G, M>>>) {
    loop {
        let Some((whose, sender)) = lock(queue).next() else { return };
        drop(sender.send(FairTurn { queue: queue.clone(), whose }));
    }
}

fn lock<G: Name, M: Name>(queue: &Mutex<State<G, M>>) -> MutexGuard<'_, State<G, M>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    const ROOM: Room = Room { member: 10, group: 15 };

    type Waiting<'a> = BoxFuture<'a, Result<FairTurn<char, u8>, Crowded>>;

    fn wait(queue: &FairQueue<char, u8>, group: char, member: u8) -> Waiting<'_> {
        let mut waiting = queue.turn(group, member, ROOM).boxed();
        // It takes its place.
        if let Some(turn) = (&mut waiting).now_or_never() {
            return std::future::ready(turn).boxed();
        }
        waiting
    }

    /// In which order those who wait get their turns, when each gives it back at once.
    fn order(mut waiting: Vec<(char, u8, Waiting<'_>)>) -> String {
        let mut order = vec![];
        while !waiting.is_empty() {
            let ready = waiting.iter_mut().position(|(_, _, waiting)| {
                let turn = waiting.now_or_never();
                assert!(!matches!(turn, Some(Err(_))));
                turn.is_some()
            });
            let (group, member, _) = waiting.remove(ready.expect("somebody's turn"));
            order.push(format!("{group}{member}"));
        }
        order.join(" ")
    }

    #[tokio::test]
    async fn groups_take_turns_and_so_do_their_members() {
        let queue = FairQueue::new(1);
        let first = wait(&queue, 'z', 0).await.unwrap();
        let mut waiting = vec![];
        for (group, member) in [('a', 1), ('a', 1), ('a', 1), ('a', 2), ('b', 1), ('b', 1), ('c', 1)] {
            waiting.push((group, member, wait(&queue, group, member)));
        }
        drop(first);
        assert_eq!(order(waiting), "a1 b1 c1 a2 b1 a1 a1");
    }

    #[tokio::test]
    async fn a_member_has_one_turn_at_a_time() {
        let queue = FairQueue::new(2);
        let first = wait(&queue, 'a', 1).await.unwrap();
        let mut second = wait(&queue, 'a', 1);
        assert!((&mut second).now_or_never().is_none(), "although another turn is free");
        let other = wait(&queue, 'a', 2).await.unwrap();
        drop(first);
        drop(second.await.unwrap());
        drop(other);
        assert!(lock(&queue.0).busy.is_empty() && lock(&queue.0).groups.is_empty());
        assert_eq!(lock(&queue.0).free, 2);
    }

    #[tokio::test]
    async fn only_so_many_wait_and_who_has_gone_takes_no_room() {
        let queue = FairQueue::new(1);
        let turn = wait(&queue, 'z', 0).await.unwrap();
        let mut held: Vec<_> = (0..ROOM.member).map(|_| wait(&queue, 'a', 1)).collect();
        assert!(wait(&queue, 'a', 1).await.is_err());
        held.extend((0..ROOM.group - ROOM.member).map(|_| wait(&queue, 'a', 2)));
        assert!(wait(&queue, 'a', 3).await.is_err());
        held.clear();
        let next = wait(&queue, 'a', 3);
        drop(turn);
        next.await.unwrap();
        assert_eq!(lock(&queue.0).free, 1);
    }
}

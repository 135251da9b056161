//! Users and the nodes that they are connected to.

use std::collections::{HashMap, HashSet};

use domain::{BusinessId, UserId};

use super::change::PresenceChange;
use crate::NodeId;

/// Everybody who is online anywhere.
#[derive(Default)]
pub(super) struct Picture {
    people: HashMap<UserId, Person>,
    businesses: HashMap<BusinessId, HashSet<UserId>>,
    nodes: HashMap<NodeId, HashSet<UserId>>,
}

struct Person {
    business_id: BusinessId,
    /// To how many nodes their devices are connected.
    nodes: usize,
}

impl Picture {
    /// Adds a user at a node. Returns what changes.
    pub(super) fn add(&mut self, node: NodeId, user_id: UserId, business_id: BusinessId) -> Option<PresenceChange> {
        if !self.nodes.entry(node).or_default().insert(user_id) {
            return None;
        }
        let person = self.people.entry(user_id).or_insert(Person { business_id, nodes: 0 });
        person.nodes += 1;
        if person.nodes > 1 {
            return None;
        }
        self.businesses.entry(business_id).or_default().insert(user_id);
        Some(PresenceChange { user_id, business_id, is_online: true })
    }

    /// Removes a user from a node. Returns what changes.
    pub(super) fn remove(&mut self, node: NodeId, user_id: UserId) -> Option<PresenceChange> {
        let at_node = self.nodes.get_mut(&node)?;
        if !at_node.remove(&user_id) {
            return None;
        }
        let person = self.people.get_mut(&user_id)?;
        person.nodes -= 1;
        if person.nodes > 0 {
            return None;
        }
        let business_id = person.business_id;
        self.people.remove(&user_id);
        if let Some(business) = self.businesses.get_mut(&business_id) {
            business.remove(&user_id);
            if business.is_empty() {
                self.businesses.remove(&business_id);
            }
        }
        Some(PresenceChange { user_id, business_id, is_online: false })
    }

    /// Forgets the nodes that aren't there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(NodeId) -> bool) -> Vec<PresenceChange> {
        let gone: Vec<NodeId> = self.nodes.keys().copied().filter(|node| !is_there(*node)).collect();
        let mut changes = vec![];
        for node in gone {
            let people = self.nodes.get(&node).cloned().unwrap_or_default();
            changes.extend(people.into_iter().filter_map(|user| self.remove(node, user)));
            self.nodes.remove(&node);
        }
        changes
    }

    /// These are the people of these nodes, whatever was known before.
    pub(super) fn replace(
        &mut self,
        nodes: &[NodeId],
        people: Vec<(NodeId, UserId, BusinessId)>,
    ) -> Vec<PresenceChange> {
        let now: HashSet<(NodeId, UserId)> = people.iter().map(|(node, user, _)| (*node, *user)).collect();
        let mut changes = vec![];
        // First who came: somebody who has moved from one node to another was never away.
        for (node, user, business) in people {
            changes.extend(self.add(node, user, business));
        }
        for node in nodes {
            let before = self.nodes.entry(*node).or_default().clone();
            for user in before {
                if !now.contains(&(*node, user)) {
                    changes.extend(self.remove(*node, user));
                }
            }
        }
        changes
    }

    /// The nodes at which anybody is or was.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.keys().copied()
    }

    pub(super) fn is_online(&self, user: UserId) -> bool {
        self.people.contains_key(&user)
    }

    pub(super) fn online(&self, business: BusinessId) -> Vec<UserId> {
        self.businesses.get(&business).into_iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ACME: BusinessId = BusinessId(Uuid::from_u128(1));
    const ALICE: UserId = UserId(Uuid::from_u128(7));
    const BOB: UserId = UserId(Uuid::from_u128(8));

    fn node(n: u128) -> NodeId {
        NodeId(Uuid::from_u128(n))
    }

    fn change(user_id: UserId, is_online: bool) -> PresenceChange {
        PresenceChange { user_id, business_id: ACME, is_online }
    }

    #[test]
    fn somebody_is_online_as_long_as_they_are_at_any_node() {
        let mut picture = Picture::default();
        assert_eq!(picture.add(node(1), ALICE, ACME), Some(change(ALICE, true)));
        assert_eq!(picture.add(node(2), ALICE, ACME), None);
        assert_eq!(picture.remove(node(1), ALICE), None);
        assert_eq!(picture.online(ACME), [ALICE]);
        assert_eq!(picture.remove(node(2), ALICE), Some(change(ALICE, false)));
        assert!(picture.online(ACME).is_empty());
    }

    #[test]
    fn saying_something_twice_changes_nothing() {
        let mut picture = Picture::default();
        picture.add(node(1), ALICE, ACME);
        assert_eq!(picture.add(node(1), ALICE, ACME), None);
        picture.remove(node(1), ALICE);
        assert_eq!(picture.remove(node(1), ALICE), None);
        assert_eq!(picture.remove(node(9), BOB), None);
    }

    #[test]
    fn a_node_that_dies_takes_its_people_along_and_no_others() {
        let mut picture = Picture::default();
        picture.add(node(1), ALICE, ACME);
        picture.add(node(2), ALICE, ACME);
        picture.add(node(2), BOB, ACME);
        assert_eq!(picture.retain(|id| id != node(2)), [change(BOB, false)]);
        assert_eq!(picture.online(ACME), [ALICE]);
    }

    #[test]
    fn who_is_looked_up_anew_and_is_still_there_was_never_away() {
        let mut picture = Picture::default();
        picture.add(node(1), ALICE, ACME);
        picture.add(node(1), BOB, ACME);
        // Alice has moved.
        let changes = picture.replace(&[node(1), node(2)], vec![(node(2), ALICE, ACME)]);
        assert_eq!(changes, [change(BOB, false)]);
        assert!(picture.is_online(ALICE) && !picture.is_online(BOB));
    }
}

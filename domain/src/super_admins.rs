//! The super admins of the installation, as far as it takes to never lose the last one: whoever is about to stop being one asks
//! here first. Two who would each leave the other as the last one can't both be told that they may go.
//!
//! Whether a user is a super admin is in their own stream. This one holds only those about to stop being one, until their streams show it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{BusinessId, Decider, RefusalKind, RuleError, Timestamp, UserId};

/// Time after its permission in which a user counts as gone whatever their stream says, in milliseconds. Their event may be about to
/// be appended, or the node may have died before it was.
const HESITATION_MS: i64 = 10_000;

/// State of the super admins.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SuperAdmins {
    /// Users about to stop being super admins, with the time of permission.
    pub going: Vec<(UserId, Timestamp)>,
}

/// Commands that it accepts.
#[derive(Clone, Debug)]
pub enum SuperAdminsCommand {
    /// Lets one of them go.
    LetGo {
        user_id: UserId,
        /// The other active super admins, as their streams say.
        others: Vec<UserId>,
        at: Timestamp,
    },
}

domain_events! {
    /// Events of the stream.
    pub enum SuperAdminsEvent {
        "SuperAdminLetGo", version 1 => LetGo(SuperAdminLetGo),
    }
}

/// A user may stop being a super admin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuperAdminLetGo {
    pub user_id: UserId,
    pub let_go_at: Timestamp,
}

/// The rules of the super admins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuperAdminsError {
    /// No super admin would be left to appoint another one.
    #[error("the last super admin stays one")]
    LastOne,
}

impl RuleError for SuperAdminsError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::LastOne => RefusalKind::Conflict,
        }
    }
}

impl SuperAdmins {
    /// Id of the one stream that there is.
    #[must_use]
    pub fn stream_id() -> String {
        BusinessId::SYSTEM.to_string()
    }
}

impl Decider for SuperAdmins {
    const CATEGORY: &'static str = "superadmins";
    type Command = SuperAdminsCommand;
    type Event = SuperAdminsEvent;
    type Error = SuperAdminsError;

    fn decide(&self, command: SuperAdminsCommand) -> Result<Vec<SuperAdminsEvent>, SuperAdminsError> {
        let SuperAdminsCommand::LetGo { user_id, others, at } = command;
        let is_going =
            |user: &UserId| self.going.iter().any(|(going, since)| going == user && at < since.plus_ms(HESITATION_MS));
        if others.iter().all(is_going) {
            return Err(SuperAdminsError::LastOne);
        }
        Ok(vec![SuperAdminsEvent::LetGo(SuperAdminLetGo { user_id, let_go_at: at })])
    }

    fn evolve(&mut self, event: &SuperAdminsEvent) {
        let SuperAdminsEvent::LetGo(event) = event;
        let at = event.let_go_at;
        self.going.retain(|(user, since)| *user != event.user_id && at < since.plus_ms(HESITATION_MS));
        self.going.push((event.user_id, at));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    fn user(n: u128) -> UserId {
        UserId(Uuid::from_u128(n))
    }

    fn let_go(n: u128, others: &[u128], s: i64) -> SuperAdminsCommand {
        let others = others.iter().copied().map(user).collect();
        SuperAdminsCommand::LetGo { user_id: user(n), others, at: Timestamp::from_unix_ms(s * 1000) }
    }

    fn gone(n: u128, s: i64) -> SuperAdminsEvent {
        SuperAdminsEvent::LetGo(SuperAdminLetGo { user_id: user(n), let_go_at: Timestamp::from_unix_ms(s * 1000) })
    }

    #[test]
    fn whoever_leaves_another_one_may_go() {
        given::<SuperAdmins>([]).when(let_go(1, &[2], 0)).then([gone(1, 0)]);
    }

    #[test]
    fn the_last_one_stays() {
        given::<SuperAdmins>([]).when(let_go(1, &[], 0)).then_err(SuperAdminsError::LastOne);
    }

    #[test]
    fn two_do_not_leave_each_other_as_the_last_one() {
        given::<SuperAdmins>([gone(1, 0)]).when(let_go(2, &[1], 5)).then_err(SuperAdminsError::LastOne);
        given::<SuperAdmins>([gone(1, 0)]).when(let_go(2, &[1, 3], 5)).then([gone(2, 5)]);
    }

    #[test]
    fn whoever_was_let_go_and_is_still_there_after_a_while_counts_again() {
        given::<SuperAdmins>([gone(1, 0)]).when(let_go(2, &[1], 10)).then([gone(2, 10)]);
    }

    proptest! {
        #[test]
        fn of_those_who_all_want_to_go_at_once_one_stays(order in Just((1_u128..6).collect::<Vec<_>>()).prop_shuffle()) {
            let mut state = SuperAdmins::default();
            let mut stayed = 0;
            for n in &order {
                let others: Vec<u128> = order.iter().copied().filter(|other| other != n).collect();
                match state.decide(let_go(*n, &others, 0)) {
                    Ok(events) => events.iter().for_each(|event| state.evolve(event)),
                    Err(SuperAdminsError::LastOne) => stayed += 1,
                }
            }
            prop_assert_eq!(stayed, 1);
        }
    }
}

//! A business: the tenant that people, messages and calls belong to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{BusinessId, Decider, DisplayName, RefusalKind, RuleError, Timestamp};

/// State of one business.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Business {
    /// Not registered yet.
    #[default]
    Unregistered,
    /// In use.
    Active(Registered),
    /// Switched off by those who run the installation: nobody of it gets in.
    Suspended(Registered),
}

/// Data of a registered business.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// Its id.
    pub id: BusinessId,
    /// Its name today.
    pub name: String,
    /// Time of registration.
    pub created_at: Timestamp,
}

/// Commands that a business accepts.
#[derive(Clone, Debug)]
pub enum BusinessCommand {
    /// Makes a new tenant.
    Register { id: BusinessId, name: DisplayName, at: Timestamp },
    /// Gives it another name.
    Rename { name: DisplayName, at: Timestamp },
    /// Shuts everybody of it out.
    Suspend { at: Timestamp },
    /// Lets them in again.
    Reactivate { at: Timestamp },
}

domain_events! {
    /// Events of a business.
    pub enum BusinessEvent {
        "BusinessRegistered", version 1 => Registered(BusinessRegistered),
        "BusinessRenamed", version 1 => Renamed(BusinessRenamed),
        "BusinessSuspended", version 1 => Suspended(BusinessSuspended),
        "BusinessReactivated", version 1 => Reactivated(BusinessReactivated),
    }
}

/// A new tenant came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BusinessRegistered {
    pub business_id: BusinessId,
    pub name: String,
    pub registered_at: Timestamp,
}

/// It has another name since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BusinessRenamed {
    pub name: String,
    pub renamed_at: Timestamp,
}

/// Its users are shut out from here on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BusinessSuspended {
    pub suspended_at: Timestamp,
}

/// They get in again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BusinessReactivated {
    pub reactivated_at: Timestamp,
}

/// The rules of a business.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusinessError {
    /// There is no such business.
    #[error("business not found")]
    NoSuchBusiness,
    /// An id names one business for ever.
    #[error("this business is registered already")]
    AlreadyRegistered,
    /// The system business cannot be suspended: no one could log in to undo it.
    #[error("the system business can't be suspended")]
    SystemBusinessStays,
    /// Businesses are managed by who runs the installation.
    #[error("only a super admin manages businesses")]
    NotASuperAdmin,
}

impl RuleError for BusinessError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NoSuchBusiness => RefusalKind::NotFound,
            Self::NotASuperAdmin => RefusalKind::Forbidden,
            Self::AlreadyRegistered | Self::SystemBusinessStays => RefusalKind::Conflict,
        }
    }
}

impl Business {
    /// Returns its data, once it is registered.
    #[must_use]
    pub fn registered(&self) -> Option<&Registered> {
        match self {
            Self::Unregistered => None,
            Self::Active(business) | Self::Suspended(business) => Some(business),
        }
    }

    /// Returns true if its users may log in, and use the sessions that they have.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Active(_))
    }
}

impl Decider for Business {
    const CATEGORY: &'static str = "business";
    type Command = BusinessCommand;
    type Event = BusinessEvent;
    type Error = BusinessError;

    fn decide(&self, command: BusinessCommand) -> Result<Vec<BusinessEvent>, BusinessError> {
        use BusinessCommand::{Reactivate, Register, Rename, Suspend};
        match (command, self) {
            (Register { id, name, at }, Self::Unregistered) => {
                Ok(vec![BusinessEvent::Registered(BusinessRegistered {
                    business_id: id,
                    name: name.into_string(),
                    registered_at: at,
                })])
            }
            (Register { .. }, Self::Active(_) | Self::Suspended(_)) => Err(BusinessError::AlreadyRegistered),
            (Rename { .. } | Suspend { .. } | Reactivate { .. }, Self::Unregistered) => {
                Err(BusinessError::NoSuchBusiness)
            }

            (Rename { name, .. }, Self::Active(now) | Self::Suspended(now)) if now.name == name.as_str() => Ok(vec![]),
            (Rename { name, at }, Self::Active(_) | Self::Suspended(_)) => {
                Ok(vec![BusinessEvent::Renamed(BusinessRenamed { name: name.into_string(), renamed_at: at })])
            }

            (Suspend { .. }, Self::Active(now)) if now.id == BusinessId::SYSTEM => {
                Err(BusinessError::SystemBusinessStays)
            }
            (Suspend { at }, Self::Active(_)) => {
                Ok(vec![BusinessEvent::Suspended(BusinessSuspended { suspended_at: at })])
            }
            (Suspend { .. }, Self::Suspended(_)) | (Reactivate { .. }, Self::Active(_)) => Ok(vec![]),
            (Reactivate { at }, Self::Suspended(_)) => {
                Ok(vec![BusinessEvent::Reactivated(BusinessReactivated { reactivated_at: at })])
            }
        }
    }

    fn evolve(&mut self, event: &BusinessEvent) {
        *self = match (event, std::mem::take(self)) {
            (BusinessEvent::Registered(event), Self::Unregistered) => Self::Active(Registered {
                id: event.business_id,
                name: event.name.clone(),
                created_at: event.registered_at,
            }),
            (BusinessEvent::Renamed(event), Self::Active(now)) => {
                Self::Active(Registered { name: event.name.clone(), ..now })
            }
            (BusinessEvent::Renamed(event), Self::Suspended(now)) => {
                Self::Suspended(Registered { name: event.name.clone(), ..now })
            }
            (BusinessEvent::Suspended(_), Self::Active(now)) => Self::Suspended(now),
            (BusinessEvent::Reactivated(_), Self::Suspended(now)) => Self::Active(now),
            (
                BusinessEvent::Registered(_)
                | BusinessEvent::Renamed(_)
                | BusinessEvent::Suspended(_)
                | BusinessEvent::Reactivated(_),
                unchanged,
            ) => unchanged,
        };
    }

    fn heap_bytes(&self) -> usize {
        self.registered().map_or(0, |business| business.name.capacity())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ID: BusinessId = BusinessId(Uuid::from_u128(1));

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_ms(s * 1000)
    }

    fn name(text: &str) -> DisplayName {
        DisplayName::parse(text).unwrap()
    }

    fn registered(id: BusinessId) -> BusinessEvent {
        BusinessEvent::Registered(BusinessRegistered { business_id: id, name: "Acme".into(), registered_at: at(0) })
    }

    fn suspended() -> BusinessEvent {
        BusinessEvent::Suspended(BusinessSuspended { suspended_at: at(1) })
    }

    fn reactivated() -> BusinessEvent {
        BusinessEvent::Reactivated(BusinessReactivated { reactivated_at: at(2) })
    }

    fn renamed(text: &str) -> BusinessEvent {
        BusinessEvent::Renamed(BusinessRenamed { name: text.into(), renamed_at: at(3) })
    }

    fn register() -> BusinessCommand {
        BusinessCommand::Register { id: ID, name: name("Acme"), at: at(0) }
    }

    #[test]
    fn a_business_is_registered_once() {
        given::<Business>([]).when(register()).then([registered(ID)]);
        given::<Business>([registered(ID)]).when(register()).then_err(BusinessError::AlreadyRegistered);
        given::<Business>([registered(ID), suspended()]).when(register()).then_err(BusinessError::AlreadyRegistered);
    }

    #[test]
    fn nothing_can_be_done_to_a_business_that_does_not_exist() {
        for command in [
            BusinessCommand::Rename { name: name("B"), at: at(3) },
            BusinessCommand::Suspend { at: at(1) },
            BusinessCommand::Reactivate { at: at(2) },
        ] {
            given::<Business>([]).when(command).then_err(BusinessError::NoSuchBusiness);
        }
    }

    #[test]
    fn it_can_be_suspended_and_reactivated_and_repeating_either_changes_nothing() {
        given::<Business>([registered(ID)]).when(BusinessCommand::Suspend { at: at(1) }).then([suspended()]);
        given::<Business>([registered(ID), suspended()]).when(BusinessCommand::Suspend { at: at(5) }).then_nothing();
        given::<Business>([registered(ID), suspended()])
            .when(BusinessCommand::Reactivate { at: at(2) })
            .then([reactivated()]);
        given::<Business>([registered(ID)]).when(BusinessCommand::Reactivate { at: at(2) }).then_nothing();
    }

    #[test]
    fn the_system_business_is_never_suspended() {
        given::<Business>([registered(BusinessId::SYSTEM)])
            .when(BusinessCommand::Suspend { at: at(1) })
            .then_err(BusinessError::SystemBusinessStays);
    }

    #[test]
    fn it_can_be_renamed_while_active_or_suspended() {
        let rename = |text| BusinessCommand::Rename { name: name(text), at: at(3) };
        given::<Business>([registered(ID)]).when(rename("New")).then([renamed("New")]);
        given::<Business>([registered(ID), suspended()]).when(rename("New")).then([renamed("New")]);
        given::<Business>([registered(ID), renamed("New")]).when(rename("New")).then_nothing();
    }

    fn any_command() -> impl Strategy<Value = BusinessCommand> {
        prop_oneof![
            Just(register()),
            "[a-c]".prop_map(|text| BusinessCommand::Rename { name: name(&text), at: at(3) }),
            Just(BusinessCommand::Suspend { at: at(1) }),
            Just(BusinessCommand::Reactivate { at: at(2) }),
        ]
    }

    proptest! {
        #[test]
        fn any_history_replays(history in prop::collection::vec(
            prop_oneof![Just(registered(ID)), Just(suspended()), Just(reactivated()), "[a-c]".prop_map(|text| renamed(&text))],
            0..20,
        )) {
            Business::replay(&history);
        }

        #[test]
        fn whatever_is_asked_a_business_stays_registered_under_its_id(commands in prop::collection::vec(any_command(), 0..20)) {
            let mut state = Business::default();
            for command in commands {
                let was_registered = state.registered().is_some();
                for event in state.decide(command).unwrap_or_default() {
                    state.evolve(&event);
                }
                prop_assert!(!was_registered || state.registered().is_some_and(|business| business.id == ID));
            }
        }
    }
}

//! Roles and their permissions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::BusinessId;

/// Role of an account. The system roles belong to the built-in [system business](BusinessId::SYSTEM) only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Runs the installation: every business, every person.
    SystemSuperAdmin,
    /// Reads everything, changes nothing.
    SystemAuditor,
    /// Manages the people of its own business.
    BusinessAdmin,
    /// Reads everything of its own business, changes nothing.
    BusinessAuditor,
    /// Uses the messenger.
    BusinessUser,
}

impl Role {
    /// All of them, the most powerful first.
    pub const ALL: [Self; 5] =
        [Self::SystemSuperAdmin, Self::SystemAuditor, Self::BusinessAdmin, Self::BusinessAuditor, Self::BusinessUser];

    /// The name in the API, in tokens and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SystemSuperAdmin => "SYSTEM_SUPER_ADMIN",
            Self::SystemAuditor => "SYSTEM_AUDITOR",
            Self::BusinessAdmin => "BUSINESS_ADMIN",
            Self::BusinessAuditor => "BUSINESS_AUDITOR",
            Self::BusinessUser => "BUSINESS_USER",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Returns true for the roles of those who run the installation.
    #[must_use]
    pub fn is_system(self) -> bool {
        matches!(self, Self::SystemSuperAdmin | Self::SystemAuditor)
    }

    /// Returns true if the role may log in at the admin API.
    #[must_use]
    pub fn may_administer(self) -> bool {
        self != Self::BusinessUser
    }

    /// Returns true if an account of business `own` with this role may see the users of `business`.
    #[must_use]
    pub fn may_see(self, own: BusinessId, business: BusinessId) -> bool {
        self.is_system() || (self.may_administer() && own == business)
    }

    /// Returns true if an account of business `own` with this role may create or change accounts with role `other` in `business`.
    #[must_use]
    pub fn may_manage(self, own: BusinessId, other: Self, business: BusinessId) -> bool {
        match self {
            Self::SystemSuperAdmin => true,
            Self::BusinessAdmin => own == business && !other.is_system(),
            Self::SystemAuditor | Self::BusinessAuditor | Self::BusinessUser => false,
        }
    }

    /// Returns true if accounts of `business` can have this role at all.
    #[must_use]
    pub fn fits(self, business: BusinessId) -> bool {
        self.is_system() == (business == BusinessId::SYSTEM)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const OWN: BusinessId = BusinessId(Uuid::from_u128(1));
    const OTHER: BusinessId = BusinessId(Uuid::from_u128(2));

    #[test]
    fn every_role_is_stored_under_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert_eq!(Role::parse("ROOT"), None);
    }

    #[test]
    fn only_the_super_admin_reaches_into_other_businesses_and_only_admins_change_anything() {
        for role in Role::ALL {
            for other in Role::ALL {
                let may_change_own = role.may_manage(OWN, other, OWN);
                let expected = match role {
                    Role::SystemSuperAdmin => true,
                    Role::BusinessAdmin => !other.is_system(),
                    Role::SystemAuditor | Role::BusinessAuditor | Role::BusinessUser => false,
                };
                assert_eq!(may_change_own, expected, "{role:?} on {other:?}");
                assert_eq!(role.may_manage(OWN, other, OTHER), role == Role::SystemSuperAdmin, "{role:?} on {other:?}");
            }
        }
    }

    #[test]
    fn auditors_see_what_admins_see_and_users_see_no_administration() {
        for role in Role::ALL {
            assert_eq!(role.may_see(OWN, OWN), role != Role::BusinessUser);
            assert_eq!(role.may_see(OWN, OTHER), role.is_system());
        }
    }

    #[test]
    fn system_roles_fit_the_system_business_alone() {
        for role in Role::ALL {
            assert_eq!(role.fits(BusinessId::SYSTEM), role.is_system());
            assert_eq!(role.fits(OWN), !role.is_system());
        }
    }
}

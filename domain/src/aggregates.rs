//! All aggregates, for whoever has to do with whichever it is: auditors ask for the state of any stream, and for the shape of every
//! event.

use crate::Decider;
use crate::audit::AuditTrail;
use crate::business::Business;
use crate::call::Call;
use crate::delivery::DeliveryCursors;
use crate::file::File;
use crate::line::Line;
use crate::login::Login;
use crate::message::Message;
use crate::reading::Reading;
use crate::session::Session;
use crate::super_admins::SuperAdmins;
use crate::user::User;

/// Does something with an aggregate, whichever it is.
pub trait Visitor {
    /// Result of a visit.
    type Output;

    /// Does it with this one.
    fn visit<D: Decider>(&mut self) -> Self::Output;
}

/// Makes the two functions below of the list of aggregates.
macro_rules! aggregates {
    ($($aggregate:ty),+ $(,)?) => {
        /// Visits the aggregate whose streams are of this category, if there is one.
        pub fn visit<V: Visitor>(category: &str, visitor: &mut V) -> Option<V::Output> {
            match category {
                $(<$aggregate>::CATEGORY => Some(visitor.visit::<$aggregate>()),)+
                _ => None,
            }
        }

        /// Visits every aggregate, in the order of their categories.
        pub fn visit_all<V: Visitor>(visitor: &mut V) -> Vec<V::Output> {
            vec![$(visitor.visit::<$aggregate>()),+]
        }
    };
}

aggregates! {
    AuditTrail,
    Business,
    Call,
    DeliveryCursors,
    File,
    Line,
    Login,
    Message,
    Reading,
    Session,
    SuperAdmins,
    User,
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Category;

    impl Visitor for Category {
        type Output = &'static str;

        fn visit<D: Decider>(&mut self) -> &'static str {
            D::CATEGORY
        }
    }

    #[test]
    fn every_aggregate_is_found_by_its_category() {
        let all = visit_all(&mut Category);
        assert_eq!(all.len(), 12);
        assert!(all.is_sorted(), "{all:?}");
        for category in all {
            assert_eq!(visit(category, &mut Category), Some(category));
        }
        assert_eq!(visit("nothing", &mut Category), None);
    }
}

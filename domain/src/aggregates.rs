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
    /// What comes of it.
    type Output;

    /// Does it with this one.
    fn visit<D: Decider>(&mut self) -> Self::Output;
}

/// Visits the aggregate whose streams are of this category, if there is one.
pub fn visit<V: Visitor>(category: &str, visitor: &mut V) -> Option<V::Output> {
    Some(match category {
        AuditTrail::CATEGORY => visitor.visit::<AuditTrail>(),
        Business::CATEGORY => visitor.visit::<Business>(),
        Call::CATEGORY => visitor.visit::<Call>(),
        DeliveryCursors::CATEGORY => visitor.visit::<DeliveryCursors>(),
        File::CATEGORY => visitor.visit::<File>(),
        Line::CATEGORY => visitor.visit::<Line>(),
        Login::CATEGORY => visitor.visit::<Login>(),
        Message::CATEGORY => visitor.visit::<Message>(),
        Reading::CATEGORY => visitor.visit::<Reading>(),
        Session::CATEGORY => visitor.visit::<Session>(),
        SuperAdmins::CATEGORY => visitor.visit::<SuperAdmins>(),
        User::CATEGORY => visitor.visit::<User>(),
        _ => return None,
    })
}

/// Visits every aggregate, in the order of their categories.
pub fn visit_all<V: Visitor>(visitor: &mut V) -> Vec<V::Output> {
    const CATEGORIES: [&str; 12] = [
        AuditTrail::CATEGORY,
        Business::CATEGORY,
        Call::CATEGORY,
        DeliveryCursors::CATEGORY,
        File::CATEGORY,
        Line::CATEGORY,
        Login::CATEGORY,
        Message::CATEGORY,
        Reading::CATEGORY,
        Session::CATEGORY,
        SuperAdmins::CATEGORY,
        User::CATEGORY,
    ];
    CATEGORIES.into_iter().filter_map(|category| visit(category, visitor)).collect()
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

//! Those who aren't let in any more.

use reqwest::Method;
use serde_json::Value;

use crate::support::{PASSWORD, Person, World};

/// Why somebody who has a token isn't let in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Out {
    PersonSuspended,
    BusinessSuspended,
    SessionRevoked,
}

impl Out {
    pub(super) const ALL: [Self; 3] = [Self::PersonSuspended, Self::BusinessSuspended, Self::SessionRevoked];

    /// Shuts somebody out.
    pub(super) async fn shut_out(self, world: &World, person: &Person) {
        let path = match self {
            Self::PersonSuspended => format!("/api/admin/users/{}/suspend", person.id),
            Self::BusinessSuspended => format!("/api/admin/businesses/{}/suspend", person.business.id),
            Self::SessionRevoked => {
                let path = format!("/api/admin/users/{}/sessions", person.id);
                world.admin.request(Method::DELETE, &path, None, &[]).await.expect(200);
                return;
            }
        };
        world.admin.post(&path, Value::Null).await.expect(200);
    }

    /// Lets somebody of the messenger in again; with another token, where that is needed.
    pub(super) async fn let_in(self, world: &World, person: &Person) -> Person {
        let path = match self {
            Self::PersonSuspended => Some(format!("/api/admin/users/{}/reactivate", person.id)),
            Self::BusinessSuspended => Some(format!("/api/admin/businesses/{}/reactivate", person.business.id)),
            Self::SessionRevoked => None,
        };
        if let Some(path) = path {
            world.admin.post(&path, Value::Null).await.expect(200);
        }
        if self == Self::BusinessSuspended {
            return person.clone();
        }
        // What was good before isn't any more.
        person.get("/api/messenger/me").await.expect_error(401, "UNAUTHORIZED");
        Person::log_in(&person.url, &person.business, &person.email, PASSWORD).await
    }
}

//! A business with people to try things with. Everything about it is fixed, so that documentation can name it; it is made only
//! when an operator asks for it.

use domain::{BusinessId, DisplayName, EmailAddress, Password, Role, UserId};
use uuid::Uuid;

use crate::{Commands, Error, NewUser};

/// Password of everybody in the demo business.
pub const DEMO_PASSWORD: &str = "switchboard-demo";

const BUSINESS: BusinessId = BusinessId(Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_de30));
const PEOPLE: [(&str, &str, Role); 3] = [
    ("alice@demo.example", "Alice", Role::BusinessUser),
    ("bob@demo.example", "Bob", Role::BusinessUser),
    ("admin@demo.example", "Dana", Role::BusinessAdmin),
];

/// The demo business.
#[derive(Clone, Debug)]
pub struct Demo {
    /// Its id.
    pub business_id: BusinessId,
    /// Its people.
    pub people: Vec<DemoPerson>,
}

/// A user of the demo business.
#[derive(Clone, Debug)]
pub struct DemoPerson {
    /// The person's id.
    pub id: UserId,
    /// The login.
    pub email: &'static str,
    /// Display name.
    pub name: &'static str,
}

impl Commands {
    /// Suspends the demo business, if there is one: everybody knows its passwords.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn suspend_demo(&self) -> Result<(), Error> {
        self.set_business_active(BUSINESS, false).await
    }

    /// Makes the demo business and its people, unless they are there, and lets them in.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn ensure_demo(&self) -> Result<Demo, Error> {
        self.ensure_business(BUSINESS, DisplayName::parse("Demo")?).await?;
        self.set_business_active(BUSINESS, true).await?;
        let mut people = vec![];
        for (email, name, role) in PEOPLE {
            let new = NewUser {
                business_id: BUSINESS,
                email: EmailAddress::parse(email)?,
                name: DisplayName::parse(name)?,
                avatar: None,
                role,
                password: Password::parse(DEMO_PASSWORD)?,
            };
            let (id, _) = self.ensure_user(email, new).await?;
            people.push(DemoPerson { id, email, name });
        }
        Ok(Demo { business_id: BUSINESS, people })
    }
}

//! A demo business with people to try things with. Ids and logins are fixed, so that the README can name them.

use commands::{Commands, Error};

/// Makes the demo business, unless it is there, and says who can log in.
pub(crate) async fn ensure(commands: &Commands) -> Result<(), Error> {
    let demo = commands.ensure_demo().await?;
    println!("\nDemo business: {}", demo.business_id);
    println!("  log in at POST /api/messenger/auth/login with password {:?} as", commands::DEMO_PASSWORD);
    for person in demo.people {
        println!("  {:<22} {:<8} id {}", person.email, person.name, person.id);
    }
    println!();
    Ok(())
}

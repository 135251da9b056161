//! The clock and the randomness of this machine: the only place where either is asked.

use commands::{Clock, Ids};
use domain::Timestamp;
use uuid::Uuid;

/// This machine.
pub(crate) struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "this is where it is passed in from")]
    fn now(&self) -> Timestamp {
        time::OffsetDateTime::now_utc().into()
    }
}

impl Ids for System {
    #[expect(clippy::disallowed_methods, reason = "this is where they are passed in from")]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// 256 bits that nobody can guess.
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives us random bytes");
    bytes
}

//! What tests are made of: a database each, the server, and people who use it.

mod database;
mod people;
mod proxy;
mod random;
mod raw_stream;
mod requirements;
mod server;
mod socket;
mod streams;

pub(crate) use database::Database;
pub(crate) use people::{Answer, Business, PASSWORD, Person, World, anonymous, assert_is_standard_error};
pub(crate) use proxy::{Cut, Link, Proxy};
pub(crate) use random::{Random, seed};
pub(crate) use raw_stream::{Heard, Protocol, RawStream};
pub(crate) use requirements::{JS_DIR, Requirement, is_installed};
pub(crate) use server::{ADMIN, Server, Settings, command};
pub(crate) use socket::{Socket, Transports};
pub(crate) use streams::{Event, EventStream, PlainSocket};

use std::time::Duration;

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// How long to wait for something that is going to happen. Long, since machines are slow at times: nothing is waited for in vain
/// where tests pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Whether the large sizes are wanted (`SWITCHBOARD_TEST_SCALE=full`).
pub(crate) fn full_scale() -> bool {
    std::env::var("SWITCHBOARD_TEST_SCALE").as_deref() == Ok("full")
}

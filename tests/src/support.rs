//! What tests are made of: a database each, the server, and people who use it.

mod database;
mod devices;
mod http;
mod install;
mod kurrentdb;
mod node;
mod people;
mod proxy;
mod random;
mod raw_stream;
mod s3;
mod server;
mod socket;
mod streams;
mod system_packages;

pub(crate) use database::Database;
pub(crate) use devices::Devices;
pub(crate) use http::{http_client, http_client_from};
pub(crate) use kurrentdb::KurrentDb;
pub(crate) use node::{js_dir, node};
pub(crate) use people::{
    Answer, Business, PASSWORD, Person, World, anonymous, assert_is_standard_error, until_current,
};
pub(crate) use proxy::{Cut, Link, Proxy};
pub(crate) use random::{Random, seed};
pub(crate) use raw_stream::{Heard, Protocol, RawStream};
pub(crate) use s3::S3Server;
pub(crate) use server::{ADMIN, Server, Settings, command};
pub(crate) use socket::{Socket, Transports};
pub(crate) use streams::{Event, EventStream, PlainSocket};
pub(crate) use system_packages::{Chromium, Coturn, Curl, NatsServer, Python, set_up_by_hand};

use std::time::Duration;

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// How long to wait for something that is going to happen. Long, since machines are slow at times: nothing is waited for in vain
/// where tests pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for something that is going to happen.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let deadline = tokio::time::Instant::now() + 2 * DEADLINE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether the large sizes are wanted (`SWITCHBOARD_TEST_SCALE=full`).
pub(crate) fn full_scale() -> bool {
    std::env::var("SWITCHBOARD_TEST_SCALE").as_deref() == Ok("full")
}

/// Whether rates and times are to be measured for as long as it takes to be sure (`SWITCHBOARD_TEST_TEN_MINUTES=1`).
pub(crate) fn ten_minutes() -> bool {
    is_one(std::env::var("SWITCHBOARD_TEST_TEN_MINUTES").ok().as_deref())
}

fn is_one(setting: Option<&str>) -> bool {
    setting == Some("1")
}

#[test]
fn a_setting_that_is_nought_is_not_set() {
    assert!(is_one(Some("1")));
    assert!(!is_one(Some("0")) && !is_one(Some("")) && !is_one(None));
}

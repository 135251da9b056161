//! Switchboard from outside. Each test starts what it needs: a database of its own in a private Postgres, the real server, and
//! the official client where it matters.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests live in real time")]

mod support;

mod conformance;
mod contract;
mod durability;
mod hostile;
mod limits;
mod managed_postgres;
mod operations;
mod people;
mod projections;
mod readme;
mod retries;
mod sessions;
mod socket_io;
mod tenants;
mod wrong_input;

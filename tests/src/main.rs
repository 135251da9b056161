//! Switchboard from outside. Each test starts what it needs: a database of its own in a private Postgres, the real server, and
//! the official client where it matters.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests live in real time")]

mod support;

mod asyncapi;
mod browsers;
mod bus;
mod calls;
mod chaos;
mod conformance;
mod contract;
mod durability;
mod feed;
mod hostile;
mod hostile_sockets;
mod lifetime;
mod limits;
mod managed_postgres;
mod operations;
mod people;
mod presence;
mod projections;
mod readme;
mod receipts;
mod retries;
mod seed;
mod sessions;
mod socket_io;
mod tenants;
mod turn;
mod typing;
mod wrong_input;

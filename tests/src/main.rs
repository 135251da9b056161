//! Switchboard from outside. Each test starts what it needs: a database of its own in a private Postgres, the real server, and
//! the official client where it matters.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests live in real time")]

mod support;

mod asyncapi;
mod attacks;
mod browsers;
mod bus;
mod calls;
mod chaos;
mod conformance;
mod contract;
mod conversations;
mod documents;
mod durability;
mod feed;
mod files;
mod growth;
mod history;
mod hostile;
mod hostile_sockets;
mod kurrentdb;
mod lifetime;
mod limits;
mod managed_postgres;
mod messages;
mod openapi;
mod operations;
mod passwords;
mod people;
mod presence;
mod projections;
mod readers;
mod readme;
mod rebuilds;
mod receipts;
mod retries;
mod schemathesis;
mod seed;
mod sessions;
mod socket_io;
mod tenants;
mod timing;
mod tokens;
mod turn;
mod typing;
mod wrong_input;

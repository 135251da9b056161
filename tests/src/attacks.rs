//! Abuse: what one client does costs nobody else anything. Each of these worked once.

mod bodies;
mod calls;
mod connections;
mod handshakes;
mod hashes;
mod history;
mod machine;
mod names;
mod replays;
mod uploads;

use serde_json::json;

use crate::support::{Person, World};

/// A message of 40 kB.
fn large_text(n: usize) -> String {
    format!("{n} {}", "👋".repeat(9_990))
}

/// Sends large messages, one after the other.
async fn flood(from: &Person, to: &Person, count: usize) {
    for n in 0..count {
        from.send_text(to, &large_text(n)).await.expect(201);
    }
}

/// Somebody of another business, who does nothing wrong.
async fn neighbour(world: &World) -> (Person, Person) {
    let globex = world.business("Globex").await;
    (world.person(&globex, "Nina").await, world.person(&globex, "Ned").await)
}

/// What is wrong is answered with 429 and the standard error.
fn is_too_many(body: &serde_json::Value) -> bool {
    body["errorCode"] == json!("RATE_LIMIT") && body["statusCode"] == json!(429)
}

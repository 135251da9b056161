//! The catalogue of events.

use super::run_command;
use crate::support::{Database, World};

/// The catalogue that was released. A shape that is in it never changes: what is different is a new version.
const RELEASED: &str = include_str!("../../../catalogue.json");

#[tokio::test]
async fn no_shape_of_an_event_changes_unnoticed() {
    let database = Database::create().await;
    let output = run_command(&database, &["audit", "catalogue"]).await;
    let now = String::from_utf8(output.stdout).unwrap();
    assert!(
        now.trim() == RELEASED.trim(),
        "the catalogue of events has changed. A shape that may be in somebody's log stays: raise the version of the event, add an \
         upcaster, and put the old shape into api/src/audit/retired_events.json. Then: cargo run -- audit catalogue > catalogue.json"
    );
}

#[tokio::test]
async fn auditors_get_the_catalogue() {
    let world = World::start().await;
    let catalogue = world.admin.get("/api/audit/catalogue").await.expect(200).body;
    let released: serde_json::Value = serde_json::from_str(RELEASED).unwrap();
    assert_eq!(catalogue, released);
    for known in catalogue["types"].as_array().unwrap() {
        assert_eq!(known["schema"]["type"], "object", "{known}");
    }
}

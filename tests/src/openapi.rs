//! The document of the REST API, as others' tools read it.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PASSWORD, World, anonymous, js_dir, node};

/// A compiler takes its time on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A folder with the document that the server serves, where Node finds the modules of the tests.
async fn folder_with_the_document(world: &World) -> TempDir {
    let document = anonymous(&world.server.url, Method::GET, "/openapi.json", None).await.expect(200).body;
    let dir = tempfile::tempdir_in(js_dir()).unwrap();
    std::fs::write(dir.path().join("openapi.json"), document.to_string()).unwrap();
    dir
}

/// What a script of a module of the tests says, which must succeed.
async fn run(dir: &TempDir, script: &str, args: &[&str]) -> String {
    // The linter would ask for news of itself, and send some.
    let quiet = [("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true"), ("REDOCLY_TELEMETRY", "off")];
    let mut command = node();
    command.arg(script).args(args).envs(quiet).current_dir(dir.path());
    let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test]
async fn it_passes_a_public_linter_without_a_warning() {
    let world = World::start().await;
    let dir = folder_with_the_document(&world).await;
    // The rules that its makers recommend, all of them; warnings are errors.
    let args = ["lint", "openapi.json", "--extends=recommended-strict", "--format=stylish"];
    run(&dir, "../node_modules/@redocly/cli/bin/cli.js", &args).await;
}

#[tokio::test]
async fn a_typescript_client_that_is_generated_from_it_compiles_strictly_and_works() {
    let (world, alice, bob) = World::with_alice_and_bob().await;
    let dir = folder_with_the_document(&world).await;
    for file in ["client.ts", "tsconfig.json"] {
        std::fs::copy(js_dir().join("typescript").join(file), dir.path().join(file)).unwrap();
    }
    let args = ["openapi.json", "--output", "api.ts"];
    run(&dir, "../node_modules/openapi-typescript/bin/cli.js", &args).await;
    run(&dir, "../node_modules/typescript/bin/tsc", &[]).await;

    let args = json!({"url": world.server.url, "businessId": alice.business.id, "password": PASSWORD});
    let said: Value = serde_json::from_str(&run(&dir, "out/client.js", &[&args.to_string()]).await).unwrap();
    let content = "Hello from TypeScript!";
    let read = json!({"senderId": alice.id, "recipientId": bob.id, "content": content, "type": "text"});
    assert_eq!(said["read"], read);
    assert_eq!(said["colleagues"], json!(["Alice", "Bob"]));
    assert_eq!(said["avatars"], 0);
    let error = json!({"isNotFound": true, "isMadeUp": false, "statusCode": 404, "error": "Message not found"});
    assert_eq!(said["error"], error);
}

//! The server against its own OpenAPI document: schemathesis reads it and sends what it allows and what it forbids, by itself and in
//! sequences, as somebody of each role. tests/python/schemathesis.toml says what it judges the answers by.

use std::path::Path;
use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Business, PASSWORD, Person, Python, World, anonymous, full_scale, seed};

/// Two tenants, one of which the fuzzer is of, and something of everything that can be looked up.
struct Cast {
    world: World,
    acme: Business,
    /// What schemathesis is told that there is.
    dictionaries: Value,
    user: Person,
}

impl Cast {
    async fn assemble() -> Self {
        let world = World::start().await;
        let (acme, globex) = (world.business("Acme").await, world.business("Globex").await);
        let (user, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
        let (mallory, trent) = (world.person(&globex, "Mallory").await, world.person(&globex, "Trent").await);
        let (mut ids, mut conversations) = (vec![acme.id.clone(), globex.id.clone()], vec![]);
        ids.extend([&user, &bob, &mallory, &trent].map(|person| person.id.clone()));
        // To and from the fuzzer, and among others.
        for (from, to) in [(&user, &bob), (&bob, &user), (&mallory, &trent)] {
            let sent = from.send_text(to, "Hello!").await.expect(201);
            ids.push(text(&sent, "message", "id"));
            conversations.push(text(&sent, "message", "conversationId"));
            ids.push(from.call(to).await);
        }
        let people = [&user, &bob, &mallory, &trent];
        let dictionaries = json!({
            "ids": ids,
            "conversations": conversations,
            "businesses": [acme.id, globex.id, world.admin.business.id],
            "people": people.map(|person| &person.id),
            "emails": people.map(|person| &person.email),
            "passwords": [PASSWORD],
            "positions": [0, 1],
        });
        Self { world, acme, dictionaries, user }
    }

    /// An administrator with this role.
    async fn administrator(&self, business: &Business, role: &str) -> Person {
        self.world.create(business, "Ada", role).await;
        Person::log_in_as_admin(&self.world.server.url, "ada@example.com", PASSWORD).await
    }

    /// Runs schemathesis with these tokens on some of the operations; how many requests it has judged. Panics with what it says if
    /// there is anything that it doesn't like.
    async fn fuzz(&self, python: &Python, tokens: Tokens<'_>, operations: &[&str]) -> u64 {
        let examples = self.examples().await;
        let dir = tempfile::tempdir().unwrap();
        let config = std::fs::read_to_string(Path::new(Python::DIR).join("schemathesis.toml")).unwrap();
        // A table of JSON strings and numbers is one of TOML too.
        let dictionaries = self.dictionaries.as_object().unwrap().iter();
        let dictionaries = dictionaries.map(|(name, values)| format!("[dictionaries.{name}]\nvalues = {values}\n"));
        let checks = Path::new(Python::DIR).join("checks.py");
        let config = format!("hooks = {:?}\n{config}\n{}", checks.display(), dictionaries.collect::<String>());
        std::fs::write(dir.path().join("schemathesis.toml"), config).unwrap();

        let seed = fixed_seed();
        let mut command = python.command("schemathesis");
        command
            .args(["--config-file", "schemathesis.toml", "run", "--no-color"])
            .args(operations)
            .args(["--max-examples", &examples.to_string(), "--seed", &seed.to_string()])
            // One thread: Python 3.11 breaks down now and then when several change its limit of recursion at once.
            .args(["--workers", "1", "--continue-on-failure", "--request-timeout", "30"])
            .args(["--report-json-path", "report.json"])
            .arg(format!("{}/openapi.json", self.world.server.url))
            .envs([("ADMIN_TOKEN", tokens.admin), ("MESSENGER_TOKEN", tokens.messenger)])
            // Modules of the checks are compiled in here rather than beside them.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(dir.path())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "with SWITCHBOARD_TEST_SEED={seed}:\n{said}");
        let report = std::fs::read(dir.path().join("report.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        assert_eq!((&report["complete"], &report["operations"]["errored"]), (&json!(true), &json!(0)), "{said}");
        assert_eq!(report["operations"]["tested"], report["operations"]["selected"], "{said}");
        report["test_cases"]["generated"].as_u64().unwrap()
    }

    /// How many random requests an operation gets in each phase. The more operations there are, the fewer: a run takes as long as
    /// ever. Each of the two APIs has about half of the operations. An eighth is added for what schemathesis thinks of twice.
    async fn examples(&self) -> u64 {
        let document = anonymous(&self.world.server.url, Method::GET, "/openapi.json", None).await.expect(200).body;
        let paths = document["paths"].as_object().unwrap().values();
        let operations = paths.map(|methods| u64::try_from(methods.as_object().unwrap().len()).unwrap()).sum::<u64>();
        (size() + size() / 8) * 2 / operations
    }

    /// Everything that an administrator can do.
    async fn fuzz_as_administrator(&self, python: &Python, person: &Person) {
        let tokens = Tokens { admin: &person.token, ..NONE };
        let judged = self.fuzz(python, tokens, &all_but_the_end("^/api/admin")).await;
        person.get("/api/admin/users").await.expect(200);
        assert_is_much(judged);
    }
}

/// Bearer tokens, for either API.
#[derive(Clone, Copy)]
struct Tokens<'a> {
    admin: &'a str,
    messenger: &'a str,
}

const NONE: Tokens = Tokens { admin: "none", messenger: "none" };

/// What may end the session that asks for it.
const ENDS: [&str; 5] = ["adminLogout", "messengerLogout", "endSession", "endUserSession", "endUserSessions"];

/// Everything below a path but what may end the session.
fn all_but_the_end(path: &str) -> Vec<&str> {
    let excluded = ENDS.iter().flat_map(|operation| ["--exclude-operation-id", operation]);
    ["--include-path-regex", path].into_iter().chain(excluded).collect()
}

/// How many requests there are for each role at least. Five roles make 20,000 at full scale.
fn size() -> u64 {
    if full_scale() { 4_000 } else { 250 }
}

#[track_caller]
fn assert_is_much(judged: u64) {
    assert!(judged >= size(), "only {judged} requests");
}

/// The same for everybody, so that what is found on one machine is found on another.
fn fixed_seed() -> u64 {
    if std::env::var_os("SWITCHBOARD_TEST_SEED").is_some() { seed() } else { 1 }
}

fn text(answer: &Answer, of: &str, field: &str) -> String {
    answer.body[of][field].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_server_does_what_its_document_says_for_a_super_admin() {
    let Some(python) = Python::find() else { return };
    let cast = Cast::assemble().await;
    cast.fuzz_as_administrator(&python, &cast.world.admin).await;
}

#[tokio::test]
async fn the_server_does_what_its_document_says_for_a_system_auditor() {
    let Some(python) = Python::find() else { return };
    let cast = Cast::assemble().await;
    cast.fuzz_as_administrator(&python, &cast.administrator(&cast.world.admin.business, "SYSTEM_AUDITOR").await).await;
}

#[tokio::test]
async fn the_server_does_what_its_document_says_for_an_admin_of_a_business() {
    let Some(python) = Python::find() else { return };
    let cast = Cast::assemble().await;
    cast.fuzz_as_administrator(&python, &cast.administrator(&cast.acme, "BUSINESS_ADMIN").await).await;
}

#[tokio::test]
async fn the_server_does_what_its_document_says_for_an_auditor_of_a_business() {
    let Some(python) = Python::find() else { return };
    let cast = Cast::assemble().await;
    cast.fuzz_as_administrator(&python, &cast.administrator(&cast.acme, "BUSINESS_AUDITOR").await).await;
}

#[tokio::test]
async fn the_server_does_what_its_document_says_for_somebody_at_the_messenger() {
    let Some(python) = Python::find() else { return };
    let cast = Cast::assemble().await;
    let tokens = Tokens { messenger: &cast.user.token, ..NONE };
    let judged = cast.fuzz(&python, tokens, &all_but_the_end("^/api/messenger")).await;
    cast.user.get("/api/messenger/users").await.expect(200);
    assert_is_much(judged);
}

/// By themselves: whatever came after one of them would be a 401.
#[tokio::test]
async fn the_server_does_what_its_document_says_for_those_who_log_out() {
    let Some(python) = Python::find() else { return };
    let cast = Cast::assemble().await;
    let tokens = Tokens { admin: &cast.world.admin.token, messenger: &cast.user.token };
    let operations: Vec<&str> = ENDS.iter().flat_map(|operation| ["--include-operation-id", operation]).collect();
    cast.fuzz(&python, tokens, &operations).await;
    cast.user.get("/api/messenger/users").await.expect_error(401, "UNAUTHORIZED");
    cast.world.admin.get("/api/admin/users").await.expect_error(401, "UNAUTHORIZED");
}

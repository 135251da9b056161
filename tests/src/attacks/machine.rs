//! What others on the same machine see, and whom a demo lets in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use reqwest::Method;
use serde_json::json;

use crate::support::{ADMIN, Person, Server, Settings, anonymous};

const MASTER_KEY: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const DEMO: &str = "00000000-0000-4000-8000-00000000de30";

fn settings(data_dir: &Path, env: &[(&'static str, &str)], args: &[&'static str]) -> Settings {
    let mut all = vec![("SWITCHBOARD_DATA_DIR", data_dir.display().to_string())];
    all.extend(env.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Settings { env: all, args: args.to_vec(), ..Settings::default() }
}

async fn start(settings: &Settings) -> Server {
    Server::run(settings).await.unwrap_or_else(|lines| panic!("{}", lines.join("\n")))
}

/// Permissions of everything in a directory, by path.
fn modes(path: &Path, into: &mut Vec<(String, u32)>) {
    // Postgres runs, and removes files of its own.
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    into.push((path.display().to_string(), metadata.permissions().mode() & 0o777));
    if metadata.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().filter_map(Result::ok) {
            modes(&entry.path(), into);
        }
    }
}

#[tokio::test]
async fn nobody_else_on_the_machine_reads_secrets_or_data() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let secret_file = |name: &str, secret: &str| {
        let path = dir.path().join(name);
        fs::write(&path, format!("{secret}\n")).unwrap();
        path.display().to_string()
    };
    let env = [
        ("SWITCHBOARD_ADMIN_EMAIL", ADMIN.0),
        ("SWITCHBOARD_ADMIN_PASSWORD_FILE", &secret_file("password", ADMIN.1)),
        ("SWITCHBOARD_MASTER_KEY_FILE", &secret_file("key", MASTER_KEY)),
        ("SWITCHBOARD_TURN_SECRET", "a-secret-in-the-environment"),
        ("SWITCHBOARD_TURN_URLS", "turn:127.0.0.1"),
        ("AWS_SECRET_ACCESS_KEY", "another-secret-in-the-environment"),
        ("SWITCHBOARD_DISK_RESERVE_MB", "0"),
    ];
    let server = start(&settings(&data_dir, &env, &[])).await;
    // The secrets in files are in force.
    let admin = Person::log_in_as_admin(&server.url, ADMIN.0, ADMIN.1).await;
    let business = admin.post("/api/admin/businesses", json!({"name": "Acme"})).await.expect(201);
    let business = business.body["business"]["id"].clone();
    let user = json!({
        "email": "ann@example.com", "name": "Ann", "password": crate::support::PASSWORD, "role": "BUSINESS_USER",
        "businessId": business,
    });
    admin.post("/api/admin/users", user).await.expect(201);
    let acme = crate::support::Business { id: business.as_str().unwrap().to_owned() };
    let ann = Person::log_in(&server.url, &acme, "ann@example.com", crate::support::PASSWORD).await;
    ann.upload("diary.txt", "text/plain", b"dear diary".to_vec()).await.expect(201);

    let postmaster = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap();
    let postmaster = postmaster.lines().next().unwrap();
    let environment = fs::read(format!("/proc/{postmaster}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    for secret in ["SWITCHBOARD_", "AWS_", "secret", ADMIN.1, MASTER_KEY] {
        assert!(!environment.contains(secret), "{environment}");
    }

    let mut all = vec![];
    modes(&data_dir, &mut all);
    assert!(all.len() > 100, "there is something");
    for (path, mode) in all {
        // Whom our own Postgres runs as may pass through the data directory, and do nothing else in it.
        let allowed = if path == data_dir.display().to_string() { 0o710 } else { 0o700 };
        assert_eq!(mode & !allowed, 0, "{mode:o} {path}");
    }
}

#[tokio::test]
async fn a_secret_is_given_once_and_its_file_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key").display().to_string();
    let missing = settings(dir.path(), &[("SWITCHBOARD_MASTER_KEY_FILE", &key)], &[]);
    let lines = Server::run(&missing).await.err().unwrap().join("\n");
    assert!(lines.contains("SWITCHBOARD_MASTER_KEY") && lines.contains(&key), "{lines}");
    for (name, file) in [
        ("DATABASE_URL", "DATABASE_URL_FILE"),
        ("SWITCHBOARD_ADMIN_PASSWORD", "SWITCHBOARD_ADMIN_PASSWORD_FILE"),
        ("SWITCHBOARD_MASTER_KEY", "SWITCHBOARD_MASTER_KEY_FILE"),
        ("SWITCHBOARD_TURN_SECRET", "SWITCHBOARD_TURN_SECRET_FILE"),
        ("SWITCHBOARD_EVENT_STORE", "SWITCHBOARD_EVENT_STORE_FILE"),
        ("SWITCHBOARD_BUS", "SWITCHBOARD_BUS_FILE"),
        ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY_FILE"),
    ] {
        let twice = [(name, "a secret"), (file, key.as_str())];
        let lines = Server::run(&settings(dir.path(), &twice, &[])).await.err().unwrap().join("\n");
        assert!(lines.contains("cannot be used with"), "{name}: {lines}");
    }
}

#[tokio::test]
async fn a_demo_is_for_this_machine_and_ends_with_its_flag() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let everywhere = ("SWITCHBOARD_LISTEN", "0.0.0.0:0");
    let lines = Server::run(&settings(&data_dir, &[everywhere], &["--demo"])).await.err().unwrap().join("\n");
    assert!(lines.contains("--demo-public"), "{lines}");
    let log_in = async |server: &Server, api: &str| {
        let url = server.url.replace("0.0.0.0", "127.0.0.1");
        let login = json!({"email": "admin@demo.example", "password": "switchboard-demo", "businessId": DEMO});
        anonymous(&url, Method::POST, &format!("/api/{api}/auth/login"), Some(login)).await.status.as_u16()
    };
    for (env, args, expected) in [
        (vec![], vec!["--demo"], 200),
        (vec![], vec![], 401),
        (vec![everywhere], vec!["--demo", "--demo-public"], 200),
        (vec![everywhere], vec![], 401),
    ] {
        let server = start(&settings(&data_dir, &env, &args)).await;
        for api in ["admin", "messenger"] {
            assert_eq!(log_in(&server, api).await, expected, "{args:?}");
        }
        assert!(server.stop().await);
    }
}

//! The private Postgres: one command starts it, nothing but a bad disk ends it.

use std::path::Path;
use std::process::Command;

use crate::support::{ADMIN, Answer, Person, Server, Settings, anonymous};

fn settings(data_dir: &Path) -> Settings {
    let env = vec![
        ("SWITCHBOARD_DATA_DIR", data_dir.display().to_string()),
        ("SWITCHBOARD_ADMIN_EMAIL", ADMIN.0.to_owned()),
        ("SWITCHBOARD_ADMIN_PASSWORD", ADMIN.1.to_owned()),
    ];
    Settings { env, ..Settings::default() }
}

async fn start(data_dir: &Path) -> Server {
    Server::run(&settings(data_dir)).await.unwrap_or_else(|lines| panic!("{}", lines.join("\n")))
}

async fn does_not_start(settings: &Settings) -> String {
    match Server::run(settings).await {
        Ok(_) => panic!("it starts"),
        Err(lines) => lines.join("\n"),
    }
}

async fn log_in(server: &Server) -> Person {
    Person::log_in_as_admin(&server.url, ADMIN.0, ADMIN.1).await
}

fn postgres_of(data_dir: &Path) -> u32 {
    let pid_file = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap();
    pid_file.lines().next().unwrap().parse().unwrap()
}

fn is_running(process_id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process_id}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

fn kill_9(process_id: u32) {
    assert!(Command::new("kill").args(["-s", "KILL", &process_id.to_string()]).status().unwrap().success());
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn it_is_made_stopped_and_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let server = start(&data_dir).await;
    log_in(&server).await;
    let postgres = postgres_of(&data_dir);
    assert!(server.stop().await);
    assert!(!is_running(postgres), "it stops with the server");
    let server = start(&data_dir).await;
    log_in(&server).await;
    assert!(server.stop().await);
}

#[tokio::test]
async fn it_survives_sigkill_of_the_server_of_itself_and_of_both() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let server = start(&data_dir).await;
    let admin = log_in(&server).await;

    let postgres = postgres_of(&data_dir);
    kill_9(postgres);
    until("Postgres is started again", || {
        std::fs::read_to_string(data_dir.join("postgres/postmaster.pid"))
            .is_ok_and(|pid_file| !pid_file.starts_with(&postgres.to_string()) && pid_file.contains("ready"))
    })
    .await;
    // The same server goes on by itself.
    let mut answer: Option<Answer> = None;
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    while answer.as_ref().is_none_or(|answer| answer.status != 201) && tokio::time::Instant::now() < deadline {
        answer = Some(admin.post("/api/admin/businesses", serde_json::json!({"name": "Acme"})).await);
    }
    answer.unwrap().expect(201);

    let postgres = postgres_of(&data_dir);
    server.kill();
    until("Postgres dies with its parent", || !is_running(postgres)).await;
    let server = start(&data_dir).await;
    log_in(&server).await;

    let postgres = postgres_of(&data_dir);
    kill_9(postgres);
    server.kill();
    let server = start(&data_dir).await;
    let admin = log_in(&server).await;
    assert_eq!(admin.get("/api/admin/businesses").await.expect(200).body["total"], 2, "nothing is lost");
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_server_killed_and_started_at_once_waits_for_the_postgres_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    for _ in 0..3 {
        let server = start(&data_dir).await;
        log_in(&server).await;
        server.kill();
    }
}

#[tokio::test]
async fn two_servers_do_not_share_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let server = start(&data_dir).await;
    let said = does_not_start(&settings(&data_dir)).await;
    assert!(said.contains("another switchboard runs in"), "{said}");
    log_in(&server).await;
}

#[tokio::test]
async fn without_binaries_it_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(&dir.path().join("data"));
    settings.env.push(("SWITCHBOARD_POSTGRES_BIN", dir.path().display().to_string()));
    let said = does_not_start(&settings).await;
    assert!(said.contains("apt install postgresql") && said.contains("DATABASE_URL"), "{said}");
}

#[tokio::test]
async fn a_cluster_of_another_major_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = dir.path().join("data/postgres");
    std::fs::create_dir_all(&cluster).unwrap();
    std::fs::write(cluster.join("PG_VERSION"), "9\n").unwrap();
    let said = does_not_start(&settings(&dir.path().join("data"))).await;
    assert!(said.contains("no Postgres 9 (which the data directory was made with"), "{said}");
    assert_eq!(std::fs::read_to_string(cluster.join("PG_VERSION")).unwrap(), "9\n");
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let said = does_not_start(&settings(&dir.path().join("file/data"))).await;
    assert!(said.contains("the data directory") && said.contains("file/data"), "{said}");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_no_problem() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("a-very-long-name-of-a-directory-".repeat(4)).join("data");
    let server = start(&data_dir).await;
    log_in(&server).await;
    assert!(server.stop().await);
}

#[tokio::test]
async fn an_interrupted_first_start_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let half_made = dir.path().join("data/postgres.new");
    std::fs::create_dir_all(&half_made).unwrap();
    std::fs::write(half_made.join("PG_VERSION"), "15\n").unwrap();
    let server = start(&dir.path().join("data")).await;
    log_in(&server).await;
    assert!(server.stop().await);
}

#[tokio::test]
async fn settings_that_make_no_sense_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value, expected) in [
        ("DATABASE_URL", "nonsense", "DATABASE_URL"),
        ("SWITCHBOARD_ADMIN_EMAIL", "nobody", "SWITCHBOARD_ADMIN_EMAIL"),
        ("SWITCHBOARD_ADMIN_PASSWORD", "short", "SWITCHBOARD_ADMIN_PASSWORD"),
        ("SWITCHBOARD_MASTER_KEY", "short", "SWITCHBOARD_MASTER_KEY"),
        ("SWITCHBOARD_LISTEN", "nowhere", "--listen"),
    ] {
        let mut settings = settings(&dir.path().join("data"));
        settings.env.push((name, value.to_owned()));
        let said = does_not_start(&settings).await;
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn the_demo_business_is_there_and_its_people_write_to_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { args: vec!["--demo"], ..settings(&dir.path().join("data")) };
    let business = crate::support::Business { id: "00000000-0000-4000-8000-00000000de30".to_owned() };
    for _ in 0..2 {
        let server = Server::run(&settings).await.unwrap_or_else(|lines| panic!("{}", lines.join("\n")));
        let alice = Person::log_in(&server.url, &business, "alice@demo.example", "switchboard-demo").await;
        let bob = Person::log_in(&server.url, &business, "bob@demo.example", "switchboard-demo").await;
        alice.send_text(&bob, "Hello!").await.expect(201);
        anonymous(&server.url, reqwest::Method::GET, "/docs", None).await.expect(200);
        assert!(server.lines().iter().any(|line| line.contains("alice@demo.example")));
        assert!(server.stop().await);
    }
}

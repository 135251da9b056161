//! What was acknowledged is there, whatever happens.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Database, Person, Server, Settings, World, full_scale, until_current};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_that_was_acknowledged_survives_kill_9_once() {
    const SENDERS: usize = 64;
    let mut world = World::start().await;
    let acme = world.business("Acme").await;
    let bob = world.person(&acme, "Bob").await;
    let mut senders = vec![];
    for n in 0..8 {
        senders.push(world.person(&acme, &format!("Sender{n}")).await);
    }
    let rounds: u32 = if full_scale() { 20 } else { 3 };
    let mut acknowledged: Vec<String> = vec![];
    for round in 0..rounds {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for n in 0..SENDERS {
            let sender = senders[n % senders.len()].at(&world.server.url);
            let (bob, is_over) = (bob.clone(), is_over.clone());
            tasks.spawn(async move { send_until_cut_off(&sender, &bob, &is_over, &format!("{round}-{n}")).await });
        }
        tokio::time::sleep(std::time::Duration::from_millis(300 + 40 * u64::from(round))).await;
        world.server.kill();
        is_over.store(true, Ordering::Relaxed);
        acknowledged.extend(tasks.join_all().await.into_iter().flatten());
        let server = Server::start(&world.database).await;
        world = World::around(world.database, server).await;
    }
    assert!(acknowledged.len() > SENDERS, "only {} messages were sent", acknowledged.len());

    let pool = world.database.pool().await;
    let in_log: Vec<String> = sqlx::query_scalar("SELECT substr(stream, 9) FROM log WHERE event_type = 'MessageSent'")
        .fetch_all(&pool)
        .await
        .unwrap();
    let positions: (i64, i64) =
        sqlx::query_as("SELECT count(*), max(position) FROM log").fetch_one(&pool).await.unwrap();
    assert_eq!(positions.0, positions.1, "positions have no gaps");
    until_current(&world.server.url).await;
    // Read models catch up with the log.
    let last = acknowledged.last().unwrap();
    let position = positions.1.to_string();
    let path = format!("/api/messenger/messages/{last}");
    let bob = bob.at(&world.server.url);
    bob.request(Method::GET, &path, None, &[("X-Min-Position", &position)]).await.expect(200);
    let in_read_model: Vec<String> =
        sqlx::query_scalar("SELECT id::text FROM messages").fetch_all(&pool).await.unwrap();
    pool.close().await;
    for (place, found) in [("log", in_log), ("read model", in_read_model)] {
        let distinct: HashSet<&String> = found.iter().collect();
        assert_eq!(distinct.len(), found.len(), "something is in the {place} twice");
        for id in &acknowledged {
            assert!(distinct.contains(id), "message {id} was acknowledged and is not in the {place}");
        }
    }
}

/// Ids of the messages that were acknowledged.
async fn send_until_cut_off(from: &Person, to: &Person, is_over: &AtomicBool, name: &str) -> Vec<String> {
    let mut acknowledged = vec![];
    for n in 0.. {
        let body = json!({"recipientId": to.id, "content": format!("{name}-{n}")});
        match from.try_request(Method::POST, "/api/messenger/messages", Some(body), &[]).await {
            Ok(answer) if answer.status == 201 => {
                acknowledged.push(answer.body["message"]["id"].as_str().unwrap().to_owned());
            }
            _ if is_over.load(Ordering::Relaxed) => break,
            // The server is gone, or about to be.
            _ => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_finishes_what_it_has_accepted() {
    let world = World::start().await;
    let acme = world.business("Acme").await;
    let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let (alice, bob, is_over) = (alice.clone(), bob.clone(), is_over.clone());
        tasks.spawn(async move { send_until_cut_off(&alice, &bob, &is_over, &n.to_string()).await });
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let World { server, database, .. } = world;
    let ended_well = server.stop();
    let ended_well = ended_well.await;
    is_over.store(true, Ordering::Relaxed);
    let acknowledged = tasks.join_all().await.concat();
    assert!(ended_well);
    let pool = database.pool().await;
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM log WHERE event_type = 'MessageSent'").fetch_one(&pool).await.unwrap();
    pool.close().await;
    assert!(!acknowledged.is_empty());
    assert_eq!(kept, i64::try_from(acknowledged.len()).unwrap(), "what was kept is what was acknowledged");
}

#[tokio::test]
async fn two_servers_do_not_share_a_port() {
    let database = Database::create().await;
    let server = Server::start(&database).await;
    let listen = ("SWITCHBOARD_LISTEN", server.url.trim_start_matches("http://").to_owned());
    let settings = Settings { env: vec![listen, ("DATABASE_URL", database.url())], ..Settings::default() };
    let Err(lines) = Server::run(&settings).await else { panic!("two servers listen on one port") };
    assert!(lines.iter().any(|line| line.contains("can't listen on")), "{lines:?}");
}

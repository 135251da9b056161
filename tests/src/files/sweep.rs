//! What no message carries goes after a day, and nothing else does.

use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::scene::{Scene, download, send_files, status_for, upload};
use crate::support::{DEADLINE, until_current};

/// Makes something that has happened to a file as old as can be, in the log and wherever it is remembered.
pub(super) async fn long_ago(scene: &Scene, file: &str, event_type: &str, field: &str) {
    let pool = scene.pool().await;
    let rewritten = sqlx::query(
        "UPDATE log SET data = convert_to(replace(convert_from(data, 'UTF8'), '\"' || $3 || '\":\"2', '\"' || $3 || '\":\"1'), 'UTF8')
         WHERE event_type = $2 AND convert_from(data, 'UTF8') LIKE '%\"fileId\":\"' || $1 || '\"%'",
    )
    .bind(file)
    .bind(event_type)
    .bind(field)
    .execute(&pool)
    .await
    .unwrap();
    assert!(rewritten.rows_affected() > 0);
    for statement in [
        "UPDATE files SET idle_since = idle_since - interval '1000 years' WHERE id = $1::uuid",
        "UPDATE file_carriers SET attached_at = attached_at - interval '1000 years' WHERE file_id = $1::uuid",
    ] {
        sqlx::query(statement).bind(file).execute(&pool).await.unwrap();
    }
    pool.close().await;
}

/// Waits until the read model knows of everything in the log.
pub(super) async fn until_remembered(scene: &Scene) {
    until_current(&scene.world.server.url).await;
}

/// Waits until a file doesn't exist for its uploader any more.
pub(super) async fn until_gone(scene: &Scene, id: &str) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while status_for(&scene.alice, id).await != 404 {
        assert!(tokio::time::Instant::now() < deadline, "it stays");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn delete_message(scene: &Scene, sent: &Value) {
    let path = format!("/api/messenger/messages/{}", sent["message"]["id"].as_str().unwrap());
    scene.alice.request(Method::DELETE, &path, None, &[]).await.expect(200);
}

fn keeps(scene: &Scene, id: &str) -> bool {
    scene.kept().iter().any(|path| path.file_name().unwrap() == id)
}

#[tokio::test]
async fn a_file_that_nobody_has_sent_for_a_day_goes_and_those_that_were_sent_stay() {
    let scene = Scene::start().await;
    let (idle, fresh) = (upload(&scene.alice, b"idle").await, upload(&scene.alice, b"fresh").await);
    let sent = upload(&scene.alice, b"sent").await;
    send_files(&scene.alice, &scene.bob, &[&sent]).await.expect(201);
    until_remembered(&scene).await;
    for old in [&idle, &sent] {
        long_ago(&scene, old, "FileUploaded", "uploadedAt").await;
    }
    let storage = scene.alice.get("/api/messenger/me").await.body["storage"]["usedBytes"].clone();
    assert_eq!(storage, b"idlefreshsent".len());
    let bytes_of_idle = scene.kept().into_iter().find(|path| path.ends_with(&idle)).unwrap();
    let scene = scene.kill_and_restart().await;
    scene.world.wait_for_events("FileRemoved", 1).await;
    until_gone(&scene, &idle).await;
    scene.wait_until_kept(2).await;
    assert!(!keeps(&scene, &idle), "its bytes go with it");
    until_remembered(&scene).await;
    let storage = scene.alice.get("/api/messenger/me").await.body["storage"]["usedBytes"].clone();
    assert_eq!(storage, b"freshsent".len(), "what it took is free again");
    assert_eq!(download(&scene.alice, &fresh, &[]).await.text(), (200, "fresh"));
    assert_eq!(download(&scene.bob, &sent, &[]).await.text(), (200, "sent"));
    send_files(&scene.alice, &scene.bob, &[&idle]).await.expect_error(404, "NOT_FOUND");
    // As if it had died between removing the file and deleting its bytes.
    std::fs::create_dir_all(bytes_of_idle.parent().unwrap()).unwrap();
    std::fs::write(&bytes_of_idle, b"idle").unwrap();
    assert_eq!(scene.kept().len(), 3);
    let scene = scene.kill_and_restart().await;
    scene.wait_until_kept(2).await;
    assert_eq!(scene.world.events("FileRemoved").await, 1);
}

#[tokio::test]
async fn a_file_goes_a_day_after_its_message_was_deleted_however_old_it_is() {
    let scene = Scene::start().await;
    let (early, late) = (upload(&scene.alice, b"early").await, upload(&scene.alice, b"late").await);
    let mut messages = vec![];
    for id in [&early, &late] {
        messages.push(send_files(&scene.alice, &scene.bob, &[id]).await.expect(201).body);
    }
    until_remembered(&scene).await;
    for id in [&early, &late] {
        long_ago(&scene, id, "FileUploaded", "uploadedAt").await;
        long_ago(&scene, id, "FileAttached", "attachedAt").await;
    }
    // A server that has forgotten how young they were.
    let scene = scene.kill_and_restart().await;
    for message in &messages {
        delete_message(&scene, message).await;
    }
    until_remembered(&scene).await;
    long_ago(&scene, &early, "FileDetached", "detachedAt").await;
    let scene = scene.kill_and_restart().await;
    scene.world.wait_for_events("FileRemoved", 1).await;
    until_gone(&scene, &early).await;
    scene.wait_until_kept(1).await;
    assert_eq!(download(&scene.alice, &late, &[]).await.text(), (200, "late"), "it isn't a day since its message went");
    assert_eq!(scene.world.events("FileRemoved").await, 1);
}

#[tokio::test]
async fn a_file_that_was_given_to_a_message_that_never_came_is_idle_again() {
    let scene = Scene::start().await;
    let id = upload(&scene.alice, b"almost sent").await;
    send_files(&scene.alice, &scene.bob, &[&id]).await.expect(201);
    until_remembered(&scene).await;
    // As if the server had died between giving it to a message and sending that: the message that came is another one.
    let nobody = Uuid::now_v7();
    let pool = scene.pool().await;
    for statement in [
        "UPDATE log SET data = convert_to(regexp_replace(convert_from(data, 'UTF8'), '\"messageId\":\"[^\"]*\"', '\"messageId\":\"' || $2 || '\"'), 'UTF8')
         WHERE event_type = 'FileAttached' AND convert_from(data, 'UTF8') LIKE '%' || $1 || '%'",
        "UPDATE file_carriers SET message_id = $2::uuid, is_sent = false WHERE file_id = $1::uuid",
    ] {
        let done = sqlx::query(statement).bind(&id).bind(nobody.to_string()).execute(&pool).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
    }
    pool.close().await;
    long_ago(&scene, &id, "FileUploaded", "uploadedAt").await;
    long_ago(&scene, &id, "FileAttached", "attachedAt").await;
    let scene = scene.kill_and_restart().await;
    scene.world.wait_for_events("FileDetached", 1).await;
    assert_eq!(
        download(&scene.alice, &id, &[]).await.text(),
        (200, "almost sent"),
        "its uploader may send it once more"
    );
    assert_eq!(status_for(&scene.bob, &id).await, 404);
    until_remembered(&scene).await;
    assert_eq!(scene.world.events("FileRemoved").await, 0);
    long_ago(&scene, &id, "FileDetached", "detachedAt").await;
    let scene = scene.kill_and_restart().await;
    scene.world.wait_for_events("FileRemoved", 1).await;
    scene.wait_until_kept(0).await;
    until_gone(&scene, &id).await;
}

#[tokio::test]
async fn a_file_of_a_deleted_message_that_a_dying_server_left_with_it_is_taken_from_it() {
    let scene = Scene::start().await;
    let id = upload(&scene.alice, b"left").await;
    let sent = send_files(&scene.alice, &scene.bob, &[&id]).await.expect(201).body;
    delete_message(&scene, &sent).await;
    until_remembered(&scene).await;
    // As if it had died before the second of the two: what was taken from the message was another file.
    let other = Uuid::now_v7();
    let pool = scene.pool().await;
    let moved = "UPDATE log SET stream = replace(stream, $1, $2), data = convert_to(replace(convert_from(data, 'UTF8'), $1, $2), 'UTF8')
                 WHERE event_type = 'FileDetached'";
    // The first one of its stream, or the log would have a gap.
    let moved = moved.replace("SET stream", "SET stream_version = 1, stream");
    let done = sqlx::query(sqlx::AssertSqlSafe(moved)).bind(&id).bind(other.to_string()).execute(&pool).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    let carries = "INSERT INTO file_carriers (file_id, message_id, attached_at, is_sent, is_deleted)
                   VALUES ($1::uuid, $2::uuid, now(), true, true)";
    let message = sent["message"]["id"].as_str().unwrap();
    sqlx::query(carries).bind(&id).bind(message).execute(&pool).await.unwrap();
    pool.close().await;
    let scene = scene.kill_and_restart().await;
    scene.world.wait_for_events("FileDetached", 2).await;
    assert_eq!(status_for(&scene.bob, &id).await, 404);
    assert_eq!(download(&scene.alice, &id, &[]).await.text(), (200, "left"));
}

#[tokio::test]
async fn bytes_that_a_dying_server_left_without_a_file_go_when_they_are_old() {
    let scene = Scene::start().await;
    let known = upload(&scene.alice, b"known").await;
    until_remembered(&scene).await;
    // Each where the server would keep it.
    let own = scene.kept()[0].parent().unwrap().parent().unwrap().to_owned();
    let place = |name: &str| {
        let id = name.split('#').next().unwrap();
        let folder = own.join(&id[id.len() - 2..]);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    };
    let orphans = ["of-another-kind".to_owned(), Uuid::now_v7().to_string(), format!("{}#1", Uuid::now_v7())];
    for name in orphans.iter().chain([&Uuid::now_v7().to_string()]) {
        std::fs::write(place(name), b"orphan").unwrap();
    }
    let two_days_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(48);
    for name in orphans.iter().chain([&known]) {
        std::fs::File::options().write(true).open(place(name)).unwrap().set_modified(two_days_ago).unwrap();
    }
    assert_eq!(scene.kept().len(), 5);
    let scene = scene.kill_and_restart().await;
    // What is known, what is young, and what is none of ours.
    scene.wait_until_kept(3).await;
    assert!(keeps(&scene, "of-another-kind"));
    assert_eq!(download(&scene.alice, &known, &[]).await.text(), (200, "known"));
}

//! Files in S3, as in the data directory.

use std::time::Duration;

use super::memory::{ROOM_KIB, growth_kib, length_of, upload_one};
use super::scene::{FILES, MAX_BYTES, Scene, download, noise, one_file, raw_head, say, send_files, status_for, upload};
use super::sweep::{long_ago, until_gone, until_remembered};
use crate::support::{Curl, Cut, DEADLINE, Proxy, Python, S3Server, eventually, free_port};

/// Longer than the server tries.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a server needs to keep its files there.
fn settings(s3: &S3Server) -> Vec<(&'static str, String)> {
    let mut env = s3.env();
    env.push(("SWITCHBOARD_BLOBS", format!("s3://{}/some/where", s3.bucket())));
    env
}

/// The same with one of them changed.
fn settings_but(s3: &S3Server, name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    let mut env = settings(s3);
    env.retain(|(other, _)| *other != name);
    env.push((name, value.to_owned()));
    env
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_in_s3_come_back_in_whole_and_in_part_until_they_are_swept() {
    let (Some(python), Some(curl)) = (Python::find(), Curl::find()) else { return };
    let s3 = S3Server::start(&python).await;
    let scene = Scene::with(settings(&s3)).await;
    // One part, and a few of them.
    for len in [1, 300_000, 12_000_001] {
        let bytes = noise(len);
        let id = upload(&scene.alice, &bytes).await;
        let whole = download(&scene.alice, &id, &[]).await;
        assert!(whole.status == 200 && whole.bytes == bytes, "{len} bytes");
        assert_eq!(whole.header("content-length"), len.to_string());
        assert_eq!(whole.header("etag").trim_matches('"'), scene.sha256(&bytes).await, "not S3's");
        let last = download(&scene.alice, &id, &[("Range", "bytes=-1")]).await;
        assert!(last.status == 206 && last.bytes == bytes[len - 1..], "{len} bytes");
        assert_eq!(last.header("content-range"), format!("bytes {0}-{0}/{len}", len - 1));
        if len > 6_000_000 {
            let part = download(&scene.alice, &id, &[("Range", "bytes=5242000-5243999")]).await;
            assert!(part.bytes == bytes[5_242_000..5_244_000], "over the end of a part");
        }
        assert_eq!(download(&scene.alice, &id, &[("Range", "bytes=99999999-")]).await.status, 416);
        assert_eq!(download(&scene.alice, &id, &[("If-None-Match", whole.header("etag"))]).await.status, 304);
        assert_eq!(status_for(&scene.bob, &id).await, 404);
        send_files(&scene.alice, &scene.bob, &[&id]).await.expect(201);
        assert!(download(&scene.bob, &id, &[]).await.bytes == bytes, "{len} bytes");
    }
    assert!(scene.kept().is_empty(), "nothing is kept here");
    let objects = s3.list(&curl, "").await;
    assert_eq!(objects.matches("<Key>").count(), 3);
    assert_eq!(objects.matches("<Key>some/where/").count(), 3, "{objects}");

    let idle = upload(&scene.alice, b"idle").await;
    assert_eq!(s3.list(&curl, "").await.matches(&idle).count(), 1);
    until_remembered(&scene).await;
    long_ago(&scene, &idle, "FileUploaded", "uploadedAt").await;
    let scene = scene.kill_and_restart().await;
    scene.world.wait_for_events("FileRemoved", 1).await;
    until_gone(&scene, &idle).await;
    s3.until(&curl, "", |objects| !objects.contains(&idle)).await;
    assert_eq!(s3.list(&curl, "").await.matches("<Key>").count(), 3, "the others stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_megabytes_go_to_s3_and_a_byte_more_leaves_nothing() {
    let (Some(python), Some(curl)) = (Python::find(), Curl::find()) else { return };
    let s3 = S3Server::start(&python).await;
    let scene = Scene::with(settings(&s3)).await;
    let bytes = noise(MAX_BYTES + 1);
    upload_one(&scene.alice, &bytes[..1_000]).await;
    let mut id = String::new();
    for round in 1..=2 {
        let up = async { id = upload_one(&scene.alice, &bytes[..MAX_BYTES]).await };
        let growth = growth_kib(&scene, &format!("upload {round} to S3"), up).await;
        // Parts of 5 MiB, two at a time, in more than one copy.
        assert!(growth < 2 * ROOM_KIB, "{growth} KiB for an upload");
        let down = async { assert_eq!(length_of(&scene.alice, &id).await, MAX_BYTES) };
        let growth = growth_kib(&scene, &format!("download {round} from S3"), down).await;
        assert!(growth < ROOM_KIB, "{growth} KiB for a download");
    }
    assert!(download(&scene.alice, &id, &[]).await.bytes == bytes[..MAX_BYTES], "it isn't what was uploaded");
    let events = scene.world.all_events().await;
    let too_large = scene.alice.upload("x", "application/x-large", bytes).await;
    too_large.expect_error(413, "PAYLOAD_TOO_LARGE");
    scene.alice.upload("x", "text/plain", vec![]).await.expect_error(422, "VALIDATION_ERROR");
    scene.alice.upload("x", "image/png", b"hello".to_vec()).await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(scene.world.all_events().await, events);
    assert_eq!(s3.list(&curl, "").await.matches("<Key>").count(), 3);
    s3.until(&curl, "uploads=", |unfinished| !unfinished.contains("<Key>")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_leaves_nothing_in_s3() {
    let (Some(python), Some(curl)) = (Python::find(), Curl::find()) else { return };
    let s3 = S3Server::start(&python).await;
    let scene = Scene::with(settings(&s3)).await;
    let whole = one_file(&noise(12_000_000));
    let head = raw_head(&scene.alice, &format!("Content-Length: {}\r\n", whole.len()));
    for end in [10, 1_000_000, 6_000_000, 11_000_000, whole.len() - 10] {
        drop(say(&scene.alice, &[head.as_bytes(), &whole[..end]].concat()).await);
    }
    // Whatever was begun before is over by then, or on its way to it.
    upload(&scene.alice, b"a later one").await;
    s3.until(&curl, "uploads=", |unfinished| !unfinished.contains("<Key>")).await;
    s3.until(&curl, "", |objects| objects.matches("<Key>").count() == 1).await;
    assert_eq!(scene.world.events("FileUploaded").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_s3_is_down_files_are_unavailable_and_afterwards_they_are_there() {
    let Some(python) = Python::find() else { return };
    let s3 = S3Server::start(&python).await;
    let proxy = Proxy::new(s3.url());
    let link = proxy.link().await;
    let scene = Scene::with(settings_but(&s3, "AWS_ENDPOINT", &link.url)).await;
    let id = upload(&scene.alice, b"kept").await;
    let events = scene.world.all_events().await;
    proxy.turn_to(&format!("http://127.0.0.1:{}", free_port()));
    // If one is open still.
    let _ = tokio::time::timeout(Duration::from_millis(500), link.cut(Cut::Reset { after: 0 })).await;
    let down = async {
        let up = scene.alice.upload("x", "text/plain", b"hello".to_vec()).await;
        let error = up.expect_error(503, "UNAVAILABLE");
        let got = download(&scene.alice, &id, &[]).await;
        assert_eq!(got.expect_error(503, "UNAVAILABLE"), error);
        assert!(got.headers.get("etag").is_none() && got.header("cache-control") == "no-store");
    };
    tokio::time::timeout(PATIENCE, down).await.expect("whoever waits is told");
    // What needs no bytes goes on.
    send_files(&scene.alice, &scene.bob, &[&id]).await.expect(201);
    scene.alice.send_text(&scene.bob, "hello").await.expect(201);
    assert_eq!(scene.world.events("FileUploaded").await, 1);
    assert_eq!(scene.world.all_events().await, events + 3, "it is attached, and sent, and so is the text");
    proxy.turn_to(s3.url());
    let back = async {
        while status_for(&scene.bob, &id).await != 200 {}
        upload(&scene.alice, b"another one").await;
    };
    tokio::time::timeout(DEADLINE, back).await.expect("it works again");
    assert_eq!(download(&scene.bob, &id, &[]).await.text(), (200, "kept"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_s3_breaks_off_is_not_taken_for_the_whole() {
    let Some(python) = Python::find() else { return };
    let s3 = S3Server::start(&python).await;
    let proxy = Proxy::new(s3.url());
    let link = proxy.link().await;
    let scene = Scene::with(settings_but(&s3, "AWS_ENDPOINT", &link.url)).await;
    let bytes = noise(30_000_000);
    let id = upload_one(&scene.alice, &bytes).await;
    let request = scene.alice.http.get(format!("{}{FILES}/{id}", scene.alice.url)).bearer_auth(&scene.alice.token);
    let mut response = request.send().await.unwrap().error_for_status().unwrap();
    let mut got = response.chunk().await.unwrap().unwrap().to_vec();
    link.cut(Cut::Reset { after: 0 }).await;
    let ended = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => got.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(bytes.starts_with(&got), "what came is right");
    assert_eq!(ended, got.len() == bytes.len(), "{} bytes were said to be all", got.len());
}

#[tokio::test]
async fn credentials_that_s3_refuses_are_told_to_nobody() {
    let Some(python) = Python::find() else { return };
    let s3 = S3Server::start(&python).await;
    for (name, wrong) in [("AWS_SECRET_ACCESS_KEY", "not-the-key"), ("AWS_ACCESS_KEY_ID", "AKIANOBODY")] {
        let env = settings_but(&s3, name, wrong);
        let scene = Scene::with(env.clone()).await;
        let events = scene.world.all_events().await;
        let answer = scene.alice.upload("x", "text/plain", b"hello".to_vec()).await;
        let error = answer.expect_error(503, "UNAVAILABLE");
        let lines = || scene.world.server.lines().join("\n");
        eventually("the operator is told", async || lines().contains("the file store failed")).await;
        let lines = lines();
        for (name, secret) in env.iter().filter(|(name, _)| *name != "AWS_ALLOW_HTTP" && *name != "AWS_REGION") {
            assert!(!error.contains(secret.as_str()), "{name} is in the answer: {error}");
        }
        let secret = &env.iter().find(|(name, _)| *name == "AWS_SECRET_ACCESS_KEY").unwrap().1;
        assert!(!lines.contains(secret.as_str()), "the secret is in the log");
        assert!(!error.to_lowercase().contains("signature") && !error.contains("s3"), "{error}");
        assert_eq!(scene.world.all_events().await, events);
        scene.alice.send_text(&scene.bob, "hello").await.expect(201);
    }
}

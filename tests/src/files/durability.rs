//! What was acknowledged is there, whatever happens.

use futures_util::future::join_all;

use super::scene::{Scene, download, id_of, noise};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_that_was_acknowledged_survives_kill_9() {
    let scene = Scene::start().await;
    let bytes = noise(2_000_000);
    let of = |n: usize| bytes[n * 1000..2_000_000 - n * 50_000].to_vec();
    let uploads = (0..20).map(|n| {
        let (alice, bytes) = (&scene.alice, of(n));
        async move { id_of(&alice.upload(&format!("{n}.bin"), "application/x-n", bytes).await.expect(201).body["file"]) }
    });
    let ids = join_all(uploads).await;
    let scene = scene.kill_and_restart().await;
    for (n, id) in ids.iter().enumerate() {
        let got = download(&scene.alice, id, &[]).await;
        assert!(got.status == 200 && got.bytes == of(n), "{n}.bin isn't what was acknowledged");
        assert_eq!(got.header("etag").trim_matches('"'), scene.sha256(&got.bytes).await);
        assert!(got.header("content-disposition").contains(&format!("\"{n}.bin\"")));
    }
    assert_eq!(scene.kept().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_kill_9_interrupts_are_there_whole_or_unknown() {
    let mut scene = Scene::start().await;
    let bytes = noise(3_000_000);
    let mut acknowledged = vec![];
    for round in 0..4 {
        let mut uploading = tokio::task::JoinSet::new();
        for n in 0..8 {
            let (alice, bytes) = (scene.alice.at(&scene.world.server.url), bytes.clone());
            uploading.spawn(async move {
                let form = reqwest::multipart::Form::new();
                let part = reqwest::multipart::Part::bytes(bytes).file_name(format!("{round}-{n}"));
                let request =
                    alice.http.post(format!("{}{}", alice.url, super::scene::FILES)).bearer_auth(&alice.token);
                let response = request.multipart(form.part("file", part)).send().await.ok()?;
                let answer = crate::support::Answer::of(response).await.ok()?;
                (answer.status == 201).then(|| id_of(&answer.body["file"]))
            });
        }
        // As soon as the first one is through, the others are at every stage.
        if let Some(first) = uploading.join_next().await {
            acknowledged.extend(first.unwrap());
        }
        scene = scene.kill_and_restart().await;
        acknowledged.extend(uploading.join_all().await.into_iter().flatten());
    }
    assert!(!acknowledged.is_empty());
    let pool = scene.pool().await;
    let known: Vec<String> = sqlx::query_scalar("SELECT substr(stream, 6) FROM log WHERE event_type = 'FileUploaded'")
        .fetch_all(&pool)
        .await
        .unwrap();
    pool.close().await;
    for id in &acknowledged {
        assert!(known.contains(id), "{id} was acknowledged and is not in the log");
    }
    for id in &known {
        let got = download(&scene.alice, id, &[]).await;
        assert!(got.status == 200 && got.bytes == bytes, "{id} is in the log and isn't whole");
    }
    let left_over = scene.kept().len() - known.len();
    eprintln!(
        "{} uploads of 32 are known, {} were acknowledged, {left_over} have left bytes",
        known.len(),
        acknowledged.len()
    );
}

//! Files pass through the server without being held in it.

use std::time::Instant;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::scene::{FILES, MAX_BYTES, Scene, id_of, multipart_type, noise, post};
use crate::support::{DEADLINE, Person};

/// What one file may take at most, in KiB.
pub(super) const ROOM_KIB: u64 = 16 * 1024;

/// The server's memory: what it has now, or the most that it had since it was asked to forget.
fn memory_kib(server: u32, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// Does something; by how much the server's memory was larger at its worst than it was before.
pub(super) async fn growth_kib(scene: &Scene, what: &str, work: impl Future<Output = ()>) -> u64 {
    let server = scene.world.server.pid();
    // The worst so far is forgotten.
    std::fs::write(format!("/proc/{server}/clear_refs"), "5").unwrap();
    let (before, began) = (memory_kib(server, "VmRSS"), Instant::now());
    work.await;
    let growth = memory_kib(server, "VmHWM").saturating_sub(before);
    let heap = memory_kib(server, "RssAnon");
    eprintln!(
        "{what}: {before} KiB before, {growth} KiB more at worst (heap afterwards {heap} KiB), in {:?}",
        began.elapsed()
    );
    growth
}

/// Downloads a file and keeps nothing of it; how long it was.
pub(super) async fn length_of(person: &Person, id: &str) -> usize {
    let request = person.http.get(format!("{}{FILES}/{id}", person.url)).bearer_auth(&person.token);
    let chunks = request.send().await.unwrap().error_for_status().unwrap().bytes_stream();
    chunks.fold(0, |len, chunk| async move { len + chunk.unwrap().len() }).await
}

pub(super) async fn upload_one(person: &Person, bytes: &[u8]) -> String {
    id_of(&person.upload("large.bin", "application/x-large", bytes.to_vec()).await.expect(201).body["file"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_fifty_megabytes_takes_little_memory_up_and_down_also_when_they_are_four() {
    let scene = Scene::start().await;
    let bytes = noise(MAX_BYTES);
    // Whatever is made once is made.
    let small = upload_one(&scene.alice, &bytes[..1_000_000]).await;
    length_of(&scene.alice, &small).await;
    let mut id = String::new();
    for round in 1..=3 {
        let up = async { id = upload_one(&scene.alice, &bytes).await };
        let growth = growth_kib(&scene, &format!("upload {round}"), up).await;
        assert!(growth < ROOM_KIB, "{growth} KiB for an upload");
        let down = async { assert_eq!(length_of(&scene.alice, &id).await, MAX_BYTES) };
        let growth = growth_kib(&scene, &format!("download {round}"), down).await;
        assert!(growth < ROOM_KIB, "{growth} KiB for a download");
    }
    let four = async { drop(join_all((0..4).map(|_| upload_one(&scene.alice, &bytes))).await) };
    let growth = growth_kib(&scene, "4 uploads at once", four).await;
    assert!(growth < 4 * ROOM_KIB, "{growth} KiB for 4 uploads");
    let four = async { assert_eq!(join_all((0..4).map(|_| length_of(&scene.alice, &id))).await, [MAX_BYTES; 4]) };
    let growth = growth_kib(&scene, "4 downloads at once", four).await;
    assert!(growth < 4 * ROOM_KIB, "{growth} KiB for 4 downloads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_file_takes_little_memory_either() {
    let scene = Scene::start().await;
    upload_one(&scene.alice, b"whatever is made once").await;
    let start = "--a-boundary-of-the-tests\r\n";
    let head = format!("{start}Content-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n");
    let other = head.replace("name=\"file\"", "name=\"other\"");
    let file = format!("{head}\r\nhello\r\n");
    let mut wrong = vec![];
    for (what, beginning) in [
        ("before the first boundary", String::new()),
        ("in a head", head.clone()),
        ("in a name", format!("{start}Content-Disposition: form-data; name=\"")),
        ("in another field", format!("{other}\r\n")),
        ("in a field after the file", format!("{file}{other}\r\n")),
        ("in a head after the file", format!("{file}{other}")),
        ("after the end", format!("{file}--a-boundary-of-the-tests--\r\n")),
    ] {
        // Letters, since the head may be text. It doesn't say how much there will be.
        let letters = (0..MAX_BYTES / 65_536).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 65_536]));
        let beginning = std::iter::once(Ok(beginning.into_bytes()));
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(beginning.chain(letters)));
        let mut status = None;
        let answered = async {
            let answer = timeout(DEADLINE, post(&scene.alice, Some(&multipart_type()), body)).await;
            status = answer.ok().map(|answer| answer.status.as_u16());
        };
        let growth = growth_kib(&scene, &format!("50 MB {what}"), answered).await;
        if growth >= ROOM_KIB || !matches!(status, Some(201 | 413 | 422)) {
            wrong.push(format!("50 MB {what}: {growth} KiB, {status:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

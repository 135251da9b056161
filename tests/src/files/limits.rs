//! What is no file, or not all of one, is refused, and nothing of it is left.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::iter;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scene::{FILES, MAX_BYTES, Scene, multipart, multipart_type, noise, one_file, part, post, raw_head, say};
use crate::support::{Answer, DEADLINE, Person, anonymous, assert_is_standard_error};

/// How long the server waits for what doesn't come, and for the rest of what it has refused.
const SERVERS_PATIENCE: Duration = Duration::from_secs(30 + 10);

/// How a client sends a body.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// It says how long it is.
    Length,
    /// It says so at the end.
    Chunks,
}

/// Uploads zeros without holding them in memory, with reqwest as clients do. The answer, which must come.
async fn upload_zeros(person: &Person, len: usize, framing: Framing) -> Answer {
    const CHUNK: &[u8] = &[0; 65_536];
    let chunks = (0..len.div_ceil(CHUNK.len()))
        .map(move |n| Ok::<_, std::io::Error>(&CHUNK[..CHUNK.len().min(len - n * CHUNK.len())]));
    let body = Body::wrap_stream(iter(chunks));
    let part = match framing {
        Framing::Length => Part::stream_with_length(body, u64::try_from(len).unwrap()),
        Framing::Chunks => Part::stream(body),
    };
    let form = Form::new().part("file", part.file_name("zeros.bin"));
    let request = person.http.post(format!("{}{FILES}", person.url)).bearer_auth(&person.token).multipart(form);
    let response = request.send().await.unwrap_or_else(|error| panic!("{len} bytes, {framing:?}: {error:?}"));
    Answer::of(response).await.unwrap()
}

/// What the server says until it has said all.
async fn hear(mut stream: TcpStream, patience: Duration) -> String {
    let mut heard = vec![];
    // Whoever hangs up in the middle of something may be reset: what has come before that counts.
    let _ = tokio::time::timeout(patience, stream.read_to_end(&mut heard)).await.expect("the server ends it");
    String::from_utf8(heard).unwrap()
}

/// Checks that nothing has happened since there were so many events.
async fn nothing_is_left(scene: &Scene, events: i64) {
    scene.wait_until_kept(0).await;
    assert_eq!(scene.world.all_events().await, events);
}

#[tokio::test]
async fn fifty_megabytes_are_taken_and_a_byte_more_is_told_to_be_too_large() {
    let scene = Scene::start().await;
    for framing in [Framing::Length, Framing::Chunks] {
        let answer = upload_zeros(&scene.alice, MAX_BYTES, framing).await.expect(201);
        assert_eq!(answer.body["file"]["size"], MAX_BYTES, "{framing:?}");
    }
    assert_eq!(scene.kept().len(), 2);
    let events = scene.world.all_events().await;
    for framing in [Framing::Length, Framing::Chunks] {
        for more in [1, 70_000, 4 * 1024 * 1024] {
            let answer = upload_zeros(&scene.alice, MAX_BYTES + more, framing).await;
            let error = answer.expect_error(413, "PAYLOAD_TOO_LARGE");
            assert!(error.contains("50 MB"), "{framing:?}: {error}");
        }
    }
    scene.wait_until_kept(2).await;
    assert_eq!(scene.world.all_events().await, events);
    upload_zeros(&scene.alice, 1, Framing::Length).await.expect(201);
}

#[tokio::test]
async fn a_body_that_ends_too_early_leaves_nothing() {
    let scene = Scene::start().await;
    let events = scene.world.all_events().await;
    let whole = one_file(&noise(600_000));
    let promised = |length: usize| raw_head(&scene.alice, &format!("Content-Length: {length}\r\n"));
    let chunked = raw_head(&scene.alice, "Transfer-Encoding: chunked\r\n");
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n".as_slice()].concat();
    for (what, said) in [
        ("promises more than comes", [promised(whole.len() + 1).as_bytes(), &whole].concat()),
        ("ends half-way", [promised(whole.len()).as_bytes(), &whole[..whole.len() / 2]].concat()),
        ("ends before it begins", promised(whole.len()).into_bytes()),
        ("ends before the last boundary", [promised(whole.len()).as_bytes(), &whole[..whole.len() - 30]].concat()),
        ("ends in a chunk", [chunked.as_bytes(), b"fffff\r\n", &whole[..1000]].concat()),
        ("ends between chunks", [chunked.as_bytes(), &chunk(&whole[..1000])].concat()),
    ] {
        let mut stream = say(&scene.alice, &said).await;
        // It is heard that nothing more is said.
        stream.shutdown().await.unwrap();
        let answer = hear(stream, SERVERS_PATIENCE).await;
        assert!(!answer.contains(" 201 "), "{what}: {answer}");
        // And then there are those who just go.
        drop(say(&scene.alice, &said).await);
    }
    nothing_is_left(&scene, events).await;
}

#[tokio::test]
async fn a_body_that_promises_less_than_comes_is_refused_and_leaves_nothing() {
    let scene = Scene::start().await;
    let events = scene.world.all_events().await;
    let whole = one_file(&noise(100_000));
    let head = raw_head(&scene.alice, "Content-Length: 50000\r\nConnection: close\r\n");
    let answer = hear(say(&scene.alice, &[head.as_bytes(), &whole].concat()).await, SERVERS_PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    let body = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_is_standard_error(&body, 422, "VALIDATION_ERROR");
    nothing_is_left(&scene, events).await;
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_and_leaves_nothing() {
    let scene = Scene::start().await;
    let events = scene.world.all_events().await;
    let whole = one_file(&noise(600_000));
    let head = raw_head(&scene.alice, &format!("Content-Length: {}\r\nConnection: close\r\n", whole.len()));
    let stages =
        [("in the file", 300_000), ("in its head", 40), ("before it begins", 0), ("at the end", whole.len() - 3)];
    let mut stalled = vec![];
    for (stage, end) in stages {
        stalled.push((stage, say(&scene.alice, &[head.as_bytes(), &whole[..end]].concat()).await));
    }
    // Others aren't held up by it.
    scene.alice.upload("x", "text/plain", b"quick".to_vec()).await.expect(201);
    let answers = stalled
        .into_iter()
        .map(|(stage, stream)| async move { (stage, hear(stream, SERVERS_PATIENCE + 2 * DEADLINE).await) });
    let mut answers = join_all(answers).await;
    answers.retain(|(_, answer)| !answer.starts_with("HTTP/1.1 422 "));
    assert!(answers.is_empty(), "{answers:?}");
    scene.wait_until_kept(1).await;
    assert_eq!(scene.world.all_events().await, events + 1);
}

#[tokio::test]
async fn who_is_suspended_in_the_middle_of_an_upload_uploads_nothing() {
    let scene = Scene::start().await;
    let whole = one_file(&noise(600_000));
    let head = raw_head(&scene.alice, &format!("Content-Length: {}\r\nConnection: close\r\n", whole.len()));
    let mut stream = say(&scene.alice, &[head.as_bytes(), &whole[..300_000]].concat()).await;
    // Some of it is kept already, so it is past every look at the token.
    scene.wait_until_kept(1).await;
    scene.world.admin.post(&format!("/api/admin/users/{}/suspend", scene.alice.id), Value::Null).await.expect(200);
    let events = scene.world.all_events().await;
    stream.write_all(&whole[300_000..]).await.unwrap();
    let answer = hear(stream, SERVERS_PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    nothing_is_left(&scene, events).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_at_any_moment_leaves_a_whole_file_or_nothing() {
    let scene = Scene::start().await;
    let whole = one_file(&noise(400_000));
    let head = raw_head(&scene.alice, &format!("Content-Length: {}\r\n", whole.len()));
    let said = [head.as_bytes(), &whole].concat();
    for n in 0..90_usize {
        let end = if n % 3 == 0 { head.len() + whole.len() * n / 90 } else { said.len() };
        let stream = say(&scene.alice, &said[..end]).await;
        if n % 3 == 1 {
            // Not before it is on its way to the disk.
            tokio::time::sleep(Duration::from_millis(u64::try_from(n / 3).unwrap())).await;
        }
        drop(stream);
    }
    // A file whose bytes are on disk is in the log a moment later, unless it never will be.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let (mut calm, mut known) = (0, -1);
    while calm < 10 {
        let events = scene.world.events("FileUploaded").await;
        let kept = i64::try_from(scene.kept().len()).unwrap();
        calm = if kept == events && events == known { calm + 1 } else { 0 };
        known = events;
        assert!(tokio::time::Instant::now() < deadline, "{kept} files are kept, and {events} are known");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!("of 90 uploads whose clients hung up, {known} were taken in");
}

#[tokio::test]
async fn what_is_no_upload_is_refused_and_nothing_is_appended() {
    let scene = Scene::start().await;
    let events = scene.world.all_events().await;
    let named = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"x\"").into_bytes();
    let file = part(&named("file"), b"hello");
    let cut_off = |body: Vec<u8>, by: usize| body[..body.len() - by].to_vec();
    for (what, body) in [
        ("empty file", multipart(&[part(&named("file"), b"")])),
        ("no field", multipart(&[])),
        ("nothing", vec![]),
        ("another field", multipart(&[part(&named("document"), b"hello")])),
        (
            "another field first",
            multipart(&[part(b"Content-Disposition: form-data; name=\"note\"", b"x"), file.clone()]),
        ),
        ("another field besides", multipart(&[file.clone(), part(&named("document"), b"hello")])),
        ("two files", multipart(&[file.clone(), file.clone()])),
        ("a field without a name", multipart(&[part(b"Content-Disposition: form-data", b"hello")])),
        ("a field without a head", multipart(&[part(b"", b"hello")])),
        ("a head that is none", multipart(&[part(b"nonsense", b"hello")])),
        ("a head without end", [b"--a-boundary-of-the-tests\r\n".to_vec(), b"X: y\r\n".repeat(10_000)].concat()),
        ("no last boundary", cut_off(multipart(std::slice::from_ref(&file)), 31)),
        ("half a boundary", cut_off(multipart(std::slice::from_ref(&file)), 5)),
        ("no boundary at all", b"hello".to_vec()),
        ("JSON", b"{}".to_vec()),
    ] {
        let answer = post(&scene.alice, Some(&multipart_type()), body).await;
        assert_eq!(answer.status, 422, "{what}: {}", answer.body);
        assert_is_standard_error(&answer.body, 422, "VALIDATION_ERROR");
    }
    let whole = one_file(b"hello");
    for no_boundary in ["multipart/form-data", "multipart/form-data; boundary", "multipart/form-data; boundary="] {
        post(&scene.alice, Some(no_boundary), whole.clone()).await.expect_error(422, "VALIDATION_ERROR");
    }
    let another = "multipart/form-data; boundary=another";
    post(&scene.alice, Some(another), whole.clone()).await.expect_error(422, "VALIDATION_ERROR");
    for no_multipart in [
        None,
        Some("application/json"),
        Some("application/octet-stream"),
        Some("multipart/mixed; boundary=x"),
        Some("\""),
    ] {
        let answer = post(&scene.alice, no_multipart, whole.clone()).await;
        answer.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    nothing_is_left(&scene, events).await;
    post(&scene.alice, Some(&multipart_type()), whole).await.expect(201);
}

#[tokio::test]
async fn who_is_refused_before_the_file_is_read_still_hears_why() {
    let scene = Scene::start().await;
    let events = scene.world.all_events().await;
    let nobody = Person { token: "nonsense".to_owned(), ..scene.alice.clone() };
    anonymous(&scene.world.server.url, Method::POST, FILES, None).await.expect_error(401, "UNAUTHORIZED");
    for framing in [Framing::Length, Framing::Chunks] {
        for len in [1, 1024 * 1024, MAX_BYTES] {
            upload_zeros(&nobody, len, framing).await.expect_error(401, "UNAUTHORIZED");
        }
    }
    for content_type in [None, Some("application/json")] {
        let answer = post(&scene.alice, content_type, vec![0; MAX_BYTES]).await;
        answer.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let no_boundary = post(&scene.alice, Some("multipart/form-data"), vec![0; MAX_BYTES]).await;
    no_boundary.expect_error(422, "VALIDATION_ERROR");
    nothing_is_left(&scene, events).await;
}

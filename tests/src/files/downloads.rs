//! What was uploaded comes back as it was, in whole and in part.

use serde_json::json;

use super::scene::{FILES, PNG, Scene, download, id_of, multipart, multipart_type, noise, part, post, uploaded};

#[tokio::test]
async fn an_upload_is_described_to_the_field_and_comes_back_byte_for_byte() {
    let scene = Scene::start().await;
    let bytes = noise(300_001);
    let before = scene.world.all_events().await;
    let answer = scene.alice.upload("report.bin", "application/x-report", bytes.clone()).await.expect(201);
    let id = id_of(&answer.body["file"]);
    let (sha256, url) = (scene.sha256(&bytes).await, format!("{FILES}/{id}"));
    let file = json!({
        "id": id, "name": "report.bin", "size": 300_001, "contentType": "application/x-report", "sha256": sha256, "url": url,
    });
    assert_eq!(answer.body, json!({"success": true, "file": file}));
    assert_eq!(scene.world.all_events().await, before + 1, "one event, whatever its size");
    assert_eq!(scene.kept().len(), 1);

    let whole = download(&scene.alice, &id, &[]).await;
    assert_eq!(whole.status, 200);
    assert!(whole.bytes == bytes, "it isn't what was uploaded");
    for (name, expected) in [
        ("content-length", "300001"),
        ("content-type", "application/x-report"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("etag", &format!("\"{sha256}\"")),
        ("cache-control", "private, no-cache"),
        ("content-security-policy", "default-src 'none'; sandbox"),
    ] {
        assert_eq!(whole.header(name), expected, "{name}");
    }
    assert!(whole.header("content-disposition").starts_with("attachment; filename=\"report.bin\""));
}

#[tokio::test]
async fn who_has_a_file_already_is_not_given_it_again() {
    let scene = Scene::start().await;
    let id = id_of(&uploaded(&scene.alice, "dot.png", "image/png", PNG).await);
    let etag = download(&scene.alice, &id, &[]).await.header("etag").to_owned();
    for known in [etag.clone(), format!("W/{etag}"), "*".to_owned(), format!("\"other\", {etag}")] {
        let unchanged = download(&scene.alice, &id, &[("If-None-Match", &known)]).await;
        assert_eq!((unchanged.status, unchanged.bytes.len()), (304, 0), "{known}");
        assert_eq!(unchanged.header("etag"), etag);
    }
    let first = [("If-None-Match", etag.as_str()), ("Range", "bytes=0-1")];
    assert_eq!(download(&scene.alice, &id, &first).await.status, 304, "it comes before the range");
    for other in ["\"other\"", "nonsense"] {
        assert_eq!(download(&scene.alice, &id, &[("If-None-Match", other)]).await.bytes, PNG, "{other}");
    }
    let of_bob = download(&scene.bob, &id, &[("If-None-Match", &etag)]).await;
    of_bob.expect_error(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_part_is_what_was_asked_for() {
    let scene = Scene::start().await;
    // More than is read at once, and ends in the middle of something.
    let bytes = noise(700_001);
    let file = uploaded(&scene.alice, "long.bin", "application/octet-stream", &bytes).await;
    let id = id_of(&file);
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=262143-262144", 262_143, 262_145),
        ("bytes=1000-600000", 1000, 600_001),
        ("bytes=700000-", 700_000, 700_001),
        ("bytes=5-", 5, 700_001),
        ("bytes=0-", 0, 700_001),
        ("bytes=-1", 700_000, 700_001),
        ("bytes=-1000", 699_001, 700_001),
        ("bytes=-700001", 0, 700_001),
        ("bytes=100-9999999", 100, 700_001),
        ("bytes=100-18446744073709551615", 100, 700_001),
    ] {
        let part = download(&scene.alice, &id, &[("Range", range)]).await;
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {start}-{}/700001", end - 1), "{range}");
        assert_eq!(part.header("content-length"), (end - start).to_string(), "{range}");
        assert!(part.bytes == bytes[start..end], "{range}: another part");
        for (name, expected) in [
            ("etag", format!("\"{}\"", file["sha256"].as_str().unwrap()).as_str()),
            ("content-type", "application/octet-stream"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(part.header(name), expected, "{range}");
        }
        assert!(part.header("content-disposition").starts_with("attachment;"), "{range}");
    }
}

#[tokio::test]
async fn the_last_bytes_of_a_file_that_has_fewer_are_all_of_it() {
    let scene = Scene::start().await;
    let id = id_of(&uploaded(&scene.alice, "short.txt", "text/plain", b"0123456789").await);
    // RFC 9110 14.1.2: "If the selected representation is shorter than the specified suffix-length, the entire representation is
    // used."
    let part = download(&scene.alice, &id, &[("Range", "bytes=-11")]).await;
    assert_eq!(part.text(), (206, "0123456789"));
    assert_eq!(part.header("content-range"), "bytes 0-9/10");
}

#[tokio::test]
async fn a_part_that_does_not_exist_is_refused_and_says_how_much_there_is() {
    let scene = Scene::start().await;
    let id = id_of(&uploaded(&scene.alice, "short.txt", "text/plain", b"0123456789").await);
    for range in ["bytes=10-", "bytes=10-20", "bytes=18446744073709551615-", "bytes=-0"] {
        let refused = download(&scene.alice, &id, &[("Range", range)]).await;
        refused.expect_error(416, "VALIDATION_ERROR");
        assert_eq!(refused.header("content-range"), "bytes */10", "{range}");
        assert!(refused.header("content-type").starts_with("application/json"));
    }
}

#[tokio::test]
async fn several_parts_at_once_and_parts_of_nothing_are_answered_with_the_whole() {
    let scene = Scene::start().await;
    let id = id_of(&uploaded(&scene.alice, "short.txt", "text/plain", b"0123456789").await);
    for range in ["bytes=0-1,4-5", "bytes=0-1, -1", "lines=1-2", "bytes 0-1", "0-1", "nonsense", ""] {
        let whole = download(&scene.alice, &id, &[("Range", range)]).await;
        assert_eq!(whole.text(), (200, "0123456789"), "{range:?}");
        assert!(whole.headers.get("content-range").is_none(), "{range:?}");
    }
}

#[tokio::test]
async fn a_range_that_cannot_be_understood_is_answered_with_the_whole() {
    let scene = Scene::start().await;
    let id = id_of(&uploaded(&scene.alice, "short.txt", "text/plain", b"0123456789").await);
    for range in ["bytes=", "bytes=a-b", "bytes=5-2", "bytes=-", "bytes=1", "bytes=--5", "bytes=99999999999999999999-"]
    {
        let whole = download(&scene.alice, &id, &[("Range", range)]).await;
        assert_eq!(whole.text(), (200, "0123456789"), "{range:?}");
    }
}

#[tokio::test]
async fn a_part_of_what_somebody_has_is_only_given_if_they_have_the_same() {
    let scene = Scene::start().await;
    let id = id_of(&uploaded(&scene.alice, "short.txt", "text/plain", b"0123456789").await);
    let etag = download(&scene.alice, &id, &[]).await.header("etag").to_owned();
    let part = download(&scene.alice, &id, &[("Range", "bytes=2-3"), ("If-Range", &etag)]).await;
    assert_eq!(part.text(), (206, "23"));
    let (weak, bare) = (format!("W/{etag}"), etag.trim_matches('"').to_owned());
    // What can't be understood is no proof of anything.
    for other in ["\"other\"", weak.as_str(), bare.as_str(), "Sun, 06 Nov 1994 08:49:37 GMT", "nonsense"] {
        let whole = download(&scene.alice, &id, &[("Range", "bytes=2-3"), ("If-Range", other)]).await;
        assert_eq!(whole.text(), (200, "0123456789"), "{other}");
        let past_the_end = download(&scene.alice, &id, &[("Range", "bytes=99-"), ("If-Range", other)]).await;
        assert_eq!(past_the_end.status, 200, "{other}");
    }
}

#[tokio::test]
async fn only_pictures_of_dots_are_shown_in_place() {
    let scene = Scene::start().await;
    let webp = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0";
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let html = b"<!DOCTYPE html><html><script>alert(1)</script></html>";
    for (content_type, bytes, kind) in [
        ("image/png", PNG, "inline"),
        ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01", "inline"),
        ("image/gif", b"GIF89a\x01\0\x01\0\0\0\0;", "inline"),
        ("image/webp", webp, "inline"),
        ("IMAGE/PNG; charset=x", PNG, "inline"),
        ("image/svg+xml", svg, "attachment"),
        ("text/html", html, "attachment"),
        ("text/html; charset=utf-8", html, "attachment"),
        ("application/xhtml+xml", html, "attachment"),
        ("text/xml", svg, "attachment"),
        ("text/plain", html, "attachment"),
        ("text/javascript", b"alert(1)", "attachment"),
        ("application/pdf", b"%PDF-1.7\n", "attachment"),
        ("video/mp4", b"\0\0\0\x18ftypmp42\0\0\0\0", "attachment"),
        ("application/octet-stream", html, "attachment"),
    ] {
        let id = id_of(&uploaded(&scene.alice, "x", content_type, bytes).await);
        let got = download(&scene.alice, &id, &[]).await;
        assert_eq!(got.header("content-disposition").split(';').next(), Some(kind), "{content_type}");
        assert_eq!(got.header("x-content-type-options"), "nosniff", "{content_type}");
        assert_eq!(got.header("content-security-policy"), "default-src 'none'; sandbox", "{content_type}");
        assert_eq!(got.bytes, bytes, "{content_type}");
    }
}

#[tokio::test]
async fn a_file_that_says_to_be_what_it_does_not_look_like_is_refused_and_nothing_is_left() {
    let scene = Scene::start().await;
    let before = scene.world.all_events().await;
    let html = b"<!DOCTYPE html><html><script>alert(1)</script></html>".as_slice();
    let blanks = [b"\n".repeat(9000).as_slice(), html].concat();
    for (content_type, bytes) in [
        ("image/png", html),
        ("image/png", &blanks),
        ("image/jpeg", PNG),
        ("image/gif", b"GI"),
        ("image/webp", b"RIFF"),
        ("video/mp4", b"PK\x03\x04zip"),
    ] {
        let error = scene.alice.upload("x", content_type, bytes.to_vec()).await;
        let error = error.expect_error(422, "VALIDATION_ERROR");
        assert!(error.starts_with("file: ") && error.contains(content_type), "{error}");
    }
    for said in ["nonsense", "/", "image/", "text/html\u{e9}", "a/b/c", "a b/c", &format!("text/{}", "x".repeat(200))] {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"x\"\r\nContent-Type: {said}");
        let answer = post(&scene.alice, Some(&multipart_type()), multipart(&[part(head.as_bytes(), b"hello")])).await;
        answer.expect_error(422, "VALIDATION_ERROR");
    }
    assert_eq!(scene.world.all_events().await, before);
    assert!(scene.kept().is_empty(), "{:?}", scene.kept());
    let head = b"Content-Disposition: form-data; name=\"file\"; filename=\"x\"";
    let answer = post(&scene.alice, Some(&multipart_type()), multipart(&[part(head, PNG)])).await.expect(201);
    assert_eq!(answer.body["file"]["contentType"], "image/png", "of what isn't said, it is told by its bytes");
}

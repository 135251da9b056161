//! What files are called does no harm, whatever their uploaders make up.

use super::scene::{Scene, download, id_of, multipart, multipart_type, part, post, uploaded};
use crate::support::Person;

/// Uploads a file whose name goes over the wire as it stands, in quotes; what it is called then.
async fn named(person: &Person, name: &[u8]) -> (String, String) {
    let head = [b"Content-Disposition: form-data; name=\"file\"; filename=\"".as_slice(), name, b"\""].concat();
    let answer = post(person, Some(&multipart_type()), multipart(&[part(&head, b"hello")])).await.expect(201);
    (id_of(&answer.body["file"]), answer.body["file"]["name"].as_str().unwrap().to_owned())
}

/// The names in a `Content-Disposition` (RFC 6266): the plain one, and the one of whoever knows UTF-8.
fn parse(disposition: &str) -> (String, String) {
    let rest = disposition.strip_prefix("attachment; filename=\"").unwrap_or_else(|| panic!("{disposition}"));
    let (plain, rest) = rest.split_once('"').unwrap();
    let encoded = rest.strip_prefix("; filename*=UTF-8''").unwrap_or_else(|| panic!("{disposition}"));
    let mut bytes = vec![];
    let mut chars = encoded.bytes();
    while let Some(byte) = chars.next() {
        if byte == b'%' {
            let digits = [chars.next().unwrap(), chars.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            assert!(byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte), "{disposition}");
            bytes.push(byte);
        }
    }
    (plain.to_owned(), String::from_utf8(bytes).unwrap())
}

/// Checks that a download has just the headers that it should have, and calls the file this.
async fn is_called(person: &Person, id: &str, name: &str) {
    let got = download(person, id, &[]).await;
    assert_eq!(got.text(), (200, "hello"));
    let (plain, encoded) = parse(got.header("content-disposition"));
    assert_eq!(encoded, name);
    assert!(plain.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"\"\\%/".contains(&byte)), "{plain:?}");
    assert_eq!(plain.chars().count(), name.chars().count());
    for injected in ["x-injected", "set-cookie", "location"] {
        assert!(got.headers.get(injected).is_none(), "{injected}");
    }
}

#[tokio::test]
async fn names_are_names_and_nothing_else() {
    let scene = Scene::start().await;
    for (name, expected) in [
        ("report.pdf", "report.pdf"),
        ("/etc/passwd", "passwd"),
        ("../../../etc/cron.d/x", "x"),
        ("C:\\Users\\me\\photo.png", "photo.png"),
        ("..\\..\\x.exe", "x.exe"),
        ("dir/", "file"),
        ("..", "file"),
        (".", "file"),
        (".htaccess", "htaccess"),
        ("x. . .", "x"),
        ("", "file"),
        ("   ", "file"),
        ("  padded.txt  ", "padded.txt"),
        ("a<b>c:d|e?f*.txt", "abcdef.txt"),
        ("x;y=z, w'.txt", "x;y=z, w'.txt"),
        ("100%.txt", "100%.txt"),
        ("%0d%0aX-Injected: 1.txt", "%0d%0aX-Injected 1.txt"),
        ("naïve café – 日本語 👋.txt", "naïve café – 日本語 👋.txt"),
        ("\u{202e}gnp.exe", "gnp.exe"),
        ("a\u{200b}b\u{feff}c\u{2066}d.txt", "abcd.txt"),
        ("tab\there.txt", "tabhere.txt"),
        ("c1\u{85}\u{9b}.txt", "c1.txt"),
        ("\u{ff0e}\u{ff0e}\u{ff0f}x", "\u{ff0e}\u{ff0e}\u{ff0f}x"),
    ] {
        let (id, called) = named(&scene.alice, name.as_bytes()).await;
        assert_eq!(called, expected, "{name:?}");
        is_called(&scene.alice, &id, expected).await;
    }
}

#[tokio::test]
async fn a_name_is_at_most_255_characters() {
    let scene = Scene::start().await;
    for letter in ["x", "ü", "👋"] {
        let (id, called) = named(&scene.alice, letter.repeat(300).as_bytes()).await;
        assert_eq!(called, letter.repeat(255));
        is_called(&scene.alice, &id, &called).await;
    }
    let (id, called) = named(&scene.alice, format!("{} .txt", "x".repeat(254)).as_bytes()).await;
    assert!(!called.ends_with([' ', '.']), "Windows can't have it: {called:?}");
    is_called(&scene.alice, &id, &called).await;
}

#[tokio::test]
async fn names_with_line_breaks_quotes_and_nul_inject_nothing() {
    let scene = Scene::start().await;
    let events = scene.world.all_events().await;
    let (id, called) = named(&scene.alice, b"say \\\"hi\\\".txt").await;
    assert!(!called.contains('"'), "{called}");
    is_called(&scene.alice, &id, &called).await;
    // What no header may contain makes the body a broken one, or is left out.
    for name in [
        b"nul\0.txt".as_slice(),
        b"two\r\nX-Injected: 1\r\n.txt",
        b"two\nX-Injected: 1.txt",
        b"bell\x07.txt",
        b"\xff\xfe.txt",
        b"one\"; filename=\"two.txt",
        b"x\r\n\r\n<script>",
    ] {
        let head = [b"Content-Disposition: form-data; name=\"file\"; filename=\"".as_slice(), name, b"\""].concat();
        let answer = post(&scene.alice, Some(&multipart_type()), multipart(&[part(&head, b"hello")])).await;
        if answer.status == 201 {
            let called = answer.body["file"]["name"].as_str().unwrap().to_owned();
            assert!(!called.is_empty() && !called.contains(|c: char| c.is_control() || c == '"'), "{called:?}");
            let got = download(&scene.alice, &id_of(&answer.body["file"]), &[]).await;
            assert_eq!(parse(got.header("content-disposition")).1, called);
            assert!(got.headers.get("x-injected").is_none());
        } else {
            answer.expect_error(422, "VALIDATION_ERROR");
        }
    }
    assert_eq!(scene.world.all_events().await, events + i64::try_from(scene.kept().len()).unwrap());
    let through_a_client = uploaded(&scene.alice, "a \"quoted\" \\ name.txt", "text/plain", b"hello").await;
    is_called(&scene.alice, &id_of(&through_a_client), through_a_client["name"].as_str().unwrap()).await;
}

#[tokio::test]
async fn a_file_without_a_name_is_called_file() {
    let scene = Scene::start().await;
    let head = b"Content-Disposition: form-data; name=\"file\"";
    let answer = post(&scene.alice, Some(&multipart_type()), multipart(&[part(head, b"hello")])).await.expect(201);
    assert_eq!(answer.body["file"]["name"], "file");
    is_called(&scene.alice, &id_of(&answer.body["file"]), "file").await;
}

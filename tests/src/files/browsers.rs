//! Files in a real browser.

use serde_json::{Value, json};

use super::scene::{PNG, Scene, uploaded};
use crate::browsers::in_a_browser;
use crate::support::Chromium;

#[tokio::test]
async fn nothing_in_a_file_runs_in_a_browser_however_it_is_opened() {
    let Some(chromium) = Chromium::find() else { return };
    let scene = Scene::start().await;
    let run = |kind: &str| {
        format!(
            "document.documentElement.setAttribute('data-ran', ''); new Image().src = '{}/ran/{kind}'",
            scene.alice.url
        )
    };
    let html = format!(
        "<!DOCTYPE html><html><body><script>{}</script><img src=\"x:\" onerror=\"{}\"></body></html>",
        run("html"),
        run("html-handler")
    );
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><script>{}</script></svg>",
        run("svg").replace("new Image().src =", "fetch(").replace("/ran/svg'", "/ran/svg')")
    );
    let mut files = vec![];
    for (name, content_type, content) in [
        ("page.html", "text/html", &html),
        ("drawing.svg", "image/svg+xml", &svg),
        ("page.xhtml", "application/xhtml+xml", &svg),
        ("document.xml", "text/xml", &svg),
        ("page.txt", "text/plain", &html),
        ("page", "application/octet-stream", &html),
    ] {
        files.push(uploaded(&scene.alice, name, content_type, content.as_bytes()).await);
    }
    let picture = uploaded(&scene.alice, "dot.png", "image/png", PNG).await;
    let names = [
        "naïve café – 日本語 👋.txt",
        "say \"hi\".txt",
        "100%.txt",
        "..\\up.txt",
        "; filename=x.exe",
        "\u{202e}txt.exe",
    ];
    let args = json!({
        "url": scene.world.server.url, "token": scene.alice.token, "files": files, "picture": picture["url"], "names": names,
        "script": {"text/html": html, "image/svg+xml": svg},
    });
    let found = in_a_browser(&chromium, "files.mjs", args).await;

    let control = found["control"].as_array().unwrap();
    assert!(
        control.contains(&json!("/ran/html")) && control.contains(&json!("/ran/svg")),
        "the test sees it: {control:?}"
    );
    for file in &files {
        let name = file["name"].as_str().unwrap();
        let saved = json!({"shown": false, "suggested": name, "ran": []});
        assert_eq!(found["navigated"][name], saved, "{name} is saved");
        assert_eq!(found["inline"][name], json!({"origin": "null", "ran": []}), "{name} is in a box of its own");
    }
    let embedded = found["embedded"].as_object().unwrap();
    assert_eq!(embedded.len(), files.len() * 4 * 2);
    for (how, ran) in embedded {
        assert_eq!(ran, &json!([]), "{how}");
    }
    assert_eq!(found["picture"], json!([1, 1]));

    let called: Vec<&Value> = found["names"].as_array().unwrap().iter().map(|file| &file["name"]).collect();
    // Browsers upload quotes as %22.
    let expected =
        ["naïve café – 日本語 👋.txt", "say %22hi%22.txt", "100%.txt", "up.txt", "; filename=x.exe", "txt.exe"];
    assert_eq!(json!(called), json!(expected));
    assert_eq!(found["saved"], json!(expected));
}

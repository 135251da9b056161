//! The documents: their links lead somewhere, the files they name exist, and they list every setting.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every document, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("docs")];
    let mut paths: Vec<_> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// What stands between two marks, wherever they are in a line.
fn between<'a>(text: &'a str, begin: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().flat_map(move |line| line.split(begin).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0)))
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn links_lead_to_files_that_exist() {
    let mut broken = vec![];
    for (path, text) in documents() {
        let local = between(&text, "](", ")").filter(|link| !link.starts_with("http"));
        for link in local {
            let file = link.split('#').next().unwrap();
            if !path.parent().unwrap().join(file).exists() {
                broken.push(format!("{link} in {}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn files_that_are_named_exist() {
    let extensions = [".rs", ".md", ".sql", ".toml", ".mjs", ".ts"];
    let mut missing = vec![];
    for (path, text) in documents() {
        // `client.rs` alone may be any; a path is one of ours.
        let named = code(&text).filter(|name| name.contains('/') && !name.contains([' ', '*', '…', ':']));
        for name in named.filter(|name| name.starts_with(".ci/") || extensions.iter().any(|end| name.ends_with(end))) {
            if !root().join(name).exists() && !path.parent().unwrap().join(name).exists() {
                missing.push(format!("{name} in {}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_configuration_lists_every_setting_and_no_other() {
    let help = command().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let settings: BTreeSet<_> = between(&help, "[env: ", "]")
        .map(|setting| setting.split('=').next().unwrap())
        .filter(|name| !name.ends_with("_FILE") && !name.starts_with("AWS_"))
        .collect();
    assert!(settings.len() > 20, "{settings:?}");
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let table = text.split("## Operating").next().unwrap();
    let listed: BTreeSet<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(code)
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
        .collect();
    assert_eq!(listed, settings);
}

#[test]
fn the_readme_is_short() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 150);
}

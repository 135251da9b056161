//! Comes after all other tests, and tests nothing: says how many of them were not run, and what to install.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn main() {
    // Cargo starts this program and the one before.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("not_run.{}", std::os::unix::process::parent_id()));
    let Ok(list) = std::fs::read_to_string(&path) else { return };
    let (mut packages, mut variables) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeMap::<_, BTreeSet<_>>::new());
    for line in list.lines() {
        match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["package", package, test] => drop(packages.entry(package).or_default().insert(test)),
            ["variable", variable, test] => drop(variables.entry(variable).or_default().insert(test)),
            _ => {}
        }
    }
    if !packages.is_empty() {
        let tests: BTreeSet<_> = packages.values().flatten().collect();
        let names: Vec<_> = packages.keys().copied().collect();
        println!("NOT RUN: {} tests. To run them (Debian): apt install {}", tests.len(), names.join(" "));
    }
    for (variable, tests) in variables {
        println!("NOT RUN: {} tests of a server that is set up by hand and named by {variable}", tests.len());
    }
    let _ = std::fs::remove_file(path);
}

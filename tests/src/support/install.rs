//! Installing the parts of the tests that package managers of other languages bring: once, however many tests and processes want them.

use std::fs::File;
use std::path::Path;

/// Installs what a lock file names into a folder, unless that was done before.
pub(super) fn once(lock_file: &Path, folder: &Path, install: impl FnOnce()) {
    let others = File::open(lock_file).unwrap();
    others.lock().unwrap();
    let wanted = std::fs::read(lock_file).unwrap();
    let installed = folder.join(".installed");
    if std::fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return;
    }
    install();
    std::fs::write(installed, wanted).unwrap();
}

//! Where the bytes of files are kept, as the operator says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::Files;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};

/// What went wrong with the store of files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobsError {
    #[error("the directory for files {path} can't be made")]
    Directory { path: String, source: std::io::Error },
    #[error("SWITCHBOARD_BLOBS can't be used")]
    Store(#[from] object_store::Error),
    #[error("SWITCHBOARD_BLOBS must be file or s3://bucket/prefix")]
    Unknown,
}

/// Bytes that are written to a local file at once.
const LOCAL_PART_BYTES: usize = 256 * 1024;

/// Bytes that are sent to S3 at once: it takes no fewer.
const S3_PART_BYTES: usize = 5 * 1024 * 1024;
/// Files that are taken in at once.
const LOCAL_UPLOADS: usize = 256;
const S3_UPLOADS: usize = 64;
/// How long an upload may go on, and more.
const UNFINISHED_PATIENCE: Duration = Duration::from_hours(24);
/// How long S3 may fail before whoever waits is told.
const S3_PATIENCE: Duration = Duration::from_secs(20);

/// Opens the store.
///
/// What an installation keeps is under its own name: another one, with another database, must not take it for nobody's.
pub(crate) fn open(setting: &str, data_dir: &Path, installation: &str) -> Result<Files, BlobsError> {
    match setting {
        "file" => {
            let dir = data_dir.join("files").join(installation);
            std::fs::create_dir_all(&dir)
                .map_err(|source| BlobsError::Directory { path: dir.display().to_string(), source })?;
            if let Err(error) = remove_unfinished(&dir) {
                tracing::warn!(%error, "uploads that were not finished can't be thrown away");
            }
            // What is acknowledged is on disk.
            let store = LocalFileSystem::new_with_prefix(dir)?.with_fsync(true);
            Ok(Files::new(Arc::new(store), LOCAL_PART_BYTES, LOCAL_UPLOADS))
        }
        url if url.starts_with("s3://") => Ok(Files::new(open_s3(url, installation)?, S3_PART_BYTES, S3_UPLOADS)),
        _ => Err(BlobsError::Unknown),
    }
}

/// Throws away what was left of uploads by a process that died: the store doesn't list it. It may be another node's that goes on,
/// unless it is old.
fn remove_unfinished(dir: &Path) -> std::io::Result<()> {
    for folder in std::fs::read_dir(dir)?.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
        for entry in std::fs::read_dir(folder.path())?.filter_map(Result::ok) {
            // As `LocalFileSystem` calls them.
            let is_unfinished = entry.file_name().to_string_lossy().contains('#');
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if is_unfinished && age > UNFINISHED_PATIENCE {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// `s3://bucket/prefix`; everything else (credentials, region, endpoint) stands in the environment, as it does for the tools of AWS.
fn open_s3(url: &str, installation: &str) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    // Once for the process is enough; a second time is refused and does no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { max_retries: 3, retry_timeout: S3_PATIENCE, ..RetryConfig::default() };
    let store = AmazonS3Builder::from_env().with_url(url).with_retry(retry).build()?;
    let prefix = url.splitn(4, '/').nth(3).unwrap_or_default().trim_matches('/');
    Ok(Arc::new(PrefixStore::new(store, format!("{prefix}/{installation}"))))
}

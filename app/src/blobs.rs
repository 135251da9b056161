//! The store of the bytes of files, as configured.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::{FileQuotas, FileStore, Files, FreeBytes};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};

use crate::machine;
use crate::settings::Settings;

/// Errors of the store of files.
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
/// Age after which an unfinished upload is abandoned: longer than any upload may take.
const UNFINISHED_PATIENCE: Duration = Duration::from_hours(24);
/// Time for which S3 may fail before a request does.
const S3_PATIENCE: Duration = Duration::from_secs(20);

/// Opens the store.
///
/// Files are kept under the installation's own name, so that another installation does not sweep them.
pub(crate) fn open(settings: &Settings, installation: &str) -> Result<Files, BlobsError> {
    let bytes = |megabytes: u64| megabytes.saturating_mul(1024 * 1024);
    let quotas = FileQuotas {
        user_bytes: bytes(settings.user_quota_mb),
        business_bytes: bytes(settings.business_quota_mb),
        reserve_bytes: bytes(settings.disk_reserve_mb),
    };
    match settings.blobs.as_str() {
        "file" => {
            let dir = settings.data_dir.join("files").join(installation);
            std::fs::create_dir_all(&dir)
                .map_err(|source| BlobsError::Directory { path: dir.display().to_string(), source })?;
            if let Err(error) = remove_unfinished(&dir) {
                tracing::warn!(%error, "removing unfinished uploads failed; the next start of the server retries");
            }
            // What is acknowledged is on disk.
            let store = LocalFileSystem::new_with_prefix(&dir)?.with_fsync(true);
            let free_bytes: FreeBytes = Box::new(move || machine::free_bytes(&dir));
            let store = FileStore {
                store: Arc::new(store),
                part_bytes: LOCAL_PART_BYTES,
                at_once: LOCAL_UPLOADS,
                free_bytes: Some(free_bytes),
            };
            Ok(Files::new(store, quotas))
        }
        url if url.starts_with("s3://") => {
            let store = open_s3(url, settings.aws_secret_access_key.as_deref(), installation)?;
            let store = FileStore { store, part_bytes: S3_PART_BYTES, at_once: S3_UPLOADS, free_bytes: None };
            Ok(Files::new(store, quotas))
        }
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
fn open_s3(url: &str, secret_key: Option<&str>, installation: &str) -> Result<Arc<dyn ObjectStore>, BlobsError> {
    // Once for the process is enough; a second time is refused and does no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { max_retries: 3, retry_timeout: S3_PATIENCE, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
    if let Some(secret_key) = secret_key {
        builder = builder.with_secret_access_key(secret_key);
    }
    let store = builder.build()?;
    let prefix = url.splitn(4, '/').nth(3).unwrap_or_default().trim_matches('/');
    Ok(Arc::new(PrefixStore::new(store, format!("{prefix}/{installation}"))))
}

//! The bytes of files: kept in an object store, under their ids. What else there is to a file is in the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::file::FileUploaded;
use domain::{BusinessId, ContentType, FileId, Timestamp, UserId};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart};
use poem_openapi::Object;
use poem_openapi::types::Example;
use projections::messaging::FileRow;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{ApiError, ErrorBody, ErrorCode, capitalised};

/// Longest file, in bytes: the contract's 50 MB.
pub(crate) const MAX_FILE_BYTES: u64 = 52_428_800;
/// Bytes by which it is told what a file is.
const SNIFFED_BYTES: usize = 8192;
/// Files of a user that are taken in at the same time in any case, as long as others leave places.
const MIN_UPLOADS: usize = 8;
/// Bytes without a file are left alone for so long: their file may be about to be known.
const ORPHAN_PATIENCE: Duration = Duration::from_hours(24);

/// Keeps the bytes of files.
pub struct Files {
    store: FileStore,
    quotas: FileQuotas,
    uploads: Arc<Mutex<Vec<Reserved>>>,
}

/// Store of the bytes of files.
pub struct FileStore {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// Bytes that are written to it at once.
    pub part_bytes: usize,
    /// Files that are taken in at the same time, each of which takes the memory of two parts.
    pub at_once: usize,
    /// Bytes that are free where the store is, if it is on a disk of this machine.
    pub free_bytes: Option<FreeBytes>,
}

/// Tells how many bytes are free; none when that can't be found out.
pub type FreeBytes = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// Quotas of files.
#[derive(Clone, Copy, Debug)]
pub struct FileQuotas {
    /// Maximum bytes of the files of a user; 0 is no limit.
    pub user_bytes: u64,
    /// Maximum bytes of the files of a business; 0 is no limit.
    pub business_bytes: u64,
    /// Bytes that uploads leave free on the disk.
    pub reserve_bytes: u64,
}

/// Bytes that are kept already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) of_user: u64,
    pub(crate) of_business: u64,
}

/// Errors of the bytes of files.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The store failed, or can't be reached.
    #[error("the file store failed")]
    Store(#[from] object_store::Error),
    /// The client broke off, or said something that is no upload.
    #[error("{0}")]
    Client(String),
    /// It is longer than a file may be.
    #[error("the file is larger than 50 MB")]
    TooLarge,
    /// As many files as can be taken in at once are.
    #[error("too many files are being uploaded at once: try again")]
    Busy,
    /// The same, of one person or one business.
    #[error("too many files of yours are being uploaded at once: wait for one of them")]
    TooManyAtOnce,
    /// The user, or their business, has as much as may be.
    #[error(
        "the files of {whose} take {kept_bytes} of {quota_bytes} bytes already: delete messages whose files nobody needs any more"
    )]
    OverQuota {
        /// Owner of the quota.
        whose: &'static str,
        /// Bytes that are kept.
        kept_bytes: u64,
        /// Bytes that may be kept.
        quota_bytes: u64,
    },
    /// There is too little room left on the disk.
    #[error("there is no room for files: the operator has to make some")]
    DiskFull,
}

impl From<FilesError> for ApiError {
    fn from(error: FilesError) -> Self {
        let code = match &error {
            FilesError::Store(cause) => {
                tracing::warn!(%cause, "the file store failed");
                return ApiError::unavailable();
            }
            FilesError::Client(_) => ErrorCode::ValidationError,
            FilesError::TooLarge | FilesError::OverQuota { .. } => ErrorCode::PayloadTooLarge,
            FilesError::TooManyAtOnce => ErrorCode::RateLimit,
            FilesError::Busy | FilesError::DiskFull => ErrorCode::Unavailable,
        };
        ErrorBody::new(code, capitalised(&error.to_string())).into()
    }
}

/// An upload that is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reserved {
    business: BusinessId,
    person: UserId,
    bytes: u64,
}

/// Leave to take a file in, until it is dropped.
pub(crate) struct Permit {
    uploads: Arc<Mutex<Vec<Reserved>>>,
    reserved: Reserved,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = uploads.iter().position(|other| *other == self.reserved) {
            uploads.swap_remove(own);
        }
    }
}

/// Bytes that were stored.
pub(crate) struct TakenIn {
    pub(crate) size_bytes: u64,
    /// In hexadecimal digits.
    pub(crate) sha256: String,
    /// Media type that the first bytes look like, if any.
    pub(crate) looks_like: Option<&'static str>,
}

/// A file
#[derive(Clone, Debug, PartialEq, Object, Serialize, JsonSchema)]
#[oai(rename = "File", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileInfo {
    id: String,
    /// Name given by the uploader
    name: String,
    /// Size in bytes
    size: u64,
    /// Media type
    content_type: String,
    /// SHA-256 of its bytes, in hexadecimal digits
    sha256: String,
    /// URL, for users who may read the file
    url: String,
}

impl Example for FileInfo {
    fn example() -> Self {
        Self {
            id: "file_id".into(),
            name: "photo.png".into(),
            size: 34_567,
            content_type: "image/png".into(),
            sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
            url: "/api/messenger/files/file_id".into(),
        }
    }
}

fn url(id: impl std::fmt::Display) -> String {
    format!("/api/messenger/files/{id}")
}

impl From<&FileUploaded> for FileInfo {
    fn from(file: &FileUploaded) -> Self {
        Self {
            id: file.file_id.to_string(),
            name: file.name.known().cloned().unwrap_or_default(),
            size: file.size_bytes,
            content_type: file.content_type.clone(),
            sha256: file.sha256.clone(),
            url: url(file.file_id),
        }
    }
}

impl From<FileRow> for FileInfo {
    fn from(row: FileRow) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name.unwrap_or_default(),
            size: row.size_bytes.cast_unsigned(),
            content_type: row.content_type,
            sha256: row.sha256,
            url: url(row.id),
        }
    }
}

impl Files {
    /// Keeps them in this store, within these quotas.
    #[must_use]
    pub fn new(store: FileStore, quotas: FileQuotas) -> Self {
        Self { store, quotas, uploads: Arc::default() }
    }

    /// Maximum bytes of the files of a user; none when there is no limit.
    pub(crate) fn user_quota_bytes(&self) -> Option<u64> {
        Some(self.quotas.user_bytes).filter(|quota| *quota > 0)
    }

    /// Leave for a user to have a file taken in of so many bytes; none while as many as can be are. A user may take a tenth of all
    /// places, or eight, and a business a quarter. What is being taken in counts as if it were kept.
    pub(crate) fn permit(
        &self,
        business: BusinessId,
        person: UserId,
        announced_bytes: Option<u64>,
        kept: Kept,
    ) -> Result<Permit, FilesError> {
        let bytes = announced_bytes.unwrap_or(MAX_FILE_BYTES).min(MAX_FILE_BYTES);
        let reserved = Reserved { business, person, bytes };
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.len() >= self.store.at_once {
            return Err(FilesError::Busy);
        }
        let mine = || uploads.iter().filter(|other| other.business == business && other.person == person);
        let of_business = || uploads.iter().filter(|other| other.business == business);
        let of_all = self.store.at_once;
        if mine().count() >= (of_all / 10).max(MIN_UPLOADS) || of_business().count() >= of_all / 4 {
            return Err(FilesError::TooManyAtOnce);
        }
        let FileQuotas { user_bytes, business_bytes, reserve_bytes } = self.quotas;
        let sum = |uploads: &mut dyn Iterator<Item = &Reserved>| uploads.map(|upload| upload.bytes).sum::<u64>();
        for (whose, quota_bytes, kept_bytes, under_way) in [
            ("this user", user_bytes, kept.of_user, sum(&mut mine())),
            ("this business", business_bytes, kept.of_business, sum(&mut of_business())),
        ] {
            if quota_bytes > 0 && kept_bytes.saturating_add(under_way).saturating_add(bytes) > quota_bytes {
                return Err(FilesError::OverQuota { whose, kept_bytes, quota_bytes });
            }
        }
        let free = self.store.free_bytes.as_ref().and_then(|free_bytes| free_bytes());
        let needed = reserve_bytes.saturating_add(sum(&mut uploads.iter())).saturating_add(bytes);
        if free.is_some_and(|free| free < needed) {
            return Err(FilesError::DiskFull);
        }
        uploads.push(reserved);
        Ok(Permit { uploads: self.uploads.clone(), reserved })
    }

    /// Keeps the bytes of a file as they come, or nothing of them.
    pub(crate) async fn take_in(
        &self,
        id: FileId,
        mut chunks: BoxStream<'_, Result<Bytes, FilesError>>,
    ) -> Result<TakenIn, FilesError> {
        let upload = self.store.store.put_multipart(&path(id)).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, self.store.part_bytes);
        let taken_in = async {
            let (mut size_bytes, mut hash, mut beginning) = (0_u64, Sha256::new(), Vec::new());
            while let Some(chunk) = chunks.try_next().await? {
                size_bytes += chunk.len() as u64;
                if size_bytes > MAX_FILE_BYTES {
                    return Err(FilesError::TooLarge);
                }
                hash.update(&chunk);
                let missing = SNIFFED_BYTES.saturating_sub(beginning.len());
                beginning.extend_from_slice(&chunk[..chunk.len().min(missing)]);
                // One part is on its way while the next one is filled.
                upload.wait_for_capacity(1).await?;
                upload.write(&chunk);
            }
            let sha256 = hex::encode(hash.finalize());
            let looks_like = infer::get(&beginning).map(|kind| kind.mime_type());
            Ok(TakenIn { size_bytes, sha256, looks_like })
        }
        .await;
        match taken_in {
            Ok(taken_in) => {
                upload.finish().await?;
                Ok(taken_in)
            }
            Err(error) => {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%error, "aborting an upload failed; its unfinished parts stay in the store");
                }
                Err(error)
            }
        }
    }

    /// Some bytes of a file, or all of them.
    pub(crate) async fn hand_out(
        &self,
        id: FileId,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, FilesError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let bytes = self.store.store.get_opts(&path(id), options).await?.into_stream();
        Ok(bytes.map_err(std::io::Error::other).boxed())
    }

    /// Files whose bytes have been kept for a while, in pages of so many. Some of them may be known to nobody: a node has died
    /// before it could say what it had taken in.
    pub fn kept_for_a_while(&self, now: Timestamp, page: usize) -> BoxStream<'_, Result<Vec<FileId>, FilesError>> {
        let before = now.plus_ms(-i64::try_from(ORPHAN_PATIENCE.as_millis()).unwrap_or(i64::MAX)).unix_ms();
        let ids = self.store.store.list(None).try_filter_map(move |object| {
            let id = object.location.filename().and_then(|name| name.parse().ok());
            std::future::ready(Ok(id.filter(|_| object.last_modified.timestamp_millis() < before)))
        });
        ids.try_chunks(page).map_err(|error| FilesError::from(error.1)).boxed()
    }

    /// Deletes the bytes of a file. Repeating it changes nothing.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delete(&self, id: FileId) -> Result<(), FilesError> {
        match self.store.store.delete(&path(id)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Under the last digits of its id, which are random, so that no folder gets too full.
fn path(id: FileId) -> Path {
    let id = id.to_string();
    Path::from_iter([&id[id.len() - 2..], &id])
}

/// Returns the type of a file by its declared type and by its first bytes; the latter, if they contradict each other.
pub(crate) fn content_type(said: Option<&str>, looks_like: Option<&str>) -> Result<ContentType, String> {
    let said = said.map(ContentType::parse).transpose().map_err(|invalid| invalid.to_string())?;
    let looks_like = looks_like.and_then(|kind| ContentType::parse(kind).ok());
    let Some(said) = said.filter(|said| said.as_str() != ContentType::UNKNOWN) else {
        return Ok(looks_like.unwrap_or_else(ContentType::unknown));
    };
    let contradicts = match &looks_like {
        // What browsers are shown in place is what it says.
        _ if said.is_safe_picture() => looks_like.as_ref() != Some(&said),
        Some(looks_like) => !may_look_like(&said, looks_like),
        None => false,
    };
    if !contradicts {
        return Ok(said);
    }
    let looks_like = looks_like.as_ref().map_or("something else", ContentType::as_str);
    Err(format!("file: its content type is said to be {}, and it looks like {looks_like}", said.as_str()))
}

fn may_look_like(said: &ContentType, looks_like: &ContentType) -> bool {
    let kind = |content_type: &ContentType| content_type.as_str().split('/').next().unwrap_or_default().to_owned();
    match (kind(said).as_str(), kind(looks_like).as_str()) {
        // Anything can be an application's.
        ("application", _) => true,
        ("audio" | "video", "audio" | "video") => true,
        // A drawing of lines is text.
        ("image", "text") => said.as_str() == "image/svg+xml",
        (said, looks_like) => said == looks_like,
    }
}

#[cfg(test)]
mod tests;

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

/// Longest file, in bytes: the contract's 50 MB.
pub(crate) const MAX_FILE_BYTES: u64 = 52_428_800;
/// Bytes by which it is told what a file is.
const SNIFFED_BYTES: usize = 8192;
/// Bytes without a file are left alone for so long: their file may be about to be known.
const ORPHAN_PATIENCE: Duration = Duration::from_hours(24);

/// Keeps the bytes of files.
pub struct Files {
    store: Arc<dyn ObjectStore>,
    part_bytes: usize,
    at_once: usize,
    uploads: Arc<Mutex<Vec<(BusinessId, UserId)>>>,
}

/// What goes wrong with the bytes of files.
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
}

/// Leave to take a file in, until it is dropped.
pub(crate) struct Permit {
    uploads: Arc<Mutex<Vec<(BusinessId, UserId)>>>,
    whose: (BusinessId, UserId),
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = uploads.iter().position(|whose| *whose == self.whose) {
            uploads.swap_remove(own);
        }
    }
}

/// What was taken in.
pub(crate) struct TakenIn {
    pub(crate) size_bytes: u64,
    /// In hexadecimal digits.
    pub(crate) sha256: String,
    /// What the first bytes look like, if they look like anything.
    pub(crate) looks_like: Option<&'static str>,
}

/// A file
#[derive(Clone, Debug, PartialEq, Object, Serialize, JsonSchema)]
#[oai(rename = "File", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileInfo {
    id: String,
    /// What its uploader calls it
    name: String,
    /// How long it is, in bytes
    size: u64,
    /// What it is
    content_type: String,
    /// SHA-256 of its bytes, in hexadecimal digits
    sha256: String,
    /// Where it can be had, with the token of somebody who may
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
    /// Keeps them in this store, which takes parts of so many bytes; so many files are taken in at once, each of which takes the
    /// memory of two parts.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, part_bytes: usize, at_once: usize) -> Self {
        Self { store, part_bytes, at_once, uploads: Arc::default() }
    }

    /// Leave for somebody to have one taken in; none while as many as can be are. A person may take an eighth of all places, and
    /// a business a half.
    pub(crate) fn permit(&self, business: BusinessId, person: UserId) -> Result<Permit, FilesError> {
        let whose = (business, person);
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.len() >= self.at_once {
            return Err(FilesError::Busy);
        }
        let of_business = uploads.iter().filter(|(other, _)| *other == business).count();
        let own = uploads.iter().filter(|other| **other == whose).count();
        if own >= self.at_once / 8 || of_business >= self.at_once / 2 {
            return Err(FilesError::TooManyAtOnce);
        }
        uploads.push(whose);
        Ok(Permit { uploads: self.uploads.clone(), whose })
    }

    /// Keeps the bytes of a file as they come, or nothing of them.
    pub(crate) async fn take_in(
        &self,
        id: FileId,
        mut chunks: BoxStream<'_, Result<Bytes, FilesError>>,
    ) -> Result<TakenIn, FilesError> {
        let upload = self.store.put_multipart(&path(id)).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, self.part_bytes);
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
                    tracing::warn!(%error, "what was taken in of a file can't be thrown away");
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
        let bytes = self.store.get_opts(&path(id), options).await?.into_stream();
        Ok(bytes.map_err(std::io::Error::other).boxed())
    }

    /// Files whose bytes have been kept for a while, in pages of so many. Some of them may be known to nobody: a node has died
    /// before it could say what it had taken in.
    pub fn kept_for_a_while(&self, now: Timestamp, page: usize) -> BoxStream<'_, Result<Vec<FileId>, FilesError>> {
        let before = now.plus_ms(-i64::try_from(ORPHAN_PATIENCE.as_millis()).unwrap_or(i64::MAX)).unix_ms();
        let ids = self.store.list(None).try_filter_map(move |object| {
            let id = object.location.filename().and_then(|name| name.parse().ok());
            std::future::ready(Ok(id.filter(|_| object.last_modified.timestamp_millis() < before)))
        });
        ids.try_chunks(page).map_err(|error| FilesError::from(error.1)).boxed()
    }

    /// Deletes the bytes of a file. Repeating it changes nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, id: FileId) -> Result<(), FilesError> {
        match self.store.delete(&path(id)).await {
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

/// What a file is, by what its uploader says and by what it looks like; the latter, when they contradict each other.
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
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    async fn take_in(files: &Files, id: FileId, chunks: Vec<Result<Bytes, FilesError>>) -> Result<TakenIn, FilesError> {
        files.take_in(id, futures_util::stream::iter(chunks).boxed()).await
    }

    #[tokio::test]
    async fn what_is_taken_in_is_handed_out_in_whole_and_in_part_until_it_is_deleted() {
        let files = Files::new(Arc::new(InMemory::new()), 4, 16);
        let id = FileId(uuid::Uuid::from_u128(7));
        let chunks = PNG.chunks(3).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let taken_in = take_in(&files, id, chunks).await.unwrap();
        assert_eq!((taken_in.size_bytes, taken_in.looks_like), (PNG.len() as u64, Some("image/png")));
        let all = async |range| {
            let chunks: Vec<Bytes> = files.hand_out(id, range).await?.try_collect().await.unwrap();
            Ok::<_, FilesError>(chunks.concat())
        };
        assert_eq!(all(None).await.unwrap(), PNG);
        assert_eq!(all(Some(1..4)).await.unwrap(), b"PNG");
        for _ in 0..2 {
            files.delete(id).await.unwrap();
        }
        assert!(all(None).await.is_err());
    }

    #[tokio::test]
    async fn of_what_breaks_off_or_is_too_long_nothing_is_kept() {
        let store = Arc::new(InMemory::new());
        let files = Files::new(store.clone(), 1024 * 1024, 16);
        let broken = vec![Ok(Bytes::from_static(PNG)), Err(FilesError::Client("gone".to_owned()))];
        let too_long = (0..51).map(|_| Ok(Bytes::from(vec![0; 1024 * 1024]))).collect();
        for (n, chunks) in [broken, too_long].into_iter().enumerate() {
            assert!(take_in(&files, FileId(uuid::Uuid::from_u128(n as u128)), chunks).await.is_err());
        }
        assert_eq!(store.list(None).count().await, 0);
    }

    #[test]
    fn nobody_takes_all_places() {
        let files = Files::new(Arc::new(InMemory::new()), 4, 16);
        let (business, person) = (|n| BusinessId(uuid::Uuid::from_u128(n)), |n| UserId(uuid::Uuid::from_u128(n)));
        let first = files.permit(business(1), person(1)).unwrap();
        let mut held = vec![files.permit(business(1), person(1)).unwrap()];
        assert!(matches!(files.permit(business(1), person(1)), Err(FilesError::TooManyAtOnce)));
        held.extend((4..10).map(|n| files.permit(business(1), person(n)).unwrap()));
        assert!(matches!(files.permit(business(1), person(10)), Err(FilesError::TooManyAtOnce)));
        held.extend((11..19).map(|n| files.permit(business(n), person(n)).unwrap()));
        assert!(matches!(files.permit(business(20), person(20)), Err(FilesError::Busy)));
        drop(first);
        assert!(files.permit(business(1), person(1)).is_ok());
    }

    #[test]
    fn a_file_is_what_it_says_unless_it_looks_like_something_else() {
        for (said, looks_like, expected) in [
            (Some("image/png"), Some("image/png"), Some("image/png")),
            (Some("image/png"), Some("image/jpeg"), None),
            (Some("image/png"), None, None),
            (Some("image/jpeg"), Some("text/html"), None),
            (Some("image/svg+xml"), Some("text/xml"), Some("image/svg+xml")),
            (Some("video/mp4"), Some("application/zip"), None),
            (Some("audio/webm"), Some("video/webm"), Some("audio/webm")),
            (Some("text/plain"), None, Some("text/plain")),
            (Some("text/plain"), Some("application/pdf"), None),
            (Some("application/x-mine"), Some("application/zip"), Some("application/x-mine")),
            (Some("application/octet-stream"), Some("application/pdf"), Some("application/pdf")),
            (None, Some("image/gif"), Some("image/gif")),
            (None, None, Some("application/octet-stream")),
            (Some("nonsense"), None, None),
        ] {
            let decided = content_type(said, looks_like);
            assert_eq!(
                decided.as_ref().ok().map(ContentType::as_str),
                expected,
                "{said:?} {looks_like:?}: {decided:?}"
            );
        }
    }
}

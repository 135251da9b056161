//! Taking files in: a multipart body, read as it comes, of a client who may mean no good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use commands::{Done, NewFile};
use domain::file::FileUploaded;
use domain::{FileId, FileName};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};
use headers::HeaderMapExt;
use poem::http::header;
use poem::{Body, Request, RequestBody, Result};
use poem_openapi::error::{ContentTypeError, ParseMultipartError};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tokio::time::Instant;

use crate::Api;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::files::{FilesError, MAX_FILE_BYTES, Permit, content_type};

/// Maximum bytes of a multipart body besides the file, including file bytes that are not handed on yet.
const MAX_WRAPPING_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes that are handed to whoever parses a body at once, or more: it looks at all that it has for each piece that comes.
const PIECE_BYTES: usize = 64 * 1024;
/// Maximum time between pieces of a body.
const PATIENCE: Duration = Duration::from_secs(30);
/// Maximum time for a whole body: at 30 KB a second, the largest file arrives in time.
const PATIENCE_IN_ALL: Duration = Duration::from_mins(30);
/// Minimum pace of a body once it has come for as long as its next bytes may take: whoever trickles holds a place that others wait for.
const MIN_BYTES_A_SECOND: u64 = 4 * 1024;

/// A multipart body with a file in its field `file`. Read as it comes, by whoever handles it.
pub(super) struct Upload {
    body: Body,
    boundary: String,
    announced_bytes: Option<u64>,
}

impl<'a> ApiExtractor<'a> for Upload {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(_registry: &mut Registry) {}

    fn request_meta() -> Option<MetaRequest> {
        let file = MetaSchema {
            format: Some("binary"),
            description: Some("The file, with its name and its content type"),
            ..MetaSchema::new("string")
        };
        let schema = MetaSchema {
            properties: vec![("file", MetaSchemaRef::Inline(Box::new(file)))],
            required: vec!["file"],
            ..MetaSchema::new("object")
        };
        let content =
            MetaMediaType { content_type: "multipart/form-data", schema: MetaSchemaRef::Inline(Box::new(schema)) };
        Some(MetaRequest { description: None, content: vec![content], required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let content_type = request.content_type().ok_or(ContentTypeError::ExpectContentType)?;
        if !content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data") {
            return Err(ContentTypeError::NotSupported { content_type: content_type.to_owned() }.into());
        }
        let boundary = multer::parse_boundary(content_type)
            .map_err(|_| ParseMultipartError { reason: "the multipart body has no boundary".to_owned() })?;
        let announced_bytes = request.headers().typed_get::<headers::ContentLength>().map(|length| length.0);
        Ok(Self { body: body.take()?, boundary, announced_bytes })
    }
}

impl Upload {
    /// Returns the length of the body, if the client states it.
    pub(super) fn announced_bytes(&self) -> Option<u64> {
        self.announced_bytes
    }
}

/// Takes a file in: its bytes first, then the fact.
pub(super) async fn receive(
    api: Arc<Api>,
    request: commands::Request,
    upload: Upload,
    _permit: Permit,
) -> Result<Done<FileUploaded>, ApiError> {
    let id = FileId(api.ids.next());
    if upload.announced_bytes.is_some_and(|bytes| bytes > MAX_FILE_BYTES + MAX_WRAPPING_BYTES) {
        return Err(FilesError::TooLarge.into());
    }
    let wrapping = Arc::default();
    let body = paced(upload.body.into_bytes_stream().boxed(), Arc::clone(&wrapping));
    let new = take_in(&api, id, multer::Multipart::new(body, upload.boundary), &wrapping).await?;
    // It may have taken half an hour: whoever has been shut out meanwhile uploads nothing.
    if let Err(error) = api.commands.still_authentic(&request.caller).await {
        api.files.delete(id).await?;
        return Err(error.into());
    }
    // Should this fail, it may have been done all the same. Bytes that belong to no file are swept.
    Ok(api.commands.upload_file(&request, new).await?)
}

/// A body as it is read of a client who may mean no good: piece by piece, each in its time, all of them in theirs, and not much of it
/// besides the file. `wrapping` counts what has come, less what was taken out as the file's.
fn paced(
    body: BoxStream<'static, std::io::Result<Bytes>>,
    wrapping: Arc<AtomicU64>,
) -> impl Stream<Item = Result<Bytes, FilesError>> + Send {
    let began = Instant::now();
    let deadline = began + PATIENCE_IN_ALL;
    stream::try_unfold((body, wrapping, 0), move |(mut body, wrapping, mut come)| async move {
        // Whoever parses it reads for as long as there is something: this way, one piece at a time.
        tokio::task::yield_now().await;
        if wrapping.load(Ordering::Relaxed) > MAX_WRAPPING_BYTES {
            return Err(FilesError::Client("the multipart body has too much besides its file".to_owned()));
        }
        let mut piece = BytesMut::new();
        while piece.len() < PIECE_BYTES {
            let next = tokio::time::timeout_at(deadline.min(Instant::now() + PATIENCE), body.next()).await;
            let too_slow = |_| FilesError::Client("file: it takes too long to come".to_owned());
            let Some(chunk) = next.map_err(too_slow)? else { break };
            piece.extend_from_slice(&chunk.map_err(|_| FilesError::Client("file: it broke off".to_owned()))?);
            let in_time = (began.elapsed().saturating_sub(PATIENCE)).as_secs() * MIN_BYTES_A_SECOND;
            if come + (piece.len() as u64) < in_time {
                return Err(FilesError::Client("file: it comes too slowly".to_owned()));
            }
        }
        come += piece.len() as u64;
        wrapping.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok((!piece.is_empty()).then(|| (piece.freeze(), (body, wrapping, come))))
    })
}

/// Keeps the file in a multipart body.
async fn take_in(
    api: &Api,
    id: FileId,
    mut multipart: multer::Multipart<'_>,
    wrapping: &AtomicU64,
) -> Result<NewFile, ApiError> {
    let field = multipart.next_field().await.map_err(broken)?;
    let field = field.filter(|field| field.name() == Some("file"));
    let field = field.ok_or_else(|| ApiError::invalid("file", "must be the one field of the body"))?;
    let name = FileName::tidied(field.file_name().unwrap_or_default());
    // As it was said: what is no content type is not taken for none.
    let said = field.headers().get(header::CONTENT_TYPE).map(|said| said.to_str().unwrap_or("?").to_owned());
    let field = field.map_err(broken).inspect_ok(|chunk| {
        wrapping.fetch_sub(chunk.len() as u64, Ordering::Relaxed);
    });
    let taken_in = api.files.take_in(id, field.boxed()).await?;
    let refused = if taken_in.size_bytes == 0 {
        Some("file: must not be empty".to_owned())
    } else {
        match multipart.next_field().await {
            Ok(None) => None,
            Ok(Some(_)) => Some("file: must be the one field of the body".to_owned()),
            Err(error) => Some(broken(error).to_string()),
        }
    };
    let content_type = match refused {
        Some(reason) => Err(reason),
        None => content_type(said.as_deref(), taken_in.looks_like),
    };
    match content_type {
        Ok(content_type) => {
            Ok(NewFile { id, name, size_bytes: taken_in.size_bytes, content_type, sha256: taken_in.sha256 })
        }
        Err(reason) => {
            api.files.delete(id).await?;
            Err(ErrorBody::new(ErrorCode::ValidationError, reason).into())
        }
    }
}

/// Error of a body: one of ours, or one of the parser.
fn broken(error: multer::Error) -> FilesError {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<FilesError>() {
            Ok(own) => *own,
            Err(cause) => FilesError::Client(format!("the multipart body is broken: {cause}")),
        },
        error => FilesError::Client(format!("the multipart body is broken: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDARY: &str = "b";

    /// Returns the field `file` of a body that comes in pieces, and whether nothing follows it; or the error.
    fn read(pieces: Vec<Vec<u8>>) -> Result<Option<(Vec<u8>, bool)>, multer::Error> {
        let pieces = pieces.into_iter().map(|piece| Ok(Bytes::from(piece)));
        let body = paced(stream::iter(pieces).boxed(), Arc::default());
        let mut multipart = multer::Multipart::new(body, BOUNDARY);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let Some(field) = multipart.next_field().await? else { return Ok(None) };
            let bytes = field.bytes().await?.to_vec();
            Ok(Some((bytes, multipart.next_field().await?.is_none())))
        })
    }

    /// A piece of a body: what such bodies are made of, or anything.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let said = |text: &str| Just(text.as_bytes().to_vec());
        prop_oneof![
            said("--b\r\n"),
            said("\r\n--b"),
            said("--b--"),
            said("Content-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n"),
            said("Content-Disposition: form-data; name=file; filename*=UTF-8''%ff\r\n"),
            said("Content-Type: text/plain\r\n"),
            said("\r\n\r\n"),
            prop::collection::vec(any::<u8>(), 0..30),
            (0..100_000_usize).prop_map(|length| vec![b'x'; length]),
        ]
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_field_or_refused(pieces in prop::collection::vec(piece(), 0..12)) {
            let sent: usize = pieces.iter().map(Vec::len).sum();
            if let Ok(Some((bytes, _))) = read(pieces) {
                prop_assert!(bytes.len() < sent);
            }
        }

        #[test]
        fn a_file_comes_as_it_was_sent_however_it_is_cut(file in prop::collection::vec(any::<u8>(), 1..300), cuts in 1..50_usize) {
            let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n";
            let body = [&head[..], &file, b"\r\n--b--\r\n"].concat();
            // A file that has the boundary in it is one of another boundary.
            prop_assume!(!file.windows(5).any(|bytes| bytes == b"\r\n--b"));
            let read = read(body.chunks(cuts).map(<[u8]>::to_vec).collect());
            prop_assert_eq!(read.ok().flatten(), Some((file, true)));
        }
    }
}

//! Uploading files and getting them back.

mod download;
mod upload;

use std::sync::Arc;

use domain::FileId;
use domain::file::FileError;
use headers::{ETag, HeaderMapExt, IfNoneMatch};
use poem::web::Data;
use poem::{Body, Request};
use poem_openapi::param::Path;
use poem_openapi::payload::{Binary, Json};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use crate::Api;
use crate::auth::MessengerToken;
use crate::bodies::Created;
use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::files::{FileInfo, Kept};
use crate::openapi::Tag;
use download::{Asked, asked_for, disposition};
use upload::{Upload, receive};

pub(crate) struct FilesApi;

/// One file
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct OneFile {
    /// Always true
    success: bool,
    file: FileInfo,
}

impl Example for OneFile {
    fn example() -> Self {
        Self { success: true, file: Example::example() }
    }
}

/// A file, or a part of it.
#[derive(ApiResponse)]
enum Download {
    /// The file
    #[oai(status = 200)]
    Whole(
        Binary<Body>,
        /// Media type
        #[oai(header = "Content-Type")]
        String,
        /// Size in bytes
        #[oai(header = "Content-Length")]
        u64,
        /// `attachment`, unless it is a picture that can't run anything
        #[oai(header = "Content-Disposition")]
        String,
        /// Names its content: it never changes
        #[oai(header = "ETag")]
        String,
        #[oai(header = "Accept-Ranges")] String,
        #[oai(header = "Cache-Control")] String,
        #[oai(header = "Content-Security-Policy")] String,
    ),
    /// The part that was asked for
    #[oai(status = 206)]
    Part(
        Binary<Body>,
        #[oai(header = "Content-Type")] String,
        #[oai(header = "Content-Length")] u64,
        #[oai(header = "Content-Disposition")] String,
        #[oai(header = "ETag")] String,
        /// Range and total size
        #[oai(header = "Content-Range")]
        String,
        #[oai(header = "Cache-Control")] String,
        #[oai(header = "Content-Security-Policy")] String,
    ),
    /// You have it already
    #[oai(status = 304)]
    Unchanged(#[oai(header = "ETag")] String),
    /// There is no such part
    #[oai(status = 416)]
    NoSuchPart(
        Json<ErrorBody>,
        /// Total size
        #[oai(header = "Content-Range")]
        String,
    ),
}

/// Its content never changes, but who may have it does: whoever keeps it asks each time.
const CACHE_CONTROL: &str = "private, no-cache";
/// Whatever it is, it runs nothing.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; sandbox";

#[OpenApi(prefix_path = "/api/messenger/files", tag = "Tag::Files")]
impl FilesApi {
    /// Upload a file
    ///
    /// As `multipart/form-data`, in the field `file`; up to 50 MB. Then send it with a message, in `attachments`: until then it is
    /// for nobody but you, and a file that no message carries is deleted after a day. Your files, and those of your business, may take
    /// so much room together; `GET /me` says how much yours take.
    #[oai(path = "/", method = "post", operation_id = "uploadFile")]
    async fn upload(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        upload: Upload,
    ) -> Result<Created<OneFile>, ApiError> {
        let caller = token.caller();
        let (messaging, _) = api.messaging(None).await?;
        let kept = Kept {
            of_user: messaging.kept_bytes(caller.user_id.0).await?,
            of_business: messaging.kept_bytes(caller.business_id.0).await?,
        };
        let permit = api.files.permit(caller.business_id, caller.user_id, upload.announced_bytes(), kept)?;
        // On a task of its own, which throws away what it has got when its client hangs up.
        let receiving = tokio::spawn(receive(api.clone(), token.request(&api), upload, permit));
        let done = receiving.await.map_err(|error| ApiError::internal(&error))??;
        Ok(Created::at(done.position, OneFile { success: true, file: FileInfo::from(&done.value) }))
    }

    /// Get a file
    ///
    /// For its uploader, and for the parties of the messages that carry it. Takes `Range`, `If-Range` and `If-None-Match`.
    #[oai(path = "/:id", method = "get", operation_id = "getFile")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        request: &Request,
        id: Path<String>,
    ) -> Result<Download, ApiError> {
        let id: FileId = id.0.parse().map_err(|_| ApiError::rule(&FileError::NoSuchFile))?;
        let file = api.commands.file_for(&token.request(&api), id).await?.value;
        let etag = format!("\"{}\"", file.sha256);
        let typed: ETag = etag.parse().map_err(|_| ApiError::rule(&FileError::NoSuchFile))?;
        let headers = request.headers();
        if headers.typed_get::<IfNoneMatch>().is_some_and(|known| !known.precondition_passes(&typed)) {
            return Ok(Download::Unchanged(etag));
        }
        let range = match asked_for(headers, &typed, file.size_bytes) {
            Asked::Whole => None,
            Asked::Part(range) => Some(range),
            Asked::NoSuchPart => {
                let mut body = ErrorBody::new(ErrorCode::ValidationError, "Range: there is no such part of the file");
                body.status_code = 416;
                return Ok(Download::NoSuchPart(Json(body), format!("bytes */{}", file.size_bytes)));
            }
        };
        let bytes = api.files.hand_out(id, range.clone()).await?;
        let body = Binary(Body::from_bytes_stream(bytes));
        let (content_type, disposition) = (file.content_type.clone(), disposition(&file));
        let (caching, policy) = (CACHE_CONTROL.to_owned(), CONTENT_SECURITY_POLICY.to_owned());
        Ok(match range {
            None => Download::Whole(
                body,
                content_type,
                file.size_bytes,
                disposition,
                etag,
                "bytes".to_owned(),
                caching,
                policy,
            ),
            Some(range) => {
                let part = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size_bytes);
                let length = range.end - range.start;
                Download::Part(body, content_type, length, disposition, etag, part, caching, policy)
            }
        })
    }
}

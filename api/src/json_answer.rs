//! Bodies of answers: JSON, written by serde. The framework's own writer makes a tree of values of them first.

use poem::{IntoResponse, Response};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde::Serialize;

use crate::error::{ErrorBody, ErrorCode, respond};

/// Headers that an answer has room for from the beginning: as many as it gets on its way out.
const HEADERS: usize = 16;

/// Bytes that an answer has room for from the beginning: most are no longer.
const BYTES: usize = 1024;

/// A JSON body, documented as [`Json`] is.
pub(crate) struct JsonAnswer<T>(pub(crate) T);

impl<T: Type> Payload for JsonAnswer<T> {
    const CONTENT_TYPE: &'static str = Json::<T>::CONTENT_TYPE;

    fn check_content_type(content_type: &str) -> bool {
        Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        Json::<T>::schema_ref()
    }

    fn register(registry: &mut Registry) {
        Json::<T>::register(registry);
    }
}

impl<T: Type + Serialize> IntoResponse for JsonAnswer<T> {
    fn into_response(self) -> Response {
        let mut json = Vec::with_capacity(BYTES);
        match serde_json::to_writer(&mut json, &self.0) {
            Ok(()) => {
                let mut response = Response::from(json);
                response.headers_mut().reserve(HEADERS);
                response.set_content_type(Self::CONTENT_TYPE)
            }
            Err(error) => {
                tracing::error!(%error, "an answer can't be written as JSON");
                respond(ErrorBody::new(ErrorCode::InternalError, "Internal error"))
            }
        }
    }
}

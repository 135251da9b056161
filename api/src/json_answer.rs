//! Bodies of answers: JSON, written by serde. The framework's own writer makes a tree of values of them first.

use std::cell::RefCell;

use bytes::Bytes;
use poem::{IntoResponse, Response};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde::Serialize;

use crate::error::{ErrorBody, ErrorCode, respond};

/// Headers that an answer has room for from the beginning: as many as it gets on its way out.
const HEADERS: usize = 16;

/// Bytes of the longest answer for which room is kept.
const KEPT_BYTES: usize = 64 * 1024;

thread_local! {
    /// Buffer in which answers are written, so that each takes as much memory as it is long.
    static DRAFT: RefCell<Vec<u8>> = const { RefCell::new(vec![]) };
}

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
        match written(&self.0) {
            Ok(json) => {
                let mut response = Response::from(json);
                response.headers_mut().reserve(HEADERS);
                response.set_content_type(Self::CONTENT_TYPE)
            }
            Err(error) => {
                tracing::error!(%error, "writing an answer as JSON failed");
                respond(ErrorBody::new(ErrorCode::InternalError, "Internal error"))
            }
        }
    }
}

fn written(answer: &impl Serialize) -> serde_json::Result<Bytes> {
    DRAFT.with_borrow_mut(|draft| {
        // Whoever panicked while they wrote has left here what isn't this client's to see.
        draft.clear();
        let written = serde_json::to_writer(&mut *draft, answer).map(|()| Bytes::copy_from_slice(draft));
        draft.clear();
        draft.shrink_to(KEPT_BYTES);
        written
    })
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use serde::ser::SerializeSeq;
    use serde::{Serialize, Serializer};

    use super::*;

    /// Breaks down when half of it is written.
    struct Broken;

    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_seq(None)?.serialize_element("somebody's secret")?;
            panic!("half of it is written");
        }
    }

    #[test]
    fn an_answer_holds_nothing_of_the_one_before() {
        assert_eq!(written(&["long", "answer"]).unwrap(), r#"["long","answer"]"#);
        assert_eq!(written(&[1]).unwrap(), "[1]");
        assert!(catch_unwind(|| written(&Broken)).is_err());
        assert_eq!(written(&[2]).unwrap(), "[2]");
    }

    #[test]
    fn the_room_of_a_very_long_answer_is_not_kept() {
        written(&"x".repeat(4 * KEPT_BYTES)).unwrap();
        assert!(DRAFT.with_borrow(Vec::capacity) <= KEPT_BYTES);
    }
}

//! Bodies of requests: JSON, read by serde. The framework's own reader doesn't say which field is wrong.

use poem::{Request, RequestBody, Result};
use poem_openapi::error::{ContentTypeError, ParseRequestPayloadError};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaRequest, Registry};
use poem_openapi::types::ParseFromJSON;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::DeserializeOwned;

/// Maximum length of a reason, in characters: it may quote the request.
const MAX_REASON_CHARS: usize = 200;

/// A JSON body, documented as [`Json`] is.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<'a, T: ParseFromJSON + DeserializeOwned> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Json<T> as ApiExtractor>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        <Json<T> as ApiExtractor>::request_meta()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let content_type = request.content_type().ok_or(ContentTypeError::ExpectContentType)?;
        // What nearly everybody says is taken as it is; to read it as what it might be takes longer than to read a small body.
        if content_type != "application/json" && !Json::<T>::check_content_type(content_type) {
            return Err(ContentTypeError::NotSupported { content_type: content_type.to_owned() }.into());
        }
        let json = body.take()?.into_bytes().await?;
        read("body", &json).map(Self).map_err(|reason| ParseRequestPayloadError { reason }.into())
    }
}

/// Parses a JSON object; the error names the field, if it is one field's fault.
pub(crate) fn read<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, String> {
    // Serde would take an array for the fields in their order.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(format!("the {what} must be a JSON object"));
    }
    // To know where one is while reading takes as long as reading: only what is wrong is read again for that.
    if let Ok(body) = serde_json::from_slice(json) {
        return Ok(body);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let body = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        let reason = without_place(&error.into_inner().to_string());
        if matches!(field.as_str(), "." | "?") { reason } else { format!("{field:.MAX_REASON_CHARS$}: {reason}") }
    })?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(body)
}

/// Line and column help nobody whose JSON was written by a program.
fn without_place(reason: &str) -> String {
    let reason = reason.split_once(" at line ").map_or(reason, |(reason, _)| reason);
    reason.chars().take(MAX_REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Body {
        some_id: String,
        list: Option<Vec<u8>>,
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, expected) in [
            ("{}", "missing field `someId`"),
            (r#"{"someId":5}"#, "someId: invalid type: integer `5`, expected a string"),
            (r#"{"someId":"x","list":[1,"2"]}"#, "list[1]: invalid type: string \"2\", expected u8"),
            (r#"{"someId":"x","colour":1}"#, "colour: unknown field `colour`, expected `someId` or `list`"),
            ("", "the body must be a JSON object"),
            (r#"["x"]"#, "the body must be a JSON object"),
            (" {", "EOF while parsing an object"),
        ] {
            assert_eq!(read::<Body>("body", json.as_bytes()).unwrap_err(), expected);
        }
        assert!(read::<Body>("body", br#"{"someId":"x"} {}"#).is_err());
        assert_eq!(read::<Body>("body", br#"{"someId":"x"}"#), Ok(Body { some_id: "x".into(), list: None }));
    }

    /// The body, or what could be one but for a piece of it.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            "[\\[\\]{}:,\"\\\\ 0-9eE.+-]{0,5}",
            Just(r#""someId""#.to_owned()),
            Just(r#""list""#.to_owned()),
            Just(r#"{"someId":"x","list":[1"#.to_owned()),
            Just("\\ud800".to_owned()),
            (0..2000_usize).prop_map(|depth| "[".repeat(depth)),
            (0..2000_usize).prop_map(|depth| r#"{"list":"#.repeat(depth)),
            "\\PC{0,10}",
        ];
        let text = prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes());
        prop_oneof![text, prop::collection::vec(any::<u8>(), 0..40)]
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_named_in_few_words(json in body()) {
            if let Err(reason) = read::<Body>("body", &json) {
                prop_assert!(!reason.is_empty() && reason.chars().count() <= 2 * MAX_REASON_CHARS + 2, "{reason}");
            }
        }
    }
}

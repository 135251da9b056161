//! Methods of a path (RFC 9110 15.5.6), which a 405 lists.

use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};
use serde_json::Value;

/// Adds the header `Allow` to answers 405.
pub(crate) struct Allow(Vec<Path>);

/// A path of the API, with the methods that it is for.
struct Path {
    /// Those in braces stand for anything.
    segments: Vec<String>,
    methods: HeaderValue,
}

impl Allow {
    /// Knows the paths of an OpenAPI document; any other is for being looked at only.
    pub(crate) fn of_document(document: &str) -> Self {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        let paths = document["paths"].as_object().into_iter().flatten().filter_map(|(path, operations)| {
            let methods: Vec<String> = operations.as_object()?.keys().map(|method| method.to_uppercase()).collect();
            let segments = path.split('/').map(str::to_owned).collect();
            Some(Path { segments, methods: HeaderValue::try_from(methods.join(", ")).ok()? })
        });
        Self(paths.collect())
    }

    /// Says so in an answer about a path.
    pub(crate) fn tell(&self, path: &str, response: &mut Response) {
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            let segments: Vec<&str> = path.split('/').collect();
            let methods = self.0.iter().find(|path| path.matches(&segments)).map(|path| path.methods.clone());
            response.headers_mut().insert(header::ALLOW, methods.unwrap_or(HeaderValue::from_static("GET")));
        }
    }
}

impl Path {
    fn matches(&self, segments: &[&str]) -> bool {
        let fits = |(own, other): (&String, &&str)| own == other || own.starts_with('{');
        self.segments.len() == segments.len() && self.segments.iter().zip(segments).all(fits)
    }
}

#[cfg(test)]
mod tests {
    use poem::IntoResponse;

    use super::*;

    #[test]
    fn whoever_uses_a_wrong_method_is_told_the_right_ones() {
        let document = r#"{"paths": {"/things": {"get": {}, "post": {}}, "/things/{id}": {"delete": {}}}}"#;
        let allow = Allow::of_document(document);
        for (path, expected) in [("/things", "GET, POST"), ("/things/7", "DELETE"), ("/elsewhere", "GET")] {
            let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
            allow.tell(path, &mut response);
            assert_eq!(response.headers()["allow"], expected);
        }
        let mut fine = StatusCode::OK.into_response();
        allow.tell("/things", &mut fine);
        assert!(fine.headers().is_empty());
    }
}

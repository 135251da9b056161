//! What a path is for (RFC 9110 15.5.6): an answer 405 says which methods there are.

use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, Middleware, Request, Response, Result};
use serde_json::Value;

/// Adds the header `Allow` to answers 405.
pub(crate) struct Allow(Arc<[Path]>);

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
}

impl<E: Endpoint<Output = Response>> Middleware<E> for Allow {
    type Output = WithAllow<E>;

    fn transform(&self, endpoint: E) -> WithAllow<E> {
        WithAllow { endpoint, paths: self.0.clone() }
    }
}

/// An endpoint whose answers 405 say what is allowed.
pub(crate) struct WithAllow<E> {
    endpoint: E,
    paths: Arc<[Path]>,
}

impl<E: Endpoint<Output = Response>> Endpoint for WithAllow<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let path = request.uri().path().to_owned();
        let mut response = self.endpoint.call(request).await?;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            let segments: Vec<&str> = path.split('/').collect();
            let methods = self.paths.iter().find(|path| path.matches(&segments)).map(|path| path.methods.clone());
            response.headers_mut().insert(header::ALLOW, methods.unwrap_or(HeaderValue::from_static("GET")));
        }
        Ok(response)
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
    use poem::http::Method;
    use poem::{EndpointExt, IntoResponse};

    use super::*;

    #[tokio::test]
    async fn whoever_uses_a_wrong_method_is_told_the_right_ones() {
        let document = r#"{"paths": {"/things": {"get": {}, "post": {}}, "/things/{id}": {"delete": {}}}}"#;
        let endpoint = poem::endpoint::make_sync(|_| StatusCode::METHOD_NOT_ALLOWED.into_response());
        let endpoint = endpoint.with(Allow::of_document(document));
        for (path, expected) in [("/things", "GET, POST"), ("/things/7", "DELETE"), ("/elsewhere", "GET")] {
            let request = Request::builder().method(Method::TRACE).uri(path.parse().unwrap()).finish();
            assert_eq!(endpoint.call(request).await.unwrap().headers()["allow"], expected);
        }
    }
}

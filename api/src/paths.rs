//! Endpoints of paths. The framework nests routes in routes by making each request anew, which takes as long as all that the request
//! is for; here they are looked up.

use std::collections::HashMap;

use futures_util::future::Either;
use poem::endpoint::BoxEndpoint;
use poem::{Endpoint, EndpointExt, IntoEndpoint, Request, Response, Result};

/// Endpoints by path, and one for all the other paths.
pub(crate) struct Paths<E> {
    exact: HashMap<&'static str, BoxEndpoint<'static>>,
    under: Vec<(&'static str, BoxEndpoint<'static>)>,
    others: E,
}

impl<E: Endpoint<Output = Response>> Paths<E> {
    /// Every path leads to this one.
    pub(crate) fn to(others: E) -> Self {
        Self { exact: HashMap::new(), under: vec![], others }
    }

    /// But this path leads to that one.
    #[must_use]
    pub(crate) fn at(mut self, path: &'static str, endpoint: impl IntoEndpoint<Endpoint: 'static>) -> Self {
        self.exact.insert(path, endpoint.into_endpoint().map_to_response().boxed());
        self
    }

    /// And this path, and all that begin with it, to that one.
    #[must_use]
    pub(crate) fn under(mut self, path: &'static str, endpoint: impl IntoEndpoint<Endpoint: 'static>) -> Self {
        self.under.push((path, endpoint.into_endpoint().map_to_response().boxed()));
        self
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Paths<E> {
    type Output = Response;

    /// Not an `async fn`: those keep the request twice.
    fn call(&self, request: Request) -> impl Future<Output = Result<Response>> + Send {
        let path = request.uri().path();
        let is_under =
            |above: &str| path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let under = || self.under.iter().find(|(above, _)| is_under(above)).map(|(_, endpoint)| endpoint);
        match self.exact.get(path).or_else(under) {
            Some(endpoint) => Either::Left(endpoint.call(request)),
            None => Either::Right(self.others.call(request)),
        }
    }
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make_sync;

    use super::*;

    #[tokio::test]
    async fn a_path_leads_where_it_should() {
        let says = |what: &'static str| make_sync(move |_| what);
        let paths = Paths::to(says("others").map_to_response()).at("/a", says("exact")).under("/b", says("under"));
        for (path, expected) in [
            ("/a", "exact"),
            ("/a?b=c", "exact"),
            ("/a/", "others"),
            ("/b", "under"),
            ("/b/", "under"),
            ("/b/a", "under"),
            ("/ba", "others"),
            ("/", "others"),
        ] {
            let answer = paths.call(Request::builder().uri(path.parse().unwrap()).finish()).await.unwrap();
            assert_eq!(answer.into_body().into_string().await.unwrap(), expected, "{path}");
        }
    }
}

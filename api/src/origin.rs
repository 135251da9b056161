//! Which web pages may use this server. A page of this very server always may, a client that is no page too; other pages only if
//! the operator lists them. For REST and for every handshake of a live stream alike.

use std::sync::Arc;

use futures_util::future::{Either, ready};
use poem::endpoint::BoxEndpoint;
use poem::http::{Method, header};
use poem::middleware::Cors;
use poem::{Endpoint, EndpointExt, Request, Response, Result};

use crate::error::{ErrorBody, ErrorCode, respond};

/// Web pages that may use this server, besides its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// None.
    #[default]
    OwnOnly,
    /// Those of these origins, each like `https://example.com`.
    Listed(Vec<String>),
    /// Those of any origin.
    Any,
}

impl AllowedOrigins {
    /// Reads a comma-separated list; `*` is any.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let origins: Vec<String> = list
            .split(',')
            .map(|origin| origin.trim().trim_end_matches('/').to_ascii_lowercase())
            .filter(|origin| !origin.is_empty())
            .collect();
        match origins.as_slice() {
            [] => Self::OwnOnly,
            origins if origins.iter().any(|origin| origin == "*") => Self::Any,
            _ => Self::Listed(origins),
        }
    }

    /// Allows pages served from this machine too, on whatever port.
    #[must_use]
    pub fn and_localhost(self) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::OwnOnly => Self::Listed(vec!["localhost".to_owned()]),
            Self::Listed(mut origins) => {
                origins.push("localhost".to_owned());
                Self::Listed(origins)
            }
        }
    }

    fn allow(&self, origin: &str) -> bool {
        match self {
            Self::OwnOnly => false,
            Self::Any => true,
            Self::Listed(origins) => {
                let origin = origin.to_ascii_lowercase();
                origins.iter().any(|listed| *listed == origin || (listed == "localhost" && is_localhost(&origin)))
            }
        }
    }
}

fn is_localhost(origin: &str) -> bool {
    let Some(("http" | "https", authority)) = origin.split_once("://") else { return false };
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| {
        let rest = authority.strip_prefix(host);
        rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
    })
}

/// Lets requests through whose origin may use the server, with the headers that browsers want.
pub(crate) struct Origins<E> {
    own: Arc<E>,
    listed: BoxEndpoint<'static>,
    allowed: AllowedOrigins,
}

impl<E: Endpoint<Output = Response> + 'static> Origins<E> {
    /// In front of what never fails: `Cors` takes errors for answers without headers.
    pub(crate) fn of(endpoint: E, allowed: AllowedOrigins) -> Self {
        let own = Arc::new(endpoint);
        let listed = own.clone().with(
            Cors::new()
                .allow_origins_fn({
                    let allowed = allowed.clone();
                    move |origin| allowed.allow(origin)
                })
                .expose_headers([
                    "x-position",
                    "retry-after",
                    "ratelimit",
                    "ratelimit-policy",
                    "content-disposition",
                    "etag",
                ])
                .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE]),
        );
        Self { own, listed: listed.map_to_response().boxed(), allowed }
    }
}

/// Whose page a request comes from.
enum Whose {
    /// This server's, or nobody's: a client that is no page names none.
    Own,
    /// One that the operator has listed.
    Listed,
    /// Any other.
    Others,
}

impl<E> Origins<E> {
    fn whose(&self, request: &Request) -> Whose {
        let Some(origin) = request.headers().get(header::ORIGIN) else { return Whose::Own };
        match origin.to_str() {
            Ok(origin) if is_own(origin, request) => Whose::Own,
            Ok(origin) if self.allowed.allow(origin) => Whose::Listed,
            _ => Whose::Others,
        }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Origins<E> {
    type Output = Response;

    /// Not an `async fn`: those keep the request twice.
    fn call(&self, request: Request) -> impl Future<Output = Result<Response>> + Send {
        match self.whose(&request) {
            Whose::Own => Either::Left(self.own.call(request)),
            Whose::Listed => Either::Right(Either::Left(self.listed.call(request))),
            Whose::Others => {
                let refusal = ErrorBody::new(ErrorCode::Forbidden, "This origin is not allowed");
                Either::Right(Either::Right(ready(Ok(respond(refusal)))))
            }
        }
    }
}

/// Whether the page was served by the server that it calls.
fn is_own(origin: &str, request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin.split_once("://"), host.or_else(|| request.uri().authority().map(poem::http::uri::Authority::as_str)))
    {
        (Some(("http" | "https", authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_allowed() {
        let allowed = AllowedOrigins::parse("https://app.example.com, http://localhost:5173/");
        assert!(allowed.allow("https://app.example.com"));
        assert!(allowed.allow("http://LOCALHOST:5173"));
        for other in ["http://app.example.com", "https://app.example.com.evil.net", "null", "http://localhost:80"] {
            assert!(!allowed.allow(other), "{other}");
        }
    }

    #[test]
    fn a_star_allows_any_and_nothing_allows_none() {
        assert_eq!(AllowedOrigins::parse("*"), AllowedOrigins::Any);
        assert_eq!(AllowedOrigins::parse(" "), AllowedOrigins::OwnOnly);
    }

    #[test]
    fn localhost_means_any_port_of_this_machine() {
        let allowed = AllowedOrigins::OwnOnly.and_localhost();
        for local in
            ["http://localhost:3000", "http://127.0.0.1:5173", "http://localhost", "http://[::1]", "https://[::1]:80"]
        {
            assert!(allowed.allow(local), "{local}");
        }
        for other in [
            "http://localhost.evil.net",
            "ftp://localhost",
            "http://127.0.0.1:18480.evil.example",
            "http://localhost:",
            "http://localhost:80@evil.example",
            "http://localhost:80:80",
        ] {
            assert!(!allowed.allow(other), "{other}");
        }
    }
}

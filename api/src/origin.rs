//! Web pages that may use this server. A page of this very server always may, a client that is no page too; other pages only if
//! the operator lists them. For REST and for every handshake of a live stream alike.
//!
//! The server's own address is told by the connection, and not by the request: it is the address that the client has reached. Pages of any
//! other name are others', also where that name leads here (DNS rebinding). Only a proxy of the operator's is believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures_util::future::{Either, ready};
use poem::endpoint::BoxEndpoint;
use poem::http::{Method, Version, header};
use poem::middleware::Cors;
use poem::{Addr, Endpoint, EndpointExt, Request, Response, Result};

use crate::client_address::TrustedProxies;
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

    /// Returns true if the operator lists an origin.
    fn lists(&self, origin: &str) -> bool {
        matches!(self, Self::Listed(_)) && self.allow(origin)
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

/// Web pages that may use this server, as configured.
#[derive(Clone, Debug, Default)]
pub struct OwnPages {
    /// Pages that may, besides the server's own.
    pub allowed: AllowedOrigins,
    /// Proxies that say under which name they were reached.
    pub trusted_proxies: TrustedProxies,
    /// Whether requests for any other host than this server or an allowed one are refused. For a demo, whose passwords everybody
    /// knows.
    pub only_own_hosts: bool,
}

/// Lets requests through whose origin may use the server, with the headers that browsers want.
pub(crate) struct Origins<E> {
    own: Arc<E>,
    listed: BoxEndpoint<'static>,
    pages: OwnPages,
}

impl<E: Endpoint<Output = Response> + 'static> Origins<E> {
    /// In front of what never fails: `Cors` takes errors for answers without headers.
    pub(crate) fn of(endpoint: E, pages: OwnPages) -> Self {
        let own = Arc::new(endpoint);
        let listed = own.clone().with(
            Cors::new()
                .allow_origins_fn({
                    let allowed = pages.allowed.clone();
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
        Self { own, listed: listed.map_to_response().boxed(), pages }
    }
}

/// Owner of the page that a request comes from.
enum Whose {
    /// This server's, or nobody's: a client that is no page names none.
    Own,
    /// One that the operator has listed.
    Listed,
    /// Any other.
    Others,
}

impl<E> Origins<E> {
    fn whose(&self, request: &Request) -> std::result::Result<Whose, ErrorBody> {
        let host = host_of(request)?;
        let origin = request.headers().get(header::ORIGIN);
        let (Some(local), peer) = (socket_address(request.local_addr()), socket_address(request.remote_addr())) else {
            return Ok(Whose::Own);
        };
        let is_by_proxy = peer.is_some_and(|peer| self.pages.trusted_proxies.include(peer.ip()));
        let is_own_host = |authority: &str, port: u16| {
            is_at(authority, port, local)
                || is_by_proxy && forwarded_host(request).is_some_and(|host| host == authority)
        };
        if self.pages.only_own_hosts
            && let Some(host) = host
            && !is_own_host(host, 80)
            && !["http", "https"].iter().any(|scheme| self.pages.allowed.lists(&format!("{scheme}://{host}")))
        {
            return Err(ErrorBody::bad_request(
                "Host: this server answers to other names only, as long as it is a demo",
            ));
        }
        let Some(origin) = origin else { return Ok(Whose::Own) };
        let Ok(origin) = origin.to_str() else { return Ok(Whose::Others) };
        let own = match origin.split_once("://") {
            Some(("http", authority)) => is_own_host(authority, 80),
            Some(("https", authority)) => is_own_host(authority, 443),
            _ => false,
        };
        Ok(match () {
            () if own => Whose::Own,
            () if self.pages.allowed.allow(origin) => Whose::Listed,
            () => Whose::Others,
        })
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Origins<E> {
    type Output = Response;

    /// Not an `async fn`: those keep the request twice.
    fn call(&self, request: Request) -> impl Future<Output = Result<Response>> + Send {
        match self.whose(&request) {
            Ok(Whose::Own) => Either::Left(self.own.call(request)),
            Ok(Whose::Listed) => Either::Right(Either::Left(self.listed.call(request))),
            Ok(Whose::Others) => {
                let reason = "This origin is not allowed: the setting SWITCHBOARD_ALLOWED_ORIGINS lists those that are";
                let refusal = ErrorBody::new(ErrorCode::Forbidden, reason);
                Either::Right(Either::Right(ready(Ok(respond(refusal)))))
            }
            Err(refusal) => Either::Right(Either::Right(ready(Ok(respond(refusal))))),
        }
    }
}

/// The one host that a request names; HTTP/1.0 may do without.
fn host_of(request: &Request) -> std::result::Result<Option<&str>, ErrorBody> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map(Some).map_err(|_| ErrorBody::bad_request("Host: must be a host")),
        (None, _) if request.version() < Version::HTTP_11 => Ok(None),
        (None, _) => Err(ErrorBody::bad_request("Host: is missing")),
        (Some(_), Some(_)) => Err(ErrorBody::bad_request("Host: must be there once")),
    }
}

/// The name under which a proxy was reached.
fn forwarded_host(request: &Request) -> Option<&str> {
    let headers = request.headers();
    let host = headers.get("x-forwarded-host").or_else(|| headers.get(header::HOST));
    host.and_then(|host| host.to_str().ok())
}

fn socket_address(address: &Addr) -> Option<SocketAddr> {
    address.as_socket_addr().copied()
}

/// Returns true if a host, with the port unless it is the usual one, is at an address.
fn is_at(authority: &str, usual_port: u16, address: SocketAddr) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse().ok())
        }
        _ => (authority, Some(usual_port)),
    };
    if port != Some(address.port()) {
        return false;
    }
    let ip = address.ip().to_canonical();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(named) => named == ip || is_loopback_name(named) && is_loopback_name(ip),
        Err(_) => is_loopback_name(ip) && host.eq_ignore_ascii_case("localhost"),
    }
}

/// Returns true if `localhost` may mean an address.
fn is_loopback_name(ip: IpAddr) -> bool {
    ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST
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

    #[test]
    fn a_page_is_our_own_by_the_address_that_was_reached() {
        let at = |authority, address: &str| is_at(authority, 80, address.parse().unwrap());
        for own in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080"] {
            assert!(at(own, "127.0.0.1:8080") && at(own, "[::1]:8080") && at(own, "[::ffff:127.0.0.1]:8080"), "{own}");
        }
        assert!(at("192.0.2.1", "192.0.2.1:80") && at("[2001:db8::1]:8080", "[2001:db8::1]:8080"));
        for other in [
            "evil.example:8080",
            "localhost",
            "localhost:80",
            "127.0.0.2:8080",
            "localhost.evil.example:8080",
            "",
            ":8080",
        ] {
            assert!(!at(other, "127.0.0.1:8080"), "{other}");
        }
        for other in ["localhost:80", "127.0.0.1", "192.0.2.2", "192.0.2.1:"] {
            assert!(!at(other, "192.0.2.1:80"), "{other}");
        }
    }
}

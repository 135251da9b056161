//! A client of plain HTTP.

use reqwest::Client;

/// A client with connections of its own. It speaks no TLS, and so needs no certificates of the machine, which take long to read.
pub(crate) fn http_client() -> Client {
    // Once for the process is enough; a second time is refused and does no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().tls_certs_only([]).build().unwrap()
}

/// The same, at another address of this machine, like `127.0.0.2`.
pub(crate) fn http_client_from(address: &str) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().tls_certs_only([]).local_address(Some(address.parse().unwrap())).build().unwrap()
}

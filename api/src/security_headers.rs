//! Security headers of every answer that does not set them itself.

use poem::Response;
use poem::http::{HeaderName, HeaderValue, StatusCode, header};

/// Answers are data, and pages bring everything along that they are made of.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: 'self'; \
                           font-src data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Answers are for whoever asks, and for now.
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds them.
pub(crate) fn security_headers(response: &mut Response) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let is_page = response.content_type().is_some_and(|content_type| content_type.starts_with("text/html"));
    let policy = (header::CONTENT_SECURITY_POLICY, if is_page { PAGE_POLICY } else { DATA_POLICY });
    for (name, value) in HEADERS.into_iter().chain([policy]) {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}

//! Sender of a request: identified and counted once, before its body is read.

use commands::{Caller, Claims, Identified};
use domain::Timestamp;
use domain::session::Audience;
use headers::authorization::Bearer;
use headers::{Authorization, HeaderMapExt};
use poem::Request;

use crate::Api;
use crate::error::{ApiError, ErrorBody, ErrorCode};

/// A caller, and the end of the token that says so.
pub(crate) type Checked = (Caller, Timestamp);

/// A request's sender, as far as its token says and the log agrees.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) claims: Claims,
    pub(crate) expires_at: Timestamp,
    /// The caller, or why the token is of no use here.
    identified: Result<Identified, ApiError>,
}

impl Identity {
    /// The caller, who may have to change their password first.
    pub(crate) fn caller(&self) -> Result<Caller, ApiError> {
        self.identified.clone().map(|identified| identified.caller)
    }

    /// The caller, if nothing has to be done first.
    pub(crate) fn ready(&self) -> Result<Caller, ApiError> {
        Ok(self.identified.clone()?.ready()?)
    }
}

/// Finds out who sends a request, and counts it: by its session, or by its address when it shows no token that is of use where it
/// goes. The outcome goes along with the request.
///
/// # Errors
/// [`ApiError::RateLimit`] when the sender has used up their limit.
pub(crate) async fn identify(api: &Api, request: &mut Request) -> Result<(), ApiError> {
    let address = api.trusted_proxies.client_of(request);
    let Some((claims, expires_at)) = shown_token(api, request) else {
        return api.limits.count_address(address);
    };
    // Before it is looked at any closer: a session that may do nothing may not ask without end either.
    api.limits.count_request(claims.session_id)?;
    let identified = if audience_of(request.uri().path()).is_some_and(|audience| audience != claims.audience) {
        Err(no_token_of_ours())
    } else {
        api.commands.identify(claims).await.map_err(ApiError::from)
    };
    if let Err(ApiError::Unauthorized(_)) = &identified {
        // Whoever has a token that is of no use here is nobody in particular.
        api.limits.count_address(address)?;
    }
    request.set_data(Identity { claims, expires_at, identified });
    Ok(())
}

/// The token of ours that a request shows. Whoever logs in is nobody yet, whatever else they say; and elsewhere nobody asks for a
/// token.
fn shown_token(api: &Api, request: &Request) -> Option<(Claims, Timestamp)> {
    let path = request.uri().path();
    let is_login = path.ends_with("/auth/login") || path.ends_with("/auth/refresh");
    if !path.starts_with("/api/") || is_login {
        return None;
    }
    let bearer = request.headers().typed_get::<Authorization<Bearer>>()?;
    api.tokens.check_any(bearer.token())
}

/// Returns the API of a path.
fn audience_of(path: &str) -> Option<Audience> {
    let api = path.strip_prefix("/api/")?.split('/').next()?;
    match api {
        "messenger" => Some(Audience::Messenger),
        "admin" | "audit" => Some(Audience::Admin),
        _ => None,
    }
}

pub(crate) fn no_token_of_ours() -> ApiError {
    ErrorBody::new(ErrorCode::Unauthorized, "Missing or invalid auth token").into()
}

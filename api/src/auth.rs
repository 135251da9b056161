//! Who sends a request: the bearer token, and the session behind it.

use std::sync::Arc;

use commands::{Caller, Done, LoggedIn, Request};
use domain::Timestamp;
use domain::session::Audience;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;
use projections::people::Viewer;

use crate::Api;
use crate::error::{ApiError, ErrorBody, ErrorCode};

/// Token from `POST /api/admin/auth/login`
#[derive(SecurityScheme)]
#[oai(rename = "AdminToken", ty = "bearer", bearer_format = "JWT", checker = "check_admin")]
pub(crate) struct AdminToken(Checked);

/// Token from `POST /api/messenger/auth/login`
#[derive(SecurityScheme)]
#[oai(rename = "MessengerToken", ty = "bearer", bearer_format = "JWT", checker = "check_messenger")]
pub(crate) struct MessengerToken(Checked);

impl AdminToken {
    /// This request of the caller.
    pub(crate) fn request(&self, api: &Api) -> Request {
        Request { caller: self.0.0, correlation_id: api.ids.next() }
    }

    /// Who asks.
    pub(crate) fn viewer(&self) -> Viewer {
        Viewer { business_id: self.0.0.business_id, role: self.0.0.role }
    }
}

impl MessengerToken {
    /// This request of the caller.
    pub(crate) fn request(&self, api: &Api) -> Request {
        Request { caller: self.0.0, correlation_id: api.ids.next() }
    }

    /// Who asks.
    pub(crate) fn caller(&self) -> Caller {
        self.0.0
    }

    /// When the token runs out.
    pub(crate) fn expires_at(&self) -> Timestamp {
        self.0.1
    }
}

/// Who it is, and until when the token says so.
type Checked = (Caller, Timestamp);

async fn check_admin(request: &poem::Request, bearer: Bearer) -> poem::Result<Checked> {
    check(request, &bearer, Audience::Admin).await
}

async fn check_messenger(request: &poem::Request, bearer: Bearer) -> poem::Result<Checked> {
    check(request, &bearer, Audience::Messenger).await
}

async fn check(request: &poem::Request, bearer: &Bearer, audience: Audience) -> poem::Result<Checked> {
    let api = request.data::<Arc<Api>>().expect("the server puts it there");
    let checked = api.authenticate(&bearer.token, audience).await?;
    api.limits.count_request(checked.0.session_id)?;
    Ok(checked)
}

impl Api {
    /// Trades a refresh token in for another one.
    pub(crate) async fn refresh(&self, audience: Audience, refresh_token: &str) -> Result<Done<LoggedIn>, ApiError> {
        if let Some(session) = self.commands.session_of(refresh_token) {
            self.limits.count_refresh(session)?;
        }
        Ok(self.commands.refresh(audience, refresh_token, self.ids.next()).await?)
    }

    /// Who is behind a token, and when it runs out.
    pub(crate) async fn authenticate(&self, token: &str, audience: Audience) -> Result<(Caller, Timestamp), ApiError> {
        let (claims, expires_at) = self
            .tokens
            .check(token, audience)
            .ok_or_else(|| ErrorBody::new(ErrorCode::Unauthorized, "Missing or invalid auth token"))?;
        Ok((self.commands.authenticate(claims).await?, expires_at))
    }
}

//! Authentication of a request: the bearer token, and the session behind it.

use std::net::IpAddr;
use std::sync::Arc;

use commands::{Caller, Done, LoggedIn, Request};
use domain::session::Audience;
use domain::{EmailAddress, Password, Timestamp, UserAgent};
use poem::RequestBody;
use poem::http::{HeaderMap, header};
use poem_openapi::auth::Bearer;
use poem_openapi::types::Example;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, Object, SecurityScheme};
use projections::people::Viewer;
use serde::Deserialize;

use crate::Api;
use crate::bodies::{Found, Success};
use crate::error::ApiError;
use crate::identity::{Checked, Identity, no_token_of_ours};
use crate::limits::network_of;

/// Token from `POST /api/admin/auth/login`
#[derive(SecurityScheme)]
#[oai(rename = "AdminToken", ty = "bearer", bearer_format = "JWT", checker = "check_admin")]
pub(crate) struct AdminToken(Checked);

/// Token from `POST /api/messenger/auth/login`
#[derive(SecurityScheme)]
#[oai(rename = "MessengerToken", ty = "bearer", bearer_format = "JWT", checker = "check_messenger")]
pub(crate) struct MessengerToken(Checked);

/// Token from `POST /api/messenger/auth/login`
///
/// Also of somebody who has to change their password before they do anything else.
#[derive(SecurityScheme)]
#[oai(rename = "MessengerToken", ty = "bearer", bearer_format = "JWT", checker = "check_first_messenger")]
pub(crate) struct FirstMessengerToken(Checked);

impl AdminToken {
    /// This request of the caller.
    pub(crate) fn request(&self, api: &Api) -> Request {
        Request { caller: self.0.0, correlation_id: api.ids.next() }
    }

    /// Returns the viewer.
    pub(crate) fn viewer(&self) -> Viewer {
        Viewer { business_id: self.0.0.business_id, role: self.0.0.role }
    }
}

impl MessengerToken {
    /// This request of the caller.
    pub(crate) fn request(&self, api: &Api) -> Request {
        Request { caller: self.0.0, correlation_id: api.ids.next() }
    }

    /// Returns the caller.
    pub(crate) fn caller(&self) -> Caller {
        self.0.0
    }

    /// Returns the expiry of the token.
    pub(crate) fn expires_at(&self) -> Timestamp {
        self.0.1
    }
}

impl FirstMessengerToken {
    /// This request of the caller.
    pub(crate) fn request(&self, api: &Api) -> Request {
        Request { caller: self.0.0, correlation_id: api.ids.next() }
    }
}

/// Name that the device of a request gives itself.
pub(crate) struct Device(pub(crate) Option<UserAgent>);

impl<'a> ApiExtractor<'a> for Device {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::PoemExtractor];

    type ParamType = ();
    type ParamRawType = ();

    async fn from_request(
        request: &'a poem::Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let said = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Ok(Self(said.and_then(UserAgent::tidied)))
    }
}

/// Address, or network, that a request comes from, if that is known.
pub(crate) struct Address(pub(crate) Option<IpAddr>);

impl<'a> ApiExtractor<'a> for Address {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::PoemExtractor];

    type ParamType = ();
    type ParamRawType = ();

    async fn from_request(
        request: &'a poem::Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let api = request.data::<Arc<Api>>().expect("the server puts it there");
        Ok(Self(api.trusted_proxies.client_of(request).map(network_of)))
    }
}

/// Another password
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChangePassword {
    current_password: String,
    /// 8 to 128 characters, and not one of the most common passwords
    new_password: String,
}

impl Example for ChangePassword {
    fn example() -> Self {
        Self { current_password: "<your_password>".into(), new_password: "<another_password>".into() }
    }
}

impl ChangePassword {
    /// Changes the caller's password. Counts as an attempt to log in: the current one can be guessed here too.
    pub(crate) async fn change(self, api: &Api, request: &Request) -> Result<Found<Success>, ApiError> {
        let new =
            Password::parse(&self.new_password).map_err(|invalid| ApiError::invalid("newPassword", &invalid.reason))?;
        let account = api.commands.account(request.caller.user_id).await?;
        let email = account.as_ref().and_then(|account| account.email.known());
        if let Some(email) = email.and_then(|email| EmailAddress::parse(email).ok()) {
            api.limits.count_login(Some(request.caller.business_id), &email)?;
        }
        let done = api.commands.change_own_password(request, self.current_password, new).await?;
        Ok(Found::at(done.position, Success::yes()))
    }
}

/// The token that a request was sent with, for what the framework doesn't check.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[expect(clippy::unused_async, reason = "checkers are")]
async fn check_admin(request: &poem::Request, _: Bearer) -> poem::Result<Checked> {
    check(request, Audience::Admin, Need::All)
}

#[expect(clippy::unused_async, reason = "checkers are")]
async fn check_messenger(request: &poem::Request, _: Bearer) -> poem::Result<Checked> {
    check(request, Audience::Messenger, Need::All)
}

#[expect(clippy::unused_async, reason = "checkers are")]
async fn check_first_messenger(request: &poem::Request, _: Bearer) -> poem::Result<Checked> {
    check(request, Audience::Messenger, Need::PasswordOnly)
}

/// Purpose of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    All,
    /// To change the password, or to leave.
    PasswordOnly,
}

fn check(request: &poem::Request, audience: Audience, need: Need) -> poem::Result<Checked> {
    let identity = request.data::<Identity>().filter(|identity| identity.claims.audience == audience);
    let identity = identity.ok_or_else(no_token_of_ours)?;
    let caller = match need {
        Need::All => identity.ready()?,
        Need::PasswordOnly => identity.caller()?,
    };
    Ok((caller, identity.expires_at))
}

impl Api {
    /// Trades a refresh token in for another one.
    pub(crate) async fn refresh(&self, audience: Audience, refresh_token: &str) -> Result<Done<LoggedIn>, ApiError> {
        if let Some(session) = self.commands.session_of(refresh_token) {
            self.limits.count_refresh(session)?;
        }
        Ok(self.commands.refresh(audience, refresh_token, self.ids.next()).await?)
    }

    /// Returns the caller behind a token, and its expiry.
    pub(crate) async fn authenticate(&self, token: &str, audience: Audience) -> Result<Checked, ApiError> {
        let (claims, expires_at) = self.tokens.check(token, audience).ok_or_else(no_token_of_ours)?;
        Ok((self.commands.authenticate(claims).await?, expires_at))
    }
}

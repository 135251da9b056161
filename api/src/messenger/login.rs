//! Logging in at the messenger, and out again.

use std::sync::Arc;

use commands::{Credentials, Done, LoggedIn};
use domain::session::Audience;
use domain::{BusinessId, EmailAddress};
use poem::web::Data;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Api;
use crate::auth::{Address, ChangePassword, Device, FirstMessengerToken};
use crate::bodies::{Found, Refresh, Success};
use crate::error::ApiError;
use crate::json_body::JsonBody;
use crate::openapi::Tag;

pub(crate) struct MessengerLoginApi;

/// Login of a user
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MessengerLogin {
    email: String,
    password: String,
    /// The business that the account belongs to
    business_id: String,
}

impl Example for MessengerLogin {
    fn example() -> Self {
        Self {
            email: "user@business.com".into(),
            password: "<your_password>".into(),
            business_id: "business_id".into(),
        }
    }
}

/// Result of a login
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct MessengerLoggedIn {
    /// Always true
    success: bool,
    /// Access token: send it as `Authorization: Bearer {token}`, and as `auth.token` over Socket.IO
    token: String,
    /// Gets another access token when this one has run out; works once
    refresh_token: String,
    /// Expiry of the access token
    expires_at: String,
    /// True if the password must be changed first, because an administrator has set it
    must_change_password: bool,
    user: MessengerIdentity,
}

/// The account that has logged in
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct MessengerIdentity {
    id: String,
    email: String,
    name: String,
    business_id: String,
}

impl Example for MessengerLoggedIn {
    fn example() -> Self {
        Self {
            success: true,
            token: "…".into(),
            refresh_token: "…".into(),
            expires_at: "2025-11-22T11:30:00.000Z".into(),
            must_change_password: false,
            user: MessengerIdentity {
                id: "user_id".into(),
                email: "user@business.com".into(),
                name: "John Doe".into(),
                business_id: "business_id".into(),
            },
        }
    }
}

#[OpenApi(prefix_path = "/api/messenger/auth", tag = "Tag::MessengerAuthentication")]
impl MessengerLoginApi {
    /// Log in to the messenger of a business
    ///
    /// For every active account of the business. The token is for the messenger API and the live streams.
    #[oai(path = "/login", method = "post", operation_id = "messengerLogin")]
    async fn log_in(
        &self,
        api: Data<&Arc<Api>>,
        device: Device,
        address: Address,
        body: JsonBody<MessengerLogin>,
    ) -> Result<Found<MessengerLoggedIn>, ApiError> {
        let email = EmailAddress::parse(&body.0.email)?;
        // An id that can't be one is an id that doesn't exist, and takes as long.
        let business = body.0.business_id.parse().unwrap_or(BusinessId(Uuid::nil()));
        api.limits.count_login(Some(business), &email)?;
        let credentials = Credentials { email, password: body.0.password, user_agent: device.0, address: address.0 };
        let done = api.commands.log_in(business, credentials, api.ids.next()).await?;
        Ok(MessengerLoggedIn::answer(&api, done))
    }

    /// Get another access token
    ///
    /// A refresh token is good once: the answer has the next one. Using one a second time ends the session.
    #[oai(path = "/refresh", method = "post", operation_id = "messengerRefresh")]
    async fn refresh(
        &self,
        api: Data<&Arc<Api>>,
        body: JsonBody<Refresh>,
    ) -> Result<Found<MessengerLoggedIn>, ApiError> {
        let done = api.refresh(Audience::Messenger, &body.0.refresh_token).await?;
        Ok(MessengerLoggedIn::answer(&api, done))
    }

    /// Log out
    ///
    /// Ends the session of the token: neither token works any more, and its live streams are closed.
    #[oai(path = "/logout", method = "post", operation_id = "messengerLogout")]
    async fn log_out(&self, api: Data<&Arc<Api>>, token: FirstMessengerToken) -> Result<Found<Success>, ApiError> {
        let done = api.commands.log_out(&token.request(&api)).await?;
        Ok(Found::at(done.position, Success::yes()))
    }

    /// Change one's password
    ///
    /// Ends one's other sessions, at both APIs.
    #[oai(path = "/password", method = "post", operation_id = "changePassword")]
    async fn change_password(
        &self,
        api: Data<&Arc<Api>>,
        token: FirstMessengerToken,
        body: JsonBody<ChangePassword>,
    ) -> Result<Found<Success>, ApiError> {
        body.0.change(&api, &token.request(&api)).await
    }
}

impl MessengerLoggedIn {
    fn answer(api: &Api, done: Done<LoggedIn>) -> Found<Self> {
        let logged_in = done.value;
        let access = api.tokens.issue(&logged_in, api.clock.now());
        let account = &logged_in.account;
        let user = MessengerIdentity {
            id: account.id.to_string(),
            email: account.email.known().cloned().unwrap_or_default(),
            name: account.name.known().cloned().unwrap_or_default(),
            business_id: account.business_id.to_string(),
        };
        let body = Self {
            success: true,
            token: access.token,
            refresh_token: logged_in.refresh_token,
            expires_at: access.expires_at.to_string(),
            must_change_password: logged_in.must_change_password,
            user,
        };
        Found::at(done.position, body)
    }
}

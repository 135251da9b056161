//! Logging in at the admin API.

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
use crate::auth::{Address, AdminToken, ChangePassword, Device};
use crate::bodies::{Found, Refresh, Success};
use crate::error::ApiError;
use crate::json_body::JsonBody;
use crate::openapi::Tag;

pub(crate) struct AdminLoginApi;

/// Login of an administrator
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdminLogin {
    email: String,
    password: String,
    /// Only needed when this email and password fit the accounts of several businesses
    business_id: Option<String>,
}

impl Example for AdminLogin {
    fn example() -> Self {
        Self { email: "admin@example.com".into(), password: "<your_password>".into(), business_id: None }
    }
}

/// Result of a login
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct AdminLoggedIn {
    /// Always true
    success: bool,
    /// Access token: send it as `Authorization: Bearer {token}`
    token: String,
    /// Gets another access token when this one has run out; works once
    refresh_token: String,
    /// Expiry of the access token
    expires_at: String,
    user: AdminIdentity,
}

/// The account that has logged in
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct AdminIdentity {
    id: String,
    email: String,
    role: String,
    business_id: String,
}

impl Example for AdminLoggedIn {
    fn example() -> Self {
        Self {
            success: true,
            token: "…".into(),
            refresh_token: "…".into(),
            expires_at: "2025-11-22T11:30:00.000Z".into(),
            user: AdminIdentity {
                id: "user_id".into(),
                email: "admin@example.com".into(),
                role: "SYSTEM_SUPER_ADMIN".into(),
                business_id: "business_id".into(),
            },
        }
    }
}

#[OpenApi(prefix_path = "/api/admin/auth", tag = "Tag::AdminAuthentication")]
impl AdminLoginApi {
    /// Log in as an administrator
    ///
    /// For every role but `BUSINESS_USER`. The token is for the admin API only.
    #[oai(path = "/login", method = "post", operation_id = "adminLogin")]
    async fn log_in(
        &self,
        api: Data<&Arc<Api>>,
        device: Device,
        address: Address,
        body: JsonBody<AdminLogin>,
    ) -> Result<Found<AdminLoggedIn>, ApiError> {
        let email = EmailAddress::parse(&body.0.email)?;
        // An id that can't be one is an id that doesn't exist, and takes as long.
        let business = body.0.business_id.map(|id| id.parse().unwrap_or(BusinessId(Uuid::nil())));
        api.limits.count_login(business, &email)?;
        // The lookup of an email goes by a read model.
        api.people(None).await?;
        let credentials = Credentials { email, password: body.0.password, user_agent: device.0, address: address.0 };
        let done = api.commands.log_in_as_admin(business, credentials, api.ids.next()).await?;
        Ok(AdminLoggedIn::answer(&api, done))
    }

    /// Get another access token
    ///
    /// A refresh token is good once: the answer has the next one. Using one a second time ends the session.
    #[oai(path = "/refresh", method = "post", operation_id = "adminRefresh")]
    async fn refresh(&self, api: Data<&Arc<Api>>, body: JsonBody<Refresh>) -> Result<Found<AdminLoggedIn>, ApiError> {
        let done = api.refresh(Audience::Admin, &body.0.refresh_token).await?;
        Ok(AdminLoggedIn::answer(&api, done))
    }

    /// Log out
    ///
    /// Ends the session of the token: neither token works any more.
    #[oai(path = "/logout", method = "post", operation_id = "adminLogout")]
    async fn log_out(&self, api: Data<&Arc<Api>>, token: AdminToken) -> Result<Found<Success>, ApiError> {
        let done = api.commands.log_out(&token.request(&api)).await?;
        Ok(Found::at(done.position, Success::yes()))
    }

    /// Change one's password
    ///
    /// Ends one's other sessions, at both APIs.
    #[oai(path = "/password", method = "post", operation_id = "adminChangePassword")]
    async fn change_password(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        body: JsonBody<ChangePassword>,
    ) -> Result<Found<Success>, ApiError> {
        body.0.change(&api, &token.request(&api)).await
    }
}

impl AdminLoggedIn {
    fn answer(api: &Api, done: Done<LoggedIn>) -> Found<Self> {
        let logged_in = done.value;
        let access = api.tokens.issue(&logged_in, api.clock.now());
        let account = &logged_in.account;
        let user = AdminIdentity {
            id: account.id.to_string(),
            email: account.email.known().cloned().unwrap_or_default(),
            role: account.role.as_str().to_owned(),
            business_id: account.business_id.to_string(),
        };
        let body = Self {
            success: true,
            token: access.token,
            refresh_token: logged_in.refresh_token,
            expires_at: access.expires_at.to_string(),
            user,
        };
        Found::at(done.position, body)
    }
}

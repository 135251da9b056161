//! Managing people.

use std::sync::Arc;

use commands::NewUser;
use domain::user::Account;
use domain::{Avatar, EmailAddress, Password, PersonName, Role, Timestamp, UserId};
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use projections::people::UserRow;
use serde::Deserialize;

use super::page_request;
use crate::Api;
use crate::auth::AdminToken;
use crate::bodies::{Created, Found};
use crate::error::ApiError;
use crate::json_body::JsonBody;
use crate::openapi::Tag;

pub(crate) struct UsersApi;

/// A person's account
#[derive(Object)]
#[oai(rename_all = "camelCase")]
struct User {
    id: String,
    email: String,
    name: String,
    role: String,
    business_id: String,
    /// Where the person's picture is, if there is one
    avatar: Option<String>,
    /// `active` or `suspended`
    status: String,
    created_at: String,
}

impl Example for User {
    fn example() -> Self {
        Self {
            id: "user_id".into(),
            email: "user@business.com".into(),
            name: "John Doe".into(),
            role: "BUSINESS_ADMIN".into(),
            business_id: "business_id".into(),
            avatar: Some("https://…".into()),
            status: "active".into(),
            created_at: "2025-11-22T10:30:00.000Z".into(),
        }
    }
}

/// One person
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
struct OneUser {
    /// Always true
    success: bool,
    user: User,
}

impl Example for OneUser {
    fn example() -> Self {
        Self { success: true, user: Example::example() }
    }
}

/// Some people
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
#[expect(clippy::struct_field_names, reason = "the contract names it")]
struct Users {
    /// Always true
    success: bool,
    users: Vec<User>,
    /// How many there are on all pages
    total: i64,
    /// Which page this is
    page: u32,
}

impl Example for Users {
    fn example() -> Self {
        Self { success: true, users: vec![Example::example()], total: 45, page: 1 }
    }
}

/// A person to be created
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateUser {
    /// The login; unique in its business, whatever its case
    email: String,
    /// 1 to 200 characters
    name: String,
    /// 8 to 128 characters
    password: String,
    role: String,
    business_id: String,
    /// Where the person's picture is
    avatar: Option<String>,
}

impl Example for CreateUser {
    fn example() -> Self {
        Self {
            email: "newuser@business.com".into(),
            name: "Jane Smith".into(),
            password: "<your_password>".into(),
            role: "BUSINESS_ADMIN".into(),
            business_id: "business_id".into(),
            avatar: None,
        }
    }
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.id.to_string(),
            email: row.email.unwrap_or_default(),
            name: row.name.unwrap_or_default(),
            role: row.role,
            business_id: row.business_id.to_string(),
            avatar: row.avatar,
            status: row.status,
            created_at: Timestamp::from(row.created_at).to_string(),
        }
    }
}

impl User {
    fn of(account: &Account, is_active: bool) -> Self {
        Self {
            id: account.id.to_string(),
            email: account.email.known().cloned().unwrap_or_default(),
            name: account.name.known().cloned().unwrap_or_default(),
            role: account.role.as_str().to_owned(),
            business_id: account.business_id.to_string(),
            avatar: account.avatar.as_ref().and_then(|avatar| avatar.known()).cloned(),
            status: if is_active { "active" } else { "suspended" }.to_owned(),
            created_at: account.created_at.to_string(),
        }
    }
}

impl OneUser {
    fn of(state: &domain::user::User) -> Result<Self, ApiError> {
        let account = state.account().ok_or_else(|| ApiError::not_found("User"))?;
        Ok(Self { success: true, user: User::of(account, state.active().is_some()) })
    }
}

fn user_id(text: &str) -> Result<UserId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("User"))
}

#[OpenApi(prefix_path = "/api/admin/users", tag = "Tag::Users")]
impl UsersApi {
    /// Create a user
    ///
    /// Super admins create anyone anywhere, business admins people of their own business.
    #[oai(path = "/", method = "post", operation_id = "createUser")]
    async fn create(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        body: JsonBody<CreateUser>,
    ) -> Result<Created<OneUser>, ApiError> {
        let body = body.0;
        let new = NewUser {
            email: EmailAddress::parse(&body.email)?,
            name: PersonName::parse(&body.name)?,
            password: Password::parse(&body.password)?,
            role: Role::parse(&body.role).ok_or_else(|| ApiError::invalid("role", "there is no such role"))?,
            business_id: body.business_id.parse().map_err(|_| ApiError::not_found("Business"))?,
            avatar: body.avatar.as_deref().map(Avatar::parse).transpose()?,
        };
        // On a task of its own, so that a client who goes away doesn't leave the login without its account.
        let request = token.request(&api);
        let commands = api.commands.clone();
        let creating = tokio::spawn(async move { commands.create_user(&request, new).await });
        let done = creating.await.map_err(|error| ApiError::internal(&error))??;
        Ok(Created::at(done.position, OneUser { success: true, user: User::of(&done.value, true) }))
    }

    /// List users
    ///
    /// System roles see everybody, business roles the people of their own business.
    #[oai(path = "/", method = "get", operation_id = "listUsers")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        /// Only the people of this business
        #[oai(name = "businessId")]
        business_id: Query<Option<String>>,
        /// Which page, from 1
        page: Query<Option<u32>>,
        /// People on a page, 1 to 100
        limit: Query<Option<u32>>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<Users>, ApiError> {
        let request = page_request(page.0, limit.0)?;
        let only = match business_id.0 {
            Some(id) => Some(id.parse().map_err(|_| ApiError::not_found("Business"))?),
            None => None,
        };
        let (people, position) = api.people(min_position.0).await?;
        let users = people.users(token.viewer(), only, request).await?;
        let users = users.ok_or_else(|| ApiError::not_found("Business"))?;
        let body = Users {
            success: true,
            users: users.items.into_iter().map(User::from).collect(),
            total: users.total,
            page: request.page,
        };
        Ok(Found::at(position, body))
    }

    /// Get a user
    #[oai(path = "/:id", method = "get", operation_id = "getUser")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<OneUser>, ApiError> {
        let (people, position) = api.people(min_position.0).await?;
        let user = people.user(token.viewer(), user_id(&id.0)?).await?.ok_or_else(|| ApiError::not_found("User"))?;
        Ok(Found::at(position, OneUser { success: true, user: user.into() }))
    }

    /// Suspend a user
    ///
    /// Shuts the person out, everywhere and at once. Repeating it changes nothing.
    #[oai(path = "/:id/suspend", method = "post", operation_id = "suspendUser")]
    async fn suspend(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
    ) -> Result<Found<OneUser>, ApiError> {
        let done = api.commands.suspend_user(&token.request(&api), user_id(&id.0)?).await?;
        Ok(Found::at(done.position, OneUser::of(&done.value)?))
    }

    /// Reactivate a user
    ///
    /// Lets the person in again. Repeating it changes nothing.
    #[oai(path = "/:id/reactivate", method = "post", operation_id = "reactivateUser")]
    async fn reactivate(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
    ) -> Result<Found<OneUser>, ApiError> {
        let done = api.commands.reactivate_user(&token.request(&api), user_id(&id.0)?).await?;
        Ok(Found::at(done.position, OneUser::of(&done.value)?))
    }
}

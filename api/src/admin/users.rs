//! Managing people.

use std::sync::Arc;

use commands::{NewUser, UserChanges};
use domain::business::BusinessError;
use domain::user::{Account, UserError};
use domain::{Avatar, DisplayName, EmailAddress, Password, Role, Timestamp, UserId};
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{Object, OpenApi};
use projections::people::{Status, UserFilter, UserOrder, UserRow};
use serde::{Deserialize, Serialize};

use super::page_request;
use crate::Api;
use crate::auth::AdminToken;
use crate::bodies::{Created, Found, Success};
use crate::error::ApiError;
use crate::json_body::JsonBody;
use crate::messenger::avatar;
use crate::openapi::Tag;

pub(crate) struct UsersApi;

/// A person's account
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct User {
    id: String,
    email: String,
    name: String,
    role: String,
    business_id: String,
    /// URL of the avatar, if there is one
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
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
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
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the contract names it")]
struct Users {
    /// Always true
    success: bool,
    users: Vec<User>,
    /// Number of users on all pages
    total: i64,
    /// Number of this page
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
    /// 8 to 128 characters, and not one of the most common passwords
    password: String,
    role: String,
    business_id: String,
    /// URL of the avatar
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

/// Changes of a user
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeUser {
    /// 1 to 200 characters
    name: Option<String>,
    /// URL of the avatar; null removes it
    #[serde(default)]
    avatar: MaybeUndefined<String>,
    role: Option<String>,
}

impl Example for ChangeUser {
    fn example() -> Self {
        Self {
            name: Some("Jane Smith".into()),
            avatar: MaybeUndefined::Undefined,
            role: Some("BUSINESS_AUDITOR".into()),
        }
    }
}

/// Somebody's new password
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPassword {
    /// 8 to 128 characters, and not one of the most common passwords
    password: String,
}

impl Example for NewPassword {
    fn example() -> Self {
        Self { password: "<another_password>".into() }
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
        let account = state.account().ok_or_else(|| ApiError::rule(&UserError::NoSuchUser))?;
        Ok(Self { success: true, user: User::of(account, state.active().is_some()) })
    }
}

pub(super) fn user_id(text: &str) -> Result<UserId, ApiError> {
    text.parse().map_err(|_| ApiError::rule(&UserError::NoSuchUser))
}

/// Longest text that is searched for, in characters.
const MAX_SEARCH_CHARS: usize = 200;

fn parse_role(name: &str) -> Result<Role, ApiError> {
    Role::parse(name).ok_or_else(|| ApiError::invalid("role", "there is no such role"))
}

fn parse_search(text: String) -> Result<String, ApiError> {
    if text.chars().count() > MAX_SEARCH_CHARS || text.contains('\0') {
        return Err(ApiError::invalid("search", "must be at most 200 characters, without NUL"));
    }
    Ok(text)
}

fn parse_order(order: Option<&str>) -> Result<(UserOrder, bool), ApiError> {
    let Some(order) = order else { return Ok((UserOrder::default(), false)) };
    let (name, descends) = order.strip_prefix('-').map_or((order, false), |name| (name, true));
    let by = match name {
        "createdAt" => UserOrder::CreatedAt,
        "name" => UserOrder::Name,
        "email" => UserOrder::Email,
        _ => {
            return Err(ApiError::invalid(
                "sort",
                "must be createdAt, name or email, or one of them with a - before it",
            ));
        }
    };
    Ok((by, descends))
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
            name: DisplayName::parse(&body.name)?,
            password: Password::parse(&body.password)?,
            role: parse_role(&body.role)?,
            business_id: body.business_id.parse().map_err(|_| ApiError::rule(&BusinessError::NoSuchBusiness))?,
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
    #[expect(clippy::too_many_arguments, reason = "these are the parameters of the request")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        /// Only the people of this business
        #[oai(name = "businessId")]
        business_id: Query<Option<String>>,
        /// Page number, from 1
        page: Query<Option<u32>>,
        /// Users on a page, 1 to 100
        limit: Query<Option<u32>>,
        /// Only those with this role
        role: Query<Option<String>>,
        /// Only those who are `active`, or `suspended`
        status: Query<Option<String>>,
        /// Only those whose name or email contains this, in whatever case
        search: Query<Option<String>>,
        /// The order: `createdAt`, `name` or `email`, with a `-` before it to turn it round
        sort: Query<Option<String>>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<Users>, ApiError> {
        let request = page_request(page.0, limit.0)?;
        let business = match business_id.0 {
            Some(id) => Some(id.parse().map_err(|_| ApiError::rule(&BusinessError::NoSuchBusiness))?),
            None => None,
        };
        let role = role.0.map(|role| parse_role(&role)).transpose()?;
        let no_status = || ApiError::invalid("status", "must be active or suspended");
        let status = status.0.map(|status| Status::parse(&status).ok_or_else(no_status)).transpose()?;
        let (sort, descends) = parse_order(sort.0.as_deref())?;
        let search = search.0.map(parse_search).transpose()?;
        let filter = UserFilter { business, role, status, search, sort, descends };
        let (people, position) = api.people(min_position.0).await?;
        let users = people.users(token.viewer(), &filter, request).await?;
        let users = users.ok_or_else(|| ApiError::rule(&BusinessError::NoSuchBusiness))?;
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
        let user = people
            .user(token.viewer(), user_id(&id.0)?)
            .await?
            .ok_or_else(|| ApiError::rule(&UserError::NoSuchUser))?;
        Ok(Found::at(position, OneUser { success: true, user: user.into() }))
    }

    /// Change a user
    ///
    /// Name, picture and role: whatever is said, and nothing else. Nobody gives a role that they couldn't create a user with, and
    /// the last super admin stays one. What somebody may do changes at once.
    #[oai(path = "/:id", method = "patch", operation_id = "changeUser")]
    async fn change(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
        body: JsonBody<ChangeUser>,
    ) -> Result<Found<OneUser>, ApiError> {
        let body = body.0;
        let changes = UserChanges {
            name: body.name.as_deref().map(DisplayName::parse).transpose()?,
            avatar: avatar(&body.avatar)?,
            role: body.role.as_deref().map(parse_role).transpose()?,
        };
        // Who is a super admin is looked up in a read model.
        api.people(None).await?;
        let done = api.commands.change_user(&token.request(&api), user_id(&id.0)?, changes).await?;
        Ok(Found::at(done.position, OneUser::of(&done.value)?))
    }

    /// Reset a user's password
    ///
    /// For somebody who has forgotten theirs. Ends all of their sessions.
    #[oai(path = "/:id/password", method = "post", operation_id = "resetPassword")]
    async fn reset_password(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
        body: JsonBody<NewPassword>,
    ) -> Result<Found<Success>, ApiError> {
        let password = Password::parse(&body.0.password)?;
        let done = api.commands.reset_password(&token.request(&api), user_id(&id.0)?, password).await?;
        Ok(Found::at(done.position, Success::yes()))
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
        // Who is a super admin is looked up in a read model.
        api.people(None).await?;
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

//! Oneself.

use std::sync::Arc;

use domain::user::{Account, AvatarChange, UserError};
use domain::{Avatar, DisplayName};
use poem::web::Data;
use poem_openapi::param::Header;
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{Object, OpenApi};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::auth::MessengerToken;
use crate::bodies::Found;
use crate::error::ApiError;
use crate::json_body::JsonBody;
use crate::openapi::Tag;

pub(crate) struct MeApi;

/// One's own account
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct Me {
    id: String,
    email: String,
    name: String,
    /// URL of the avatar
    avatar: Option<String>,
    role: String,
    business_id: String,
}

impl Example for Me {
    fn example() -> Self {
        Self {
            id: "user_id".into(),
            email: "user@business.com".into(),
            name: "John Doe".into(),
            avatar: Some("https://example.com/john.png".into()),
            role: "BUSINESS_USER".into(),
            business_id: "business_id".into(),
        }
    }
}

/// Oneself, and what waits for one
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct AboutMe {
    /// Always true
    success: bool,
    user: Me,
    /// Messages that one has got and not read, in all conversations
    unread_count: u64,
    storage: Storage,
}

/// Storage used by one's files
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct Storage {
    /// Bytes that they take
    used_bytes: u64,
    /// Bytes that they may take; null when there is no limit
    quota_bytes: Option<u64>,
}

impl Example for AboutMe {
    fn example() -> Self {
        let storage = Storage { used_bytes: 34_567, quota_bytes: Some(5_368_709_120) };
        Self { success: true, user: Example::example(), unread_count: 3, storage }
    }
}

/// Changes of one's profile
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeMe {
    /// 1 to 200 characters
    name: Option<String>,
    /// URL of the avatar; null removes it
    #[serde(default)]
    avatar: MaybeUndefined<String>,
}

impl Example for ChangeMe {
    fn example() -> Self {
        Self { name: Some("John Doe".into()), avatar: MaybeUndefined::Value("https://example.com/john.png".into()) }
    }
}

/// Parses the change of an avatar.
pub(crate) fn avatar(said: &MaybeUndefined<String>) -> Result<AvatarChange, ApiError> {
    Ok(match said {
        MaybeUndefined::Undefined => AvatarChange::Unchanged,
        MaybeUndefined::Null => AvatarChange::TakenAway,
        MaybeUndefined::Value(avatar) => AvatarChange::Replaced(Avatar::parse(avatar)?),
    })
}

#[OpenApi(prefix_path = "/api/messenger/me", tag = "Tag::People")]
impl MeApi {
    /// Get oneself
    #[oai(path = "/", method = "get", operation_id = "getMe")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<AboutMe>, ApiError> {
        let account = api.commands.account(token.caller().user_id).await?;
        AboutMe::answer(&api, account, min_position.0, 0).await
    }

    /// Change one's name or picture
    ///
    /// Everybody sees it from now on, on what was sent before too.
    #[oai(path = "/", method = "patch", operation_id = "changeMe")]
    async fn change(
        &self,
        api: Data<&Arc<Api>>,
        token: MessengerToken,
        body: JsonBody<ChangeMe>,
    ) -> Result<Found<AboutMe>, ApiError> {
        let name = body.0.name.as_deref().map(DisplayName::parse).transpose()?;
        let avatar = avatar(&body.0.avatar)?;
        let done = api.commands.change_own_profile(&token.request(&api), name, avatar).await?;
        AboutMe::answer(&api, done.value.account().cloned(), None, done.position).await
    }
}

impl AboutMe {
    async fn answer(
        api: &Api,
        account: Option<Account>,
        min_position: Option<u64>,
        changed_at: u64,
    ) -> Result<Found<Self>, ApiError> {
        let account = account.ok_or_else(|| ApiError::rule(&UserError::NoSuchUser))?;
        let (messaging, position) = api.messaging(min_position).await?;
        let unread = messaging.unread(account.id).await?;
        let user = Me {
            id: account.id.to_string(),
            email: account.email.known().cloned().unwrap_or_default(),
            name: account.name.known().cloned().unwrap_or_default(),
            avatar: account.avatar.as_ref().and_then(|avatar| avatar.known()).cloned(),
            role: account.role.as_str().to_owned(),
            business_id: account.business_id.to_string(),
        };
        let used_bytes = messaging.kept_bytes(account.id.0).await?;
        let storage = Storage { used_bytes, quota_bytes: api.files.user_quota_bytes() };
        let body = Self { success: true, user, unread_count: unread.cast_unsigned(), storage };
        Ok(Found::at(position.max(changed_at), body))
    }
}

//! Managing businesses.

use std::sync::Arc;

use domain::business::BusinessError;
use domain::{BusinessId, DisplayName, Role, Timestamp};
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use projections::people::BusinessRow;
use serde::{Deserialize, Serialize};

use super::page_request;
use crate::Api;
use crate::auth::AdminToken;
use crate::bodies::{Created, Found};
use crate::error::ApiError;
use crate::json_body::JsonBody;
use crate::openapi::Tag;

pub(crate) struct BusinessesApi;

/// A business: a tenant of this installation
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct Business {
    id: String,
    name: String,
    /// `active` or `suspended`
    status: String,
    created_at: String,
}

impl Example for Business {
    fn example() -> Self {
        Self {
            id: "business_id".into(),
            name: "Acme".into(),
            status: "active".into(),
            created_at: "2025-11-22T10:30:00.000Z".into(),
        }
    }
}

/// One business
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
struct OneBusiness {
    /// Always true
    success: bool,
    business: Business,
}

impl Example for OneBusiness {
    fn example() -> Self {
        Self { success: true, business: Example::example() }
    }
}

/// Some businesses
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the contract names it")]
struct Businesses {
    /// Always true
    success: bool,
    businesses: Vec<Business>,
    /// Number of businesses on all pages
    total: i64,
    /// Number of this page
    page: u32,
}

impl Example for Businesses {
    fn example() -> Self {
        Self { success: true, businesses: vec![Example::example()], total: 1, page: 1 }
    }
}

/// A business to be registered, or its new name
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NamedBusiness {
    /// 1 to 200 characters
    name: String,
}

impl Example for NamedBusiness {
    fn example() -> Self {
        Self { name: "Acme".into() }
    }
}

impl From<BusinessRow> for Business {
    fn from(row: BusinessRow) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name,
            status: row.status,
            created_at: Timestamp::from(row.created_at).to_string(),
        }
    }
}

impl OneBusiness {
    fn of(state: &domain::business::Business) -> Result<Self, ApiError> {
        let business = state.registered().ok_or_else(|| ApiError::rule(&BusinessError::NoSuchBusiness))?;
        let status = if state.is_active() { "active" } else { "suspended" };
        Ok(Self {
            success: true,
            business: Business {
                id: business.id.to_string(),
                name: business.name.clone(),
                status: status.to_owned(),
                created_at: business.created_at.to_string(),
            },
        })
    }
}

fn business_id(text: &str) -> Result<BusinessId, ApiError> {
    text.parse().map_err(|_| ApiError::rule(&BusinessError::NoSuchBusiness))
}

#[OpenApi(prefix_path = "/api/admin/businesses", tag = "Tag::Businesses")]
impl BusinessesApi {
    /// Register a business
    ///
    /// For super admins.
    #[oai(path = "/", method = "post", operation_id = "registerBusiness")]
    async fn register(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        body: JsonBody<NamedBusiness>,
    ) -> Result<Created<OneBusiness>, ApiError> {
        let name = DisplayName::parse(&body.0.name)?;
        let done = api.commands.register_business(&token.request(&api), name).await?;
        Ok(Created::at(done.position, OneBusiness::of(&done.value)?))
    }

    /// List businesses
    ///
    /// System roles see all, business roles their own.
    #[oai(path = "/", method = "get", operation_id = "listBusinesses")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        /// Page number, from 1
        page: Query<Option<u32>>,
        /// Businesses on a page, 1 to 100
        limit: Query<Option<u32>>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<Businesses>, ApiError> {
        let request = page_request(page.0, limit.0)?;
        let (people, position) = api.people(min_position.0).await?;
        let businesses = people.businesses(token.viewer(), request).await?;
        let body = Businesses {
            success: true,
            businesses: businesses.items.into_iter().map(Business::from).collect(),
            total: businesses.total,
            page: request.page,
        };
        Ok(Found::at(position, body))
    }

    /// Get a business
    ///
    /// System roles see all, business roles their own.
    #[oai(path = "/:id", method = "get", operation_id = "getBusiness")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
        /// Wait until what is read is at least this fresh
        #[oai(name = "X-Min-Position")]
        min_position: Header<Option<u64>>,
    ) -> Result<Found<OneBusiness>, ApiError> {
        let id = business_id(&id.0)?;
        let (people, position) = api.people(min_position.0).await?;
        let business =
            people.business(token.viewer(), id).await?.ok_or_else(|| ApiError::rule(&BusinessError::NoSuchBusiness))?;
        Ok(Found::at(position, OneBusiness { success: true, business: business.into() }))
    }

    /// Rename a business
    ///
    /// For super admins.
    #[oai(path = "/:id", method = "patch", operation_id = "renameBusiness")]
    async fn rename(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
        body: JsonBody<NamedBusiness>,
    ) -> Result<Found<OneBusiness>, ApiError> {
        let request = manager(&api, &token)?;
        let name = DisplayName::parse(&body.0.name)?;
        let done = api.commands.rename_business(&request, business_id(&id.0)?, name).await?;
        Ok(Found::at(done.position, OneBusiness::of(&done.value)?))
    }

    /// Suspend a business
    ///
    /// Shuts everybody of it out, at once. Repeating it changes nothing. For super admins.
    #[oai(path = "/:id/suspend", method = "post", operation_id = "suspendBusiness")]
    async fn suspend(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
    ) -> Result<Found<OneBusiness>, ApiError> {
        let request = manager(&api, &token)?;
        let done = api.commands.suspend_business(&request, business_id(&id.0)?).await?;
        Ok(Found::at(done.position, OneBusiness::of(&done.value)?))
    }

    /// Reactivate a business
    ///
    /// Lets everybody of it in again. Repeating it changes nothing. For super admins.
    #[oai(path = "/:id/reactivate", method = "post", operation_id = "reactivateBusiness")]
    async fn reactivate(
        &self,
        api: Data<&Arc<Api>>,
        token: AdminToken,
        id: Path<String>,
    ) -> Result<Found<OneBusiness>, ApiError> {
        let request = manager(&api, &token)?;
        let done = api.commands.reactivate_business(&request, business_id(&id.0)?).await?;
        Ok(Found::at(done.position, OneBusiness::of(&done.value)?))
    }
}

/// The request, unless it comes from somebody who couldn't manage a business whatever its id: they are told so before ids are
/// looked at. The commands check again.
fn manager(api: &Api, token: &AdminToken) -> Result<commands::Request, ApiError> {
    let request = token.request(api);
    match request.caller.role {
        Role::SystemSuperAdmin => Ok(request),
        _ => Err(ApiError::rule(&BusinessError::NotASuperAdmin)),
    }
}

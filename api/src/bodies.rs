//! What several operations take or answer.

use poem_openapi::payload::Json;
use poem_openapi::types::{Example, ParseFromJSON, ToJSON};
use poem_openapi::{ApiResponse, Object};
use serde::Deserialize;

/// The thing that was asked for or changed.
#[derive(ApiResponse)]
pub(crate) enum Found<T: ParseFromJSON + ToJSON + Send + Sync> {
    /// Success. `X-Position` is the position in the log that the answer is true from: send it as `X-Min-Position` to read nothing
    /// older
    #[oai(status = 200)]
    Ok(Json<T>, #[oai(header = "X-Position")] u64),
}

impl<T: ParseFromJSON + ToJSON + Send + Sync> Found<T> {
    pub(crate) fn at(position: u64, thing: T) -> Self {
        Self::Ok(Json(thing), position)
    }
}

/// The thing that was created.
#[derive(ApiResponse)]
pub(crate) enum Created<T: ParseFromJSON + ToJSON + Send + Sync> {
    /// Created, and on disk. `X-Position` is its position in the log: send it as `X-Min-Position` to be sure to read it
    #[oai(status = 201)]
    Created(Json<T>, #[oai(header = "X-Position")] u64),
}

impl<T: ParseFromJSON + ToJSON + Send + Sync> Created<T> {
    pub(crate) fn at(position: u64, thing: T) -> Self {
        Self::Created(Json(thing), position)
    }
}

/// It worked
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct Success {
    /// Always true
    success: bool,
}

impl Example for Success {
    fn example() -> Self {
        Self::yes()
    }
}

impl Success {
    pub(crate) fn yes() -> Self {
        Self { success: true }
    }
}

/// What another access token is got with
#[derive(Object, Deserialize)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Refresh {
    /// From the last login or refresh
    pub(crate) refresh_token: String,
}

impl Example for Refresh {
    fn example() -> Self {
        Self { refresh_token: "…".into() }
    }
}

//! Bodies that several operations share.

use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiResponse, Object};
use serde::{Deserialize, Serialize};

use crate::json_answer::JsonAnswer;

/// The thing that was asked for or changed.
#[derive(ApiResponse)]
pub(crate) enum Found<T: Type + Serialize> {
    /// Success. `X-Position` is the position in the log that the answer is true from: send it as `X-Min-Position` to read nothing
    /// older
    #[oai(status = 200)]
    Ok(JsonAnswer<T>, #[oai(header = "X-Position")] u64),
}

impl<T: Type + Serialize> Found<T> {
    pub(crate) fn at(position: u64, thing: T) -> Self {
        Self::Ok(JsonAnswer(thing), position)
    }
}

/// The thing that was created.
#[derive(ApiResponse)]
pub(crate) enum Created<T: Type + Serialize> {
    /// Created, and on disk. `X-Position` is its position in the log: send it as `X-Min-Position` to be sure to read it
    #[oai(status = 201)]
    Created(JsonAnswer<T>, #[oai(header = "X-Position")] u64),
}

impl<T: Type + Serialize> Created<T> {
    pub(crate) fn at(position: u64, thing: T) -> Self {
        Self::Created(JsonAnswer(thing), position)
    }
}

/// It worked
#[derive(Object, Serialize)]
#[oai(rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
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

/// Refresh of an access token
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

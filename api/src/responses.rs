//! Answers of operations that went well.

use poem_openapi::ApiResponse;
use poem_openapi::payload::Json;
use poem_openapi::types::{ParseFromJSON, ToJSON};

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

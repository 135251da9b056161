//! The standard error. Whatever goes wrong, wherever it does, the client gets this one shape.

use commands::Error as CommandError;
use domain::RuleError;
use poem::http::StatusCode;
use poem::{IntoResponse, Response};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object};
use projections::{NotThereYet, QueryError};

/// Error codes, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, schemars::JsonSchema, serde::Serialize)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ErrorCode {
    /// Missing or invalid auth token
    Unauthorized,
    /// Insufficient permissions
    Forbidden,
    /// Resource doesn't exist
    NotFound,
    /// The path exists, but not for this method
    MethodNotAllowed,
    /// The request contradicts the current state
    Conflict,
    /// The request is larger than allowed
    PayloadTooLarge,
    /// The body is not of a type that is understood
    UnsupportedMediaType,
    /// Invalid request data
    ValidationError,
    /// Too many requests
    RateLimit,
    /// Server error
    InternalError,
    /// The service can't answer now; trying again may help
    Unavailable,
}

impl ErrorCode {
    /// The status that goes with it.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ValidationError => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimit => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::CONFLICT => Self::Conflict,
            StatusCode::PAYLOAD_TOO_LARGE => Self::PayloadTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimit,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            // Whatever else is wrong with a request, its data is: 400 is not among the contract's.
            status if status.is_client_error() => Self::ValidationError,
            _ => Self::InternalError,
        }
    }
}

/// The standard error.
#[derive(Clone, Debug, PartialEq, Eq, Object, schemars::JsonSchema, serde::Serialize)]
#[oai(rename = "Error", rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorBody {
    /// Always false
    pub(crate) success: bool,
    /// Sentence for people
    pub(crate) error: String,
    /// Code for programs
    pub(crate) error_code: ErrorCode,
    /// The HTTP status
    pub(crate) status_code: u16,
}

impl Example for ErrorBody {
    fn example() -> Self {
        Self::new(ErrorCode::NotFound, "User not found")
    }
}

impl ErrorBody {
    pub(crate) fn new(error_code: ErrorCode, error: impl Into<String>) -> Self {
        Self { success: false, error: error.into(), error_code, status_code: error_code.status().as_u16() }
    }

    /// Error of a request that cannot be parsed.
    pub(crate) fn bad_request(error: &str) -> Self {
        let status_code = StatusCode::BAD_REQUEST.as_u16();
        Self { status_code, ..Self::new(ErrorCode::ValidationError, error) }
    }
}

/// Every way in which an operation can fail.
#[derive(Clone, Debug, ApiResponse)]
pub(crate) enum ApiError {
    /// Missing, invalid or expired credentials
    #[oai(status = 401)]
    Unauthorized(Json<ErrorBody>),
    /// The caller doesn't have permission
    #[oai(status = 403)]
    Forbidden(Json<ErrorBody>),
    /// There is no such thing, or none that the caller may know of
    #[oai(status = 404)]
    NotFound(Json<ErrorBody>),
    /// The request contradicts the current state
    #[oai(status = 409)]
    Conflict(Json<ErrorBody>),
    /// The body is larger than allowed
    #[oai(status = 413)]
    PayloadTooLarge(Json<ErrorBody>),
    /// The body is not JSON, or doesn't say so
    #[oai(status = 415)]
    UnsupportedMediaType(Json<ErrorBody>),
    /// The request data is invalid; the error names the field
    #[oai(status = 422)]
    ValidationError(Json<ErrorBody>),
    /// Too many requests; try again after so many seconds
    #[oai(status = 429)]
    RateLimit(Json<ErrorBody>, #[oai(header = "Retry-After")] u64),
    /// The server failed
    #[oai(status = 500)]
    Internal(Json<ErrorBody>),
    /// The service can't answer now; trying again may help
    #[oai(status = 503)]
    Unavailable(Json<ErrorBody>),
}

impl ApiError {
    pub(crate) fn not_found(what: &str) -> Self {
        Self::from(ErrorBody::new(ErrorCode::NotFound, format!("{what} not found")))
    }

    pub(crate) fn invalid(field: &str, reason: &str) -> Self {
        Self::from(ErrorBody::new(ErrorCode::ValidationError, format!("{field}: {reason}")))
    }

    pub(crate) fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(%cause, "request failed");
        Self::from(ErrorBody::new(ErrorCode::InternalError, "Internal error"))
    }

    pub(crate) fn unavailable() -> Self {
        Self::from(ErrorBody::new(ErrorCode::Unavailable, "The service is temporarily unavailable"))
    }

    /// The server stops: its load balancer sends the client elsewhere.
    pub(crate) fn stopping() -> Self {
        Self::from(ErrorBody::new(ErrorCode::Unavailable, "The server is stopping"))
    }

    /// The error of a rule that is known to be broken before the command is given.
    pub(crate) fn rule(rule: &impl RuleError) -> Self {
        CommandError::rule(rule).into()
    }

    pub(crate) fn too_many(reason: &str) -> Self {
        Self::from(ErrorBody::new(ErrorCode::RateLimit, reason))
    }

    pub(crate) fn forbidden(reason: &str) -> Self {
        Self::from(ErrorBody::new(ErrorCode::Forbidden, reason))
    }

    /// Returns the body.
    pub(crate) fn body(&self) -> &ErrorBody {
        match self {
            Self::Unauthorized(body)
            | Self::Forbidden(body)
            | Self::NotFound(body)
            | Self::Conflict(body)
            | Self::PayloadTooLarge(body)
            | Self::UnsupportedMediaType(body)
            | Self::ValidationError(body)
            | Self::RateLimit(body, _)
            | Self::Internal(body)
            | Self::Unavailable(body) => body,
        }
    }
}

impl From<ErrorBody> for ApiError {
    fn from(body: ErrorBody) -> Self {
        let code = body.error_code;
        let body = Json(body);
        match code {
            ErrorCode::Unauthorized => Self::Unauthorized(body),
            ErrorCode::Forbidden => Self::Forbidden(body),
            ErrorCode::NotFound | ErrorCode::MethodNotAllowed => Self::NotFound(body),
            ErrorCode::Conflict => Self::Conflict(body),
            ErrorCode::PayloadTooLarge => Self::PayloadTooLarge(body),
            ErrorCode::UnsupportedMediaType => Self::UnsupportedMediaType(body),
            ErrorCode::ValidationError => Self::ValidationError(body),
            ErrorCode::RateLimit => Self::RateLimit(body, 1),
            ErrorCode::InternalError => Self::Internal(body),
            ErrorCode::Unavailable => Self::Unavailable(body),
        }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let code = match &error {
            CommandError::Invalid(_) => ErrorCode::ValidationError,
            CommandError::Unauthorized(_) => ErrorCode::Unauthorized,
            CommandError::Forbidden(_) => ErrorCode::Forbidden,
            CommandError::NotFound(_) => ErrorCode::NotFound,
            CommandError::Conflict(_) => ErrorCode::Conflict,
            CommandError::TooMany(_) => ErrorCode::RateLimit,
            CommandError::Unavailable(cause) => {
                tracing::warn!(%cause, details = ?cause, "command failed: the log or the database is unavailable");
                ErrorCode::Unavailable
            }
            CommandError::Internal(cause) => {
                tracing::error!(%cause, details = ?cause, "command failed: internal error");
                ErrorCode::InternalError
            }
        };
        ErrorBody::new(code, capitalised(&error.to_string())).into()
    }
}

impl From<domain::Invalid> for ApiError {
    fn from(invalid: domain::Invalid) -> Self {
        Self::rule(&invalid)
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        tracing::warn!(%error, cause = %error.source, "query failed");
        ApiError::unavailable()
    }
}

impl From<NotThereYet> for ApiError {
    fn from(_: NotThereYet) -> Self {
        ErrorBody::new(ErrorCode::Unavailable, "X-Min-Position: not reached yet, try again").into()
    }
}

impl From<cluster::ClusterError> for ApiError {
    fn from(error: cluster::ClusterError) -> Self {
        tracing::warn!(%error, cause = %error.source, "query of transient state failed");
        ApiError::unavailable()
    }
}

/// As sentences begin, unless they begin with the name of a field.
pub(crate) fn capitalised(sentence: &str) -> String {
    let names_a_field = sentence.split_once(' ').is_some_and(|(word, _)| word.ends_with(':'));
    let mut chars = sentence.chars();
    match chars.next() {
        Some(first) if !names_a_field => first.to_uppercase().chain(chars).collect(),
        _ => sentence.to_owned(),
    }
}

/// Gives every error the standard shape, whoever raised it: a handler, the framework, or a panic.
pub(crate) fn standard_error(error: poem::Error) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    let body = describe(&error);
    if body.error_code == ErrorCode::InternalError {
        tracing::error!(%error, "request failed");
    }
    respond(body)
}

/// The standard error as a response.
pub(crate) fn respond(body: ErrorBody) -> Response {
    let status = StatusCode::from_u16(body.status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    poem::web::Json(body).with_status(status).into_response()
}

fn describe(error: &poem::Error) -> ErrorBody {
    use poem_openapi::error::{
        AuthorizationError, ContentTypeError, ParseMultipartError, ParseParamError, ParsePathError,
        ParseRequestPayloadError,
    };
    let invalid = |message: &str| ErrorBody::new(ErrorCode::ValidationError, message);
    if let Some(error) = error.downcast_ref::<ParseRequestPayloadError>() {
        return invalid(&error.reason);
    }
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        return invalid(&format!("{}: {}", error.name, error.reason));
    }
    if let Some(error) = error.downcast_ref::<ParseMultipartError>() {
        return invalid(&error.reason);
    }
    if error.is::<ParsePathError>() {
        return ErrorBody::new(ErrorCode::NotFound, "Not found");
    }
    if error.is::<AuthorizationError>() {
        return ErrorBody::new(ErrorCode::Unauthorized, "Missing or invalid auth token");
    }
    if error.is::<ContentTypeError>() {
        return ErrorBody::new(
            ErrorCode::UnsupportedMediaType,
            "The body is not of the type that is expected here, or doesn't say so",
        );
    }
    let code = ErrorCode::of_status(error.status());
    let message = match code {
        ErrorCode::NotFound => "There is nothing at this path",
        ErrorCode::MethodNotAllowed => "This path doesn't support this method",
        ErrorCode::PayloadTooLarge => "The body is too large",
        ErrorCode::UnsupportedMediaType => "The body is not of the type that is expected here, or doesn't say so",
        ErrorCode::InternalError => "Internal error",
        ErrorCode::Unavailable => "The service is temporarily unavailable",
        ErrorCode::Unauthorized => "Missing or invalid auth token",
        ErrorCode::Forbidden => "This isn't allowed",
        ErrorCode::Conflict | ErrorCode::ValidationError | ErrorCode::RateLimit => "The request can't be understood",
    };
    ErrorBody::new(code, message)
}

//! The OpenAPI document and the explorer that shows it.

use bytes::Bytes;
use poem::endpoint::make_sync;
use poem::{Endpoint, Response, Route, get};
use poem_openapi::{ContactObject, LicenseObject, OpenApiService, ServerObject, Tags};
use serde_json::{Value, json};

use crate::admin::{AdminLoginApi, BusinessesApi, UsersApi};
use crate::asyncapi;
use crate::error::{ErrorBody, ErrorCode};
use crate::messenger::{CallsApi, ConversationsApi, EventsApi, MessagesApi, MessengerLoginApi, PeopleApi};

/// Groups of operations.
#[derive(Tags)]
pub(crate) enum Tag {
    /// Logging in at the admin API
    #[oai(rename = "Admin: authentication")]
    AdminAuthentication,
    /// The tenants of this installation
    #[oai(rename = "Admin: businesses")]
    Businesses,
    /// The people of a business
    #[oai(rename = "Admin: users")]
    Users,
    /// Logging in to the messenger of a business
    #[oai(rename = "Messenger: authentication")]
    MessengerAuthentication,
    /// Sending messages and reading them
    #[oai(rename = "Messenger: messages")]
    Messages,
    /// Calling people
    #[oai(rename = "Messenger: calls")]
    Calls,
    /// What happened, for those who poll; and opening streams from browsers
    #[oai(rename = "Messenger: events")]
    Events,
    /// The people of one's business
    #[oai(rename = "Messenger: people")]
    People,
}

const DESCRIPTION: &str = "\
A messenger backend that a business hosts itself.

Log in, send the token as `Authorization: Bearer {token}`, and connect to the live stream with the official Socket.IO client: \
`io(url, {auth: {token}})`, over a plain WebSocket at `/api/messenger/events/ws`, or with server-sent events at \
`/api/messenger/events`. What is said over them is described by [another document](/asyncapi.json), to be read \
[here](/docs/events).

Every error has the shape of the schema `Error`. Every write answers with `X-Position`; a read that sends it as \
`X-Min-Position` sees that write, on any node.";

type All = (
    (AdminLoginApi, BusinessesApi, UsersApi),
    (MessengerLoginApi, MessagesApi, ConversationsApi, CallsApi, EventsApi, PeopleApi),
);

fn service() -> OpenApiService<All, ()> {
    let all = (
        (AdminLoginApi, BusinessesApi, UsersApi),
        (MessengerLoginApi, MessagesApi, ConversationsApi, CallsApi, EventsApi, PeopleApi),
    );
    OpenApiService::new(all, "Switchboard", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .license(LicenseObject::new("Apache-2.0").identifier("Apache-2.0"))
        .contact(ContactObject::new().name("Switchboard"))
        .server(ServerObject::new("/"))
}

/// The OpenAPI document, as `/openapi.json` serves it.
///
/// # Panics
/// When the framework writes a document that isn't JSON.
#[must_use]
pub fn document() -> String {
    with_examples(&service().spec())
}

/// Routes of the REST API, of the document and of the explorer.
pub(crate) fn routes() -> Route {
    let service = service();
    let document = document();
    let explorer = service
        .swagger_ui_html()
        .replace(&service.spec(), &document)
        .replace("deepLinking: true,", "deepLinking: true, persistAuthorization: true, tryItOutEnabled: true,");
    Route::new()
        .at("/openapi.json", get(fixed("application/json; charset=utf-8", document)))
        .at("/docs", get(fixed("text/html; charset=utf-8", explorer)))
        .at("/asyncapi.json", get(fixed("application/json; charset=utf-8", asyncapi::document())))
        .at("/docs/events", get(fixed("text/html; charset=utf-8", asyncapi::PAGE.to_owned())))
        .nest("/", service)
}

/// Always the same answer.
fn fixed(content_type: &'static str, content: String) -> impl Endpoint<Output = Response> {
    let content = Bytes::from(content);
    make_sync(move |_| Response::builder().content_type(content_type).body(content.clone()))
}

/// Adds an example of the standard error to each error response: a schema has room for one only, whatever the status.
fn with_examples(spec: &str) -> String {
    let mut document: Value = serde_json::from_str(spec).expect("the framework writes JSON");
    let operations = document["paths"]
        .as_object_mut()
        .into_iter()
        .flatten()
        .flat_map(|(_, path)| path.as_object_mut().into_iter().flatten().map(|(_, operation)| operation));
    for operation in operations {
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            let Some(example) = error_example(status) else { continue };
            for (_, media) in response["content"].as_object_mut().into_iter().flatten() {
                media["example"] = json!(example);
            }
        }
    }
    serde_json::to_string_pretty(&document).expect("a JSON value is written as JSON")
}

fn error_example(status: &str) -> Option<ErrorBody> {
    let (code, error) = match status {
        "401" => (ErrorCode::Unauthorized, "Missing or invalid auth token"),
        "403" => (ErrorCode::Forbidden, "You can't create users with this role"),
        "404" => (ErrorCode::NotFound, "User not found"),
        "409" => (ErrorCode::Conflict, "This email is in use already"),
        "413" => (ErrorCode::PayloadTooLarge, "The body is too large"),
        "415" => (ErrorCode::UnsupportedMediaType, "The body must be JSON, and Content-Type say so"),
        "422" => (ErrorCode::ValidationError, "content: must be at most 10000 characters"),
        "429" => (ErrorCode::RateLimit, "Too many requests"),
        "500" => (ErrorCode::InternalError, "Internal error"),
        "503" => (ErrorCode::Unavailable, "The service is temporarily unavailable"),
        _ => return None,
    };
    Some(ErrorBody::new(code, error))
}

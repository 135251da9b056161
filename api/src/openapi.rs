//! The OpenAPI document and the explorer that shows it.

use bytes::Bytes;
use poem::endpoint::make_sync;
use poem::{Endpoint, IntoEndpoint, Response, get};
use poem_openapi::{ContactObject, LicenseObject, OpenApiService, ServerObject, Tags};
use serde_json::{Value, json};

use crate::admin::{AdminLoginApi, AdminMessagesApi, BusinessesApi, ProjectionsApi, UserSessionsApi, UsersApi};
use crate::asyncapi;
use crate::audit::{AuditEventsApi, CatalogueApi, CorrelationsApi, StreamsApi};
use crate::error::{ErrorBody, ErrorCode};
use crate::messenger::{
    CallsApi, ConversationsApi, EventsApi, FilesApi, MeApi, MessagesApi, MessengerLoginApi, PeopleApi, SessionsApi,
};
use crate::paths::Paths;

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
    /// Messages of users
    #[oai(rename = "Admin: messages")]
    AdminMessages,
    /// Read models
    #[oai(rename = "Admin: projections")]
    Projections,
    /// The history
    #[oai(rename = "Audit")]
    Audit,
    /// Logging in to the messenger of a business
    #[oai(rename = "Messenger: authentication")]
    MessengerAuthentication,
    /// Sending messages and reading them
    #[oai(rename = "Messenger: messages")]
    Messages,
    /// Files that go with messages
    #[oai(rename = "Messenger: files")]
    Files,
    /// Calling people
    #[oai(rename = "Messenger: calls")]
    Calls,
    /// Events for clients that poll, and tickets for browsers
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
`X-Min-Position` sees that write, on any node. From then on that node also decides by it: who was suspended there is out here.";

type All = (
    (AdminLoginApi, BusinessesApi, UsersApi, UserSessionsApi, AdminMessagesApi, ProjectionsApi),
    (AuditEventsApi, StreamsApi, CorrelationsApi, CatalogueApi),
    (MessengerLoginApi, SessionsApi, MessagesApi, ConversationsApi, FilesApi, CallsApi, EventsApi, PeopleApi, MeApi),
);

fn service() -> OpenApiService<All, ()> {
    let all = (
        (AdminLoginApi, BusinessesApi, UsersApi, UserSessionsApi, AdminMessagesApi, ProjectionsApi),
        (AuditEventsApi, StreamsApi, CorrelationsApi, CatalogueApi),
        (
            MessengerLoginApi,
            SessionsApi,
            MessagesApi,
            ConversationsApi,
            FilesApi,
            CallsApi,
            EventsApi,
            PeopleApi,
            MeApi,
        ),
    );
    OpenApiService::new(all, "Switchboard", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .license(LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"))
        .contact(ContactObject::new().name("Switchboard"))
        .server(ServerObject::new("/"))
}

/// The OpenAPI document, as `/openapi.json` serves it.
///
/// # Panics
/// If the framework writes a document that is not JSON.
#[must_use]
pub fn document() -> String {
    let mut document = serde_json::from_str(&service().spec()).expect("the framework writes JSON");
    let mut bodies = vec![];
    for operation in operations(&mut document) {
        say_who_may(operation);
        say_what_fits(operation);
        say_what_files_are(operation);
        add_examples(operation);
        let contents = operation["requestBody"]["content"].as_object().into_iter().flatten();
        bodies.extend(
            contents.filter_map(|(_, media)| media["schema"]["$ref"].as_str()?.rsplit('/').next().map(str::to_owned)),
        );
    }
    for body in bodies {
        // A field that nobody knows is refused.
        document["components"]["schemas"][body]["additionalProperties"] = json!(false);
    }
    for (name, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        if !WITHOUT_NULLS.contains(&name.as_str()) {
            allow_nulls(schema);
        }
    }
    serde_json::to_string_pretty(&document).expect("a JSON value is written as JSON")
}

/// Paths of the REST API, of the document and of the explorer.
pub(crate) fn paths() -> impl Endpoint<Output = Response> {
    let service = service();
    let document = document();
    let explorer = service
        .swagger_ui_html()
        .replace(&service.spec(), &document)
        .replace("deepLinking: true,", "deepLinking: true, persistAuthorization: true, tryItOutEnabled: true,");
    Paths::to(service.into_endpoint())
        .at("/openapi.json", get(fixed("application/json; charset=utf-8", document)))
        .at("/docs", get(fixed("text/html; charset=utf-8", explorer)))
        .at("/asyncapi.json", get(fixed("application/json; charset=utf-8", asyncapi::document())))
        .at("/docs/events", get(fixed("text/html; charset=utf-8", asyncapi::PAGE.to_owned())))
}

/// Always the same answer.
fn fixed(content_type: &'static str, content: String) -> impl Endpoint<Output = Response> {
    let content = Bytes::from(content);
    make_sync(move |_| Response::builder().content_type(content_type).body(content.clone()))
}

/// Types that omit fields without a value: browsers accept no null there.
const WITHOUT_NULLS: [&str; 1] = ["IceServer"];

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(_, path)| path.as_object_mut().into_iter().flatten().map(|(_, operation)| operation))
}

/// Says of what needs no token that it needs none, rather than nothing.
fn say_who_may(operation: &mut Value) {
    if operation["security"].is_null() {
        operation["security"] = json!([]);
    }
}

/// Says which values of parameters are refused: the framework leaves that to the handlers, and so doesn't know.
fn say_what_fits(operation: &mut Value) {
    let largest_page = match operation["operationId"].as_str().unwrap_or_default() {
        "eventsSince" | "auditStream" | "listParkedEvents" => Some(1000),
        // As lines, as many as there are.
        "auditEvents" => None,
        _ => Some(100),
    };
    let is_audit = operation["tags"][0] == "Audit";
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let schema = &mut parameter["schema"];
        match name.as_str() {
            "page" => schema["minimum"] = json!(1),
            "limit" => {
                schema["minimum"] = json!(1);
                if let Some(largest) = largest_page {
                    schema["maximum"] = json!(largest);
                }
            }
            "X-Min-Position" | "position" => schema["minimum"] = json!(0),
            "after" if is_audit => schema["minimum"] = json!(0),
            "from" | "to" | "at" => schema["format"] = json!("date-time"),
            "actor" => schema["format"] = json!("uuid"),
            // The places of messages, and where pages go on: numbers to us, which clients may not count on.
            "before" | "after" | "cursor" => schema["pattern"] = json!("^[0-9]{1,19}$"),
            "Idempotency-Key" => {
                schema["minLength"] = json!(1);
                schema["maxLength"] = json!(128);
            }
            "search" => schema["maxLength"] = json!(200),
            "reason" => {
                schema["minLength"] = json!(1);
                schema["maxLength"] = json!(500);
            }
            _ => {}
        }
    }
}

/// Files come as whatever they are. The framework takes them all for bytes.
fn say_what_files_are(operation: &mut Value) {
    for (_, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) else { continue };
        if let Some(bytes) = content.remove("application/octet-stream") {
            content.insert("*/*".to_owned(), bytes);
            response["headers"].as_object_mut().map(|headers| headers.remove("CONTENT-TYPE"));
        }
    }
}

/// Adds an example of the standard error to each error response: a schema has room for one only, whatever the status.
fn add_examples(operation: &mut Value) {
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        let Some(example) = error_example(status) else { continue };
        for (_, media) in response.get_mut("content").and_then(Value::as_object_mut).into_iter().flatten() {
            media["example"] = json!(example);
        }
    }
}

/// Allows null for optional fields of a body, which the framework does not declare.
fn allow_nulls(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten();
    for (_, property) in properties.filter(|(name, _)| !required.iter().any(|one| one == name.as_str())) {
        if property["type"].is_string() {
            property["nullable"] = json!(true);
        } else {
            // Beside a reference, `nullable` means nothing.
            let nothing = json!({"type": "string", "nullable": true, "enum": [null]});
            *property = json!({"anyOf": [property.take(), nothing]});
        }
    }
}

fn error_example(status: &str) -> Option<ErrorBody> {
    let (code, error) = match status {
        "401" => (ErrorCode::Unauthorized, "Missing or invalid auth token"),
        "403" => (ErrorCode::Forbidden, "You can't create users with this role"),
        "404" => (ErrorCode::NotFound, "User not found"),
        "409" => (ErrorCode::Conflict, "This email is in use already"),
        "416" => {
            let mut body = ErrorBody::new(ErrorCode::ValidationError, "Range: there is no such part of the file");
            body.status_code = 416;
            return Some(body);
        }
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

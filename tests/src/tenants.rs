//! Who may do what, and what nobody of another tenant may: every operation of the OpenAPI document has a row here.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN, Business, PASSWORD, Person, PlainSocket, World, anonymous, http_client};

/// What an operation answers, by who asks, about something of Acme. `None`: it is of the other API.
struct Row {
    operation: &'static str,
    super_admin: Option<u16>,
    system_auditor: Option<u16>,
    admin: Option<u16>,
    auditor: Option<u16>,
    foreign_admin: Option<u16>,
    foreign_auditor: Option<u16>,
    user: Option<u16>,
    colleague: Option<u16>,
    colleague_admin: Option<u16>,
    colleague_auditor: Option<u16>,
    foreigner: Option<u16>,
}

/// An operation of the admin API: super admin, system auditor, then admin and auditor of Acme, then an admin of Globex.
///
/// An auditor of Globex gets what its admin does.
const fn admin(operation: &'static str, [super_admin, system_auditor, admin, auditor, foreign_admin]: [u16; 5]) -> Row {
    Row {
        operation,
        super_admin: Some(super_admin),
        system_auditor: Some(system_auditor),
        admin: Some(admin),
        auditor: Some(auditor),
        foreign_admin: Some(foreign_admin),
        foreign_auditor: Some(foreign_admin),
        user: None,
        colleague: None,
        colleague_admin: None,
        colleague_auditor: None,
        foreigner: None,
    }
}

/// An operation of the messenger: a user of Acme whom the thing concerns, then their colleagues whom it doesn't, whatever their role,
/// then whoever is of another business, whatever their role.
const fn messenger(operation: &'static str, [user, colleague, foreigner]: [u16; 3]) -> Row {
    Row {
        operation,
        super_admin: None,
        system_auditor: None,
        admin: None,
        auditor: None,
        foreign_admin: None,
        foreign_auditor: None,
        user: Some(user),
        colleague: Some(colleague),
        colleague_admin: Some(colleague),
        colleague_auditor: Some(colleague),
        foreigner: Some(foreigner),
    }
}

const TABLE: [Row; 54] = [
    admin("registerBusiness", [201, 403, 403, 403, 403]),
    admin("listBusinesses", [200, 200, 200, 200, 200]),
    admin("getBusiness", [200, 200, 200, 200, 404]),
    admin("renameBusiness", [200, 403, 403, 403, 403]),
    admin("suspendBusiness", [200, 403, 403, 403, 403]),
    admin("reactivateBusiness", [200, 403, 403, 403, 403]),
    // Who creates nobody is told so before it is looked where.
    Row { foreign_auditor: Some(403), ..admin("createUser", [201, 403, 201, 403, 404]) },
    admin("listUsers", [200, 200, 200, 200, 404]),
    admin("getUser", [200, 200, 200, 200, 404]),
    admin("suspendUser", [200, 403, 200, 403, 404]),
    admin("reactivateUser", [200, 403, 200, 403, 404]),
    admin("changeUser", [200, 403, 200, 403, 404]),
    admin("resetPassword", [200, 403, 200, 403, 404]),
    admin("listUserSessions", [200, 403, 200, 403, 404]),
    admin("endUserSession", [200, 403, 200, 403, 404]),
    admin("endUserSessions", [200, 403, 200, 403, 404]),
    admin("listProjections", [200, 200, 403, 403, 403]),
    admin("rebuildProjection", [202, 403, 403, 403, 403]),
    admin("listParkedEvents", [200, 200, 403, 403, 403]),
    admin("retryParkedEvents", [200, 403, 403, 403, 403]),
    admin("dropRetiredTables", [200, 403, 403, 403, 403]),
    admin("auditEvents", [200, 200, 200, 200, 404]),
    admin("auditStream", [200, 200, 200, 200, 404]),
    admin("auditState", [200, 200, 200, 200, 404]),
    admin("auditCorrelation", [200, 200, 200, 200, 404]),
    admin("auditCatalogue", [200, 200, 200, 200, 200]),
    messenger("sendMessage", [201, 201, 404]),
    messenger("getMessage", [200, 404, 404]),
    messenger("editMessage", [200, 404, 404]),
    messenger("listConversations", [200, 200, 200]),
    messenger("listMessages", [200, 404, 404]),
    messenger("uploadFile", [201, 201, 201]),
    messenger("getFile", [200, 404, 404]),
    // Administrators may, but say why; auditors see it, elsewhere.
    Row { colleague_admin: Some(422), colleague_auditor: Some(403), ..messenger("deleteMessage", [200, 404, 404]) },
    admin("adminDeleteMessage", [200, 403, 200, 403, 404]),
    messenger("getMe", [200, 200, 200]),
    messenger("changeMe", [200, 200, 200]),
    messenger("listSessions", [200, 200, 200]),
    messenger("endSession", [200, 404, 404]),
    messenger("readConversation", [200, 404, 404]),
    messenger("listCalls", [200, 200, 200]),
    messenger("getCall", [200, 404, 404]),
    messenger("startCall", [201, 201, 404]),
    // The user of Acme has called, and so is not the one to answer.
    messenger("acceptCall", [403, 404, 404]),
    messenger("rejectCall", [403, 404, 404]),
    messenger("endCall", [200, 404, 404]),
    messenger("eventsSince", [200, 200, 200]),
    messenger("issueTicket", [201, 201, 201]),
    messenger("listColleagues", [200, 200, 200]),
    messenger("listIceServers", [200, 200, 200]),
    // Nobody's password is what it is said to be.
    messenger("changePassword", [422, 422, 422]),
    admin("adminChangePassword", [422, 422, 422, 422, 422]),
    messenger("messengerLogout", [200, 200, 200]),
    admin("adminLogout", [200, 200, 200, 200, 200]),
];

/// Operations that anybody may call.
const OPEN: [&str; 4] = ["adminLogin", "adminRefresh", "messengerLogin", "messengerRefresh"];

/// What clients may say over a live stream, and how the user of Acme is answered who says it about something of Acme.
struct Word {
    event: &'static str,
    /// What it says about a person, a message and a call.
    data: fn(&Ids) -> Value,
    /// The status of the answer; 200 for a success.
    status: u16,
    /// The same, for colleagues whom the message and the call don't concern.
    colleague: u16,
}

/// Of whom and of what something is said.
struct Ids {
    person: String,
    message: String,
    call: String,
}

const WORDS: [Word; 8] = [
    Word {
        event: "message:send",
        data: |ids| json!({"recipientId": ids.person, "content": "hello", "type": "text"}),
        status: 200,
        colleague: 200,
    },
    Word { event: "message:read", data: |ids| json!({"messageId": ids.message}), status: 200, colleague: 404 },
    Word { event: "typing:start", data: |ids| json!({"recipientId": ids.person}), status: 200, colleague: 200 },
    Word { event: "typing:stop", data: |ids| json!({"recipientId": ids.person}), status: 200, colleague: 200 },
    Word {
        event: "call:signal",
        data: |ids| json!({"callId": ids.call, "kind": "offer", "payload": {"sdp": "v=0"}}),
        status: 200,
        colleague: 404,
    },
    // The user of Acme has called, and so is not the one to answer.
    Word { event: "call:accept", data: |ids| json!({"callId": ids.call}), status: 403, colleague: 404 },
    Word { event: "call:reject", data: |ids| json!({"callId": ids.call}), status: 403, colleague: 404 },
    // Last, since nothing can be said about it afterwards.
    Word { event: "call:end", data: |ids| json!({"callId": ids.call}), status: 200, colleague: 404 },
];

/// Why somebody who has a token isn't let in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Out {
    PersonSuspended,
    BusinessSuspended,
    SessionRevoked,
}

impl Out {
    const ALL: [Self; 3] = [Self::PersonSuspended, Self::BusinessSuspended, Self::SessionRevoked];

    /// Shuts somebody out.
    async fn shut_out(self, world: &World, person: &Person) {
        let path = match self {
            Self::PersonSuspended => format!("/api/admin/users/{}/suspend", person.id),
            Self::BusinessSuspended => format!("/api/admin/businesses/{}/suspend", person.business.id),
            Self::SessionRevoked => {
                let path = format!("/api/admin/users/{}/sessions", person.id);
                world.admin.request(Method::DELETE, &path, None, &[]).await.expect(200);
                return;
            }
        };
        world.admin.post(&path, Value::Null).await.expect(200);
    }

    /// Lets somebody of the messenger in again; with another token, where that is needed.
    async fn let_in(self, world: &World, person: &Person) -> Person {
        let path = match self {
            Self::PersonSuspended => Some(format!("/api/admin/users/{}/reactivate", person.id)),
            Self::BusinessSuspended => Some(format!("/api/admin/businesses/{}/reactivate", person.business.id)),
            Self::SessionRevoked => None,
        };
        if let Some(path) = path {
            world.admin.post(&path, Value::Null).await.expect(200);
        }
        if self == Self::BusinessSuspended {
            return person.clone();
        }
        // What was good before isn't any more.
        person.get("/api/messenger/me").await.expect_error(401, "UNAUTHORIZED");
        Person::log_in(&person.url, &person.business, &person.email, PASSWORD).await
    }
}

struct Cast {
    world: World,
    acme: Business,
    system_auditor: Person,
    admin: Person,
    auditor: Person,
    user: Person,
    foreign_admin: Person,
    foreign_auditor: Person,
    foreign_user: Person,
    /// Others at the messenger of Acme, by who they are: neither the message nor the call nor the file is theirs.
    colleague: Person,
    colleague_admin: Person,
    colleague_auditor: Person,
    /// Whoever is at the messenger of another business.
    foreigners: Vec<(&'static str, Person)>,
    victim: String,
    message: String,
    conversation: String,
    call: String,
    file: String,
    /// A session of the user's besides the one that they act in.
    other_session: String,
    session_of_victim: String,
    /// The request with which the message was sent.
    correlation: String,
}

impl Cast {
    async fn assemble() -> Self {
        let world = World::start().await;
        let (acme, globex) = (world.business("Acme").await, world.business("Globex").await);
        let log_in_as_admin = async |business: &Business, name: &str, role: &str| {
            world.create(business, name, role).await;
            Person::log_in_as_admin(&world.server.url, &format!("{}@example.com", name.to_lowercase()), PASSWORD).await
        };
        let system_auditor = log_in_as_admin(&world.admin.business, "Audrey", "SYSTEM_AUDITOR").await;
        let admin = log_in_as_admin(&acme, "Adam", "BUSINESS_ADMIN").await;
        let auditor = log_in_as_admin(&acme, "Otto", "BUSINESS_AUDITOR").await;
        let foreign_admin = log_in_as_admin(&globex, "Gloria", "BUSINESS_ADMIN").await;
        let foreign_auditor = log_in_as_admin(&globex, "Greta", "BUSINESS_AUDITOR").await;
        let user = world.person(&acme, "Alice").await;
        let bob = world.person(&acme, "Bob").await;
        let foreign_user = world.person(&globex, "Mallory").await;
        let colleague = world.person(&acme, "Carol").await;
        // Every account of a business may log in at its messenger.
        let (colleague_admin, colleague_auditor) =
            (world.log_in(&acme, "Adam").await, world.log_in(&acme, "Otto").await);
        let system = &world.admin.business;
        let foreigners = vec![
            ("a foreign user", foreign_user.clone()),
            ("a foreign admin, at the messenger", world.log_in(&globex, "Gloria").await),
            ("the super admin, at the messenger", Person::log_in(&world.server.url, system, ADMIN.0, ADMIN.1).await),
            ("a system auditor, at the messenger", world.log_in(system, "Audrey").await),
        ];
        let sent = user.send_text(&bob, "secret").await.expect(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (message, conversation) =
            (text(&sent.body["message"]["id"]), text(&sent.body["message"]["conversationId"]));
        let body = json!({"recipientId": bob.id, "callType": "audio"});
        let call = text(&user.post("/api/messenger/calls", body).await.expect(201).body["call"]["id"]);
        let file = upload(&user, "secret.txt").await.expect(201);
        world.log_in(&acme, "Alice").await;
        let sessions = user.get("/api/messenger/sessions").await.expect(200);
        let other_session = text(&sessions.body["sessions"][0]["id"]);
        let sessions = world.admin.get(&format!("/api/admin/users/{}/sessions", bob.id)).await.expect(200);
        let life = world.admin.get(&format!("/api/audit/streams/message-{message}")).await.expect(200);
        Self {
            correlation: text(&life.body["events"][0]["correlationId"]),
            file: text(&file.body["file"]["id"]),
            other_session,
            session_of_victim: text(&sessions.body["sessions"][0]["id"]),
            world,
            acme,
            system_auditor,
            admin,
            auditor,
            user,
            foreign_admin,
            foreign_auditor,
            foreign_user,
            colleague,
            colleague_admin,
            colleague_auditor,
            foreigners,
            victim: bob.id,
            message,
            conversation,
            call,
        }
    }

    /// Calls an operation about something of Acme.
    async fn call(&self, operation: &Operation, person: &Person, unique: &str) -> crate::support::Answer {
        let id = match operation.id.as_str() {
            "getMessage" | "editMessage" | "deleteMessage" | "adminDeleteMessage" => &self.message,
            "getFile" => &self.file,
            "endSession" => &self.other_session,
            "resetPassword" => &self.victim,
            "auditCorrelation" => &self.correlation,
            id if id.ends_with("Call") => &self.call,
            id if id.ends_with("User") || id.contains("UserSession") => &self.victim,
            _ => &self.acme.id,
        };
        let mut path = operation.path.replace("{id}", id).replace("{conversation_id}", &self.conversation);
        path = path.replace("{session_id}", &self.session_of_victim);
        path = path.replace("{stream}", &format!("message-{}", self.message)).replace("{name}", "people");
        let body = match operation.id.as_str() {
            "registerBusiness" | "renameBusiness" => Some(json!({"name": "Another"})),
            "createUser" => Some(json!({
                "email": format!("{unique}@example.com"), "name": "New", "password": PASSWORD, "role": "BUSINESS_USER",
                "businessId": self.acme.id,
            })),
            "uploadFile" => return upload(person, "file.txt").await,
            "editMessage" => Some(json!({"content": "no secret"})),
            "changeMe" | "changeUser" => Some(json!({"name": "Another"})),
            "resetPassword" => Some(json!({"password": "another secret"})),
            "changePassword" | "adminChangePassword" => {
                Some(json!({"currentPassword": "a wrong one", "newPassword": "another secret"}))
            }
            "adminDeleteMessage" => {
                path = format!("{path}?reason=spam");
                None
            }
            "readConversation" => Some(json!({"upTo": self.message})),
            "startCall" => Some(json!({"recipientId": self.victim, "callType": "video"})),
            "sendMessage" => Some(json!({"recipientId": self.victim, "content": "hello"})),
            "listUsers" | "auditEvents" => {
                path = format!("{path}?businessId={}", self.acme.id);
                None
            }
            _ => None,
        };
        person.request(operation.method.clone(), &path, body, &[]).await
    }
}

/// Uploads a file of three bytes.
async fn upload(person: &Person, name: &str) -> crate::support::Answer {
    person.upload(name, "text/plain", b"abc".to_vec()).await
}

struct Operation {
    id: String,
    method: Method,
    path: String,
}

async fn operations(world: &World) -> Vec<Operation> {
    let document = anonymous(&world.server.url, Method::GET, "/openapi.json", None).await.expect(200).body;
    let mut operations = vec![];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
            });
        }
    }
    operations
}

#[tokio::test]
async fn every_operation_answers_each_role_as_the_table_says() {
    let cast = Cast::assemble().await;
    let operations = operations(&cast.world).await;
    let known: BTreeSet<&str> = TABLE.iter().map(|row| row.operation).chain(OPEN).collect();
    let documented: BTreeSet<&str> = operations.iter().map(|operation| operation.id.as_str()).collect();
    assert_eq!(documented, known, "every operation has a row, and every row an operation");

    let mut wrong = vec![];
    for row in TABLE {
        let operation = operations.iter().find(|operation| operation.id == row.operation).unwrap();
        let foreigners = cast.foreigners.iter().map(|(who, person)| (*who, person, row.foreigner));
        // Log-outs last: who has logged out can't do anything more.
        let cast_in_order = foreigners.chain([
            ("an auditor", &cast.auditor, row.auditor),
            ("a system auditor", &cast.system_auditor, row.system_auditor),
            ("a foreign admin", &cast.foreign_admin, row.foreign_admin),
            ("a foreign auditor", &cast.foreign_auditor, row.foreign_auditor),
            ("a colleague", &cast.colleague, row.colleague),
            ("an admin, at the messenger", &cast.colleague_admin, row.colleague_admin),
            ("an auditor, at the messenger", &cast.colleague_auditor, row.colleague_auditor),
            ("an admin", &cast.admin, row.admin),
            ("the super admin", &cast.world.admin, row.super_admin),
            ("a user", &cast.user, row.user),
        ]);
        for (who, person, expected) in cast_in_order {
            let Some(expected) = expected else { continue };
            let unique = format!("{}{}", row.operation, who.replace(' ', "")).to_lowercase();
            let answer = cast.call(operation, person, &unique).await;
            if answer.status.as_u16() != expected {
                wrong.push(format!("{who} calls {}: {}, not {expected}", row.operation, answer.body));
            }
            if row.operation == "suspendBusiness" && expected == 200 {
                // Undone, or everybody of Acme would be out for the rest of the table.
                let path = format!("/api/admin/businesses/{}/reactivate", cast.acme.id);
                cast.world.admin.post(&path, Value::Null).await.expect(200);
            }
            if row.operation == "suspendUser" && expected == 200 {
                let path = format!("/api/admin/users/{}/reactivate", cast.victim);
                cast.world.admin.post(&path, Value::Null).await.expect(200);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn no_operation_is_done_for_anybody_who_is_suspended_or_whose_session_is_over() {
    for out in Out::ALL {
        let cast = Cast::assemble().await;
        // Whoever shuts the others out isn't shut out by anybody.
        cast.world.create(&cast.world.admin.business, "Rosa", "SYSTEM_SUPER_ADMIN").await;
        let super_admin = Person::log_in_as_admin(&cast.world.server.url, "rosa@example.com", PASSWORD).await;
        let people = [
            ("a super admin", &super_admin),
            ("a system auditor", &cast.system_auditor),
            ("an admin", &cast.admin),
            ("an auditor", &cast.auditor),
            ("a foreign admin", &cast.foreign_admin),
            ("a user", &cast.user),
            ("a foreign user", &cast.foreign_user),
        ];
        let mut those_who_are_out = vec![];
        for (who, person) in people {
            // The business of those who run the installation can't be suspended.
            if out == Out::BusinessSuspended && person.business.id == cast.world.admin.business.id {
                let path = format!("/api/admin/businesses/{}/suspend", person.business.id);
                let status = cast.world.admin.post(&path, Value::Null).await.status;
                assert!(status.is_client_error(), "{status}");
                continue;
            }
            out.shut_out(&cast.world, person).await;
            those_who_are_out.push((who, person));
        }
        let before = cast.world.all_events().await;
        for operation in operations(&cast.world).await {
            if OPEN.contains(&operation.id.as_str()) {
                continue;
            }
            for (who, person) in &those_who_are_out {
                let answer = cast.call(&operation, person, "x").await;
                let what = format!("{who} calls {}, {out:?}", operation.id);
                assert_eq!(answer.status, 401, "{what}: {}", answer.body);
                answer.expect_error(401, "UNAUTHORIZED");
            }
        }
        for stream in ["/api/messenger/events", "/api/messenger/events/ws"] {
            let user = &cast.user;
            if stream.ends_with("/ws") {
                assert_eq!(PlainSocket::open(&user.url, "", Some(&user.token)).await.err().unwrap(), 401);
            } else {
                user.get(stream).await.expect_error(401, "UNAUTHORIZED");
            }
        }
        assert_eq!(cast.world.all_events().await, before, "{out:?}");
    }
}

/// What clients may say, as the document of the live streams has it.
async fn words(world: &World) -> BTreeSet<String> {
    let document = anonymous(&world.server.url, Method::GET, "/asyncapi.json", None).await.expect(200).body;
    let messages = document["components"]["messages"].as_object().unwrap().iter();
    let heard = messages.filter(|(id, _)| id.starts_with("heard"));
    heard.map(|(_, message)| message["name"].as_str().unwrap().to_owned()).collect()
}

/// What clients may say, as the one who hears it has it.
fn arms() -> BTreeSet<String> {
    let source = include_str!("../../api/src/realtime/emits.rs");
    let (_, hears) = source.split_once("async fn handle(").expect("what hears emits");
    let (arms, _) = hears.split_once("unknown =>").expect("what hears anything else");
    let patterns = arms.lines().filter_map(|line| line.trim().split_once(" =>")).map(|(pattern, _)| pattern);
    let names = patterns.flat_map(|pattern| pattern.split(" | ")).filter(|name| name.starts_with('"'));
    names.map(|name| name.trim_matches('"').to_owned()).collect()
}

impl Cast {
    /// Something of Acme that its user has to do with.
    fn ids(&self) -> Ids {
        Ids { person: self.victim.clone(), message: self.message.clone(), call: self.call.clone() }
    }
}

#[tokio::test]
async fn whatever_is_said_over_a_live_stream_about_what_concerns_others_alone_is_said_about_nothing() {
    let cast = Cast::assemble().await;
    let known: BTreeSet<String> = WORDS.iter().map(|word| word.event.to_owned()).collect();
    assert_eq!(words(&cast.world).await, known, "every event has a row, and every row an event");
    assert_eq!(arms(), known, "what is heard is what is documented");

    let mut foreign = PlainSocket::connect(&cast.foreign_user, None).await;
    let mut own = PlainSocket::connect(&cast.user, None).await;
    let mut colleagues = vec![];
    for person in [&cast.colleague, &cast.colleague_admin, &cast.colleague_auditor] {
        colleagues.push((&person.email, PlainSocket::connect(person, None).await));
    }
    for word in WORDS {
        let before = cast.world.all_events().await;
        let answer = foreign.emit(word.event, (word.data)(&cast.ids())).await;
        assert_eq!((&answer["errorCode"], &answer["statusCode"]), (&json!("NOT_FOUND"), &json!(404)), "{}", word.event);
        for missing in ["01900000-0000-7000-8000-000000000000", "nonsense", ""] {
            let ids = Ids { person: missing.to_owned(), message: missing.to_owned(), call: missing.to_owned() };
            assert_eq!(foreign.emit(word.event, (word.data)(&ids)).await, answer, "{} about {missing:?}", word.event);
            let own_answer = own.emit(word.event, (word.data)(&ids)).await;
            assert_eq!(own_answer, answer, "{} about {missing:?}", word.event);
        }
        for (email, socket) in colleagues.iter_mut().filter(|_| word.colleague == 404) {
            let about_theirs = socket.emit(word.event, (word.data)(&cast.ids())).await;
            assert_eq!(about_theirs, answer, "{email} says {}", word.event);
        }
        assert_eq!(cast.world.all_events().await, before, "{}", word.event);
        for (email, socket) in colleagues.iter_mut().filter(|_| word.colleague == 200) {
            let answer = socket.emit(word.event, (word.data)(&cast.ids())).await;
            assert_eq!(answer["success"], true, "{email} says {}: {answer}", word.event);
        }
        let answer = own.emit(word.event, (word.data)(&cast.ids())).await;
        let status = if answer["success"] == true { json!(200) } else { answer["statusCode"].clone() };
        assert_eq!(status, json!(word.status), "{}: {answer}", word.event);
    }
}

#[tokio::test]
async fn nothing_that_is_said_over_a_live_stream_is_done_for_anybody_who_is_out() {
    let mut cast = Cast::assemble().await;
    for out in Out::ALL {
        for word in WORDS {
            for is_foreign in [false, true] {
                let person = if is_foreign { cast.foreign_user.clone() } else { cast.user.clone() };
                let what = format!("{} says {}, {out:?}", person.email, word.event);
                let mut socket = PlainSocket::connect(&person, None).await;
                socket.expect("feed:caught-up").await;
                out.shut_out(&cast.world, &person).await;
                let before = cast.world.all_events().await;
                // The stream may be closed before it is heard, or afterwards.
                for _ in 0..3 {
                    match socket.try_emit(word.event, (word.data)(&cast.ids())).await {
                        Ok(answer) => assert_eq!(answer["errorCode"], "UNAUTHORIZED", "{what}: {answer}"),
                        Err(code) => {
                            assert!(matches!(code, 4401 | 0), "{what}: {code}");
                            break;
                        }
                    }
                }
                assert_eq!(cast.world.all_events().await, before, "{what}");
                let person = out.let_in(&cast.world, &person).await;
                *if is_foreign { &mut cast.foreign_user } else { &mut cast.user } = person;
            }
        }
    }
}

#[tokio::test]
async fn no_operation_is_done_for_nobody_or_with_a_token_of_the_other_api() {
    let cast = Cast::assemble().await;
    for operation in operations(&cast.world).await {
        if OPEN.contains(&operation.id.as_str()) {
            continue;
        }
        let is_admin = !operation.path.starts_with("/api/messenger");
        let other = if is_admin { &cast.user } else { &cast.world.admin };
        let nonsense = Person { token: "nonsense".to_owned(), ..cast.user.clone() };
        for person in [other, &nonsense] {
            cast.call(&operation, person, "x").await.expect_error(401, "UNAUTHORIZED");
        }
        let path = operation.path.replace("{id}", &cast.acme.id);
        let answer = anonymous(&cast.world.server.url, operation.method.clone(), &path, Some(json!({}))).await;
        assert_eq!(answer.status, 401, "{} without a token: {}", operation.id, answer.body);
    }
}

/// What guards a route that no row of the table is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Guard {
    /// Nothing: it says nothing about anybody.
    Nothing,
    /// The token that is sent in the head, for this API.
    Token(Audience),
    /// The token that is sent in the first packet; see `hostile_sockets`.
    TokenInItsFirstPacket,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Audience {
    Admin,
    Messenger,
}

/// Every route that is served, as the sources have them. Every other path leads to the operations of the OpenAPI document, which have
/// rows.
const ROUTES: [(&str, Guard); 12] = [
    ("/healthz", Guard::Nothing),
    ("/readyz", Guard::Nothing),
    ("/metrics", Guard::Nothing),
    ("/socket.io", Guard::TokenInItsFirstPacket),
    ("/api/messenger/events", Guard::Token(Audience::Messenger)),
    ("/api/messenger/events/ws", Guard::Token(Audience::Messenger)),
    ("/api/audit/events/stream", Guard::Token(Audience::Admin)),
    ("/api/audit/events/ws", Guard::Token(Audience::Admin)),
    ("/openapi.json", Guard::Nothing),
    ("/docs", Guard::Nothing),
    ("/asyncapi.json", Guard::Nothing),
    ("/docs/events", Guard::Nothing),
];

#[tokio::test]
async fn nothing_is_served_that_no_row_and_no_guard_is_known_of() {
    let sources = [include_str!("../../api/src/server.rs"), include_str!("../../api/src/openapi.rs")];
    let served = sources.iter().flat_map(|source| {
        [".at(", ".under("].into_iter().flat_map(|call| {
            source.split(call).skip(1).map(|after| after.split('"').nth(1).expect("a path that is written out"))
        })
    });
    let served: BTreeSet<&str> = served.collect();
    assert_eq!(served, ROUTES.iter().map(|(path, _)| *path).collect(), "what guards a route stands in the list");

    let cast = Cast::assemble().await;
    let url = &cast.world.server.url;
    for (path, guard) in ROUTES {
        let handshake = async |token: Option<&str>| status_of_handshake(url, path, token).await;
        match guard {
            Guard::Nothing => drop(anonymous(url, Method::GET, path, None).await.expect(200)),
            Guard::Token(audience) => {
                let (own, other) = match audience {
                    Audience::Admin => (&cast.admin, &cast.colleague_admin),
                    Audience::Messenger => (&cast.colleague_admin, &cast.admin),
                };
                for token in [None, Some("nonsense"), Some(other.token.as_str())] {
                    assert_eq!(handshake(token).await, 401, "{path} with {token:?}");
                }
                assert!(matches!(handshake(Some(&own.token)).await, 101 | 200), "{path}");
            }
            Guard::TokenInItsFirstPacket => {}
        }
    }
}

/// The status with which a live stream is answered that is asked for with this token: 101 or 200, if it is opened.
async fn status_of_handshake(url: &str, path: &str, token: Option<&str>) -> u16 {
    let mut request = http_client().get(format!("{url}{path}"));
    if path.ends_with("/ws") {
        request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
        request = request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn ids_of_another_tenant_answer_exactly_as_ids_that_do_not_exist() {
    let cast = Cast::assemble().await;
    let nowhere = "01900000-0000-7000-8000-000000000000";
    for (person, path, real) in [
        (&cast.foreign_user, "/api/messenger/messages/", &cast.message),
        (&cast.foreign_user, "/api/messenger/calls/", &cast.call),
        (&cast.foreign_user, "/api/messenger/files/", &cast.file),
        (&cast.foreign_admin, "/api/admin/users/", &cast.victim),
        (&cast.foreign_admin, "/api/admin/businesses/", &cast.acme.id),
        (&cast.foreign_admin, "/api/admin/users?businessId=", &cast.acme.id),
    ] {
        let foreign = person.get(&format!("{path}{real}")).await;
        for missing in [nowhere, "nonsense"] {
            let missing = person.get(&format!("{path}{missing}")).await;
            assert_eq!((foreign.status, &foreign.body), (missing.status, &missing.body));
        }
    }
    let send = async |to: &str| {
        cast.foreign_user.post("/api/messenger/messages", json!({"recipientId": to, "content": "x"})).await
    };
    assert_eq!(send(&cast.victim).await.body, send(nowhere).await.body);
    let listed = cast.foreign_admin.get("/api/admin/users").await.expect(200);
    assert!(
        listed.body["users"]
            .as_array()
            .unwrap()
            .iter()
            .all(|user| user["businessId"] == *cast.foreign_admin.business.id)
    );
    let businesses = cast.foreign_admin.get("/api/admin/businesses").await.expect(200);
    assert_eq!(businesses.body["total"], 1);
}

#[tokio::test]
async fn nobody_creates_accounts_above_their_own() {
    let cast = Cast::assemble().await;
    let create = async |person: &Person, role: &str, business: &Business| {
        let email = format!("{}@example.com", uuid::Uuid::now_v7());
        let body =
            json!({"email": email, "name": "New", "password": PASSWORD, "role": role, "businessId": business.id});
        person.post("/api/admin/users", body).await.status.as_u16()
    };
    for role in ["SYSTEM_SUPER_ADMIN", "SYSTEM_AUDITOR"] {
        assert_eq!(create(&cast.admin, role, &cast.acme).await, 403);
        assert_eq!(create(&cast.admin, role, &cast.world.admin.business).await, 404);
        assert_eq!(create(&cast.world.admin, role, &cast.acme).await, 422, "system roles are for the system business");
    }
    assert_eq!(create(&cast.world.admin, "BUSINESS_USER", &cast.world.admin.business).await, 422);
    assert_eq!(create(&cast.admin, "BUSINESS_ADMIN", &cast.acme).await, 201);
}

//! Who may do what, and what nobody of another tenant may: every operation of the OpenAPI document has a row here.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Business, PASSWORD, Person, World, anonymous};

/// What an operation answers, by who asks, about something of Acme. `None`: the role can't have a token for it.
struct Row {
    operation: &'static str,
    super_admin: Option<u16>,
    system_auditor: Option<u16>,
    admin: Option<u16>,
    auditor: Option<u16>,
    user: Option<u16>,
    foreign_admin: Option<u16>,
    foreign_user: Option<u16>,
}

/// An operation of the admin API: super admin, system auditor, then admin and auditor of Acme, then an admin of Globex.
const fn admin(operation: &'static str, [super_admin, system_auditor, admin, auditor, foreign_admin]: [u16; 5]) -> Row {
    Row {
        operation,
        super_admin: Some(super_admin),
        system_auditor: Some(system_auditor),
        admin: Some(admin),
        auditor: Some(auditor),
        user: None,
        foreign_admin: Some(foreign_admin),
        foreign_user: None,
    }
}

/// An operation of the messenger: a user of Acme whom the thing concerns, then a user of Globex.
const fn messenger(operation: &'static str, [user, foreign_user]: [u16; 2]) -> Row {
    Row {
        operation,
        super_admin: None,
        system_auditor: None,
        admin: None,
        auditor: None,
        user: Some(user),
        foreign_admin: None,
        foreign_user: Some(foreign_user),
    }
}

const TABLE: [Row; 26] = [
    admin("registerBusiness", [201, 403, 403, 403, 403]),
    admin("listBusinesses", [200, 200, 200, 200, 200]),
    admin("getBusiness", [200, 200, 200, 200, 404]),
    admin("renameBusiness", [200, 403, 403, 403, 403]),
    admin("suspendBusiness", [200, 403, 403, 403, 403]),
    admin("reactivateBusiness", [200, 403, 403, 403, 403]),
    admin("createUser", [201, 403, 201, 403, 404]),
    admin("listUsers", [200, 200, 200, 200, 404]),
    admin("getUser", [200, 200, 200, 200, 404]),
    admin("suspendUser", [200, 403, 200, 403, 404]),
    admin("reactivateUser", [200, 403, 200, 403, 404]),
    messenger("sendMessage", [201, 404]),
    messenger("getMessage", [200, 404]),
    messenger("readConversation", [200, 404]),
    messenger("listCalls", [200, 200]),
    messenger("getCall", [200, 404]),
    messenger("startCall", [201, 404]),
    // The user of Acme has called, and so is not the one to answer.
    messenger("acceptCall", [403, 404]),
    messenger("rejectCall", [403, 404]),
    messenger("endCall", [200, 404]),
    messenger("eventsSince", [200, 200]),
    messenger("issueTicket", [201, 201]),
    messenger("listColleagues", [200, 200]),
    messenger("listIceServers", [200, 200]),
    messenger("messengerLogout", [200, 200]),
    admin("adminLogout", [200, 200, 200, 200, 200]),
];

/// Operations that anybody may call.
const OPEN: [&str; 4] = ["adminLogin", "adminRefresh", "messengerLogin", "messengerRefresh"];

struct Cast {
    world: World,
    acme: Business,
    system_auditor: Person,
    admin: Person,
    auditor: Person,
    user: Person,
    foreign_admin: Person,
    foreign_user: Person,
    victim: String,
    message: String,
    conversation: String,
    call: String,
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
        let user = world.person(&acme, "Alice").await;
        let bob = world.person(&acme, "Bob").await;
        let foreign_user = world.person(&globex, "Mallory").await;
        let sent = user.send_text(&bob, "secret").await.expect(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (message, conversation) =
            (text(&sent.body["message"]["id"]), text(&sent.body["message"]["conversationId"]));
        let body = json!({"recipientId": bob.id, "callType": "audio"});
        let call = text(&user.post("/api/messenger/calls", body).await.expect(201).body["call"]["id"]);
        Self {
            world,
            acme,
            system_auditor,
            admin,
            auditor,
            user,
            foreign_admin,
            foreign_user,
            victim: bob.id,
            message,
            conversation,
            call,
        }
    }

    /// Calls an operation about something of Acme.
    async fn call(&self, operation: &Operation, person: &Person, unique: &str) -> crate::support::Answer {
        let id = match operation.id.as_str() {
            "getMessage" => &self.message,
            id if id.ends_with("Call") => &self.call,
            id if id.ends_with("User") => &self.victim,
            _ => &self.acme.id,
        };
        let mut path = operation.path.replace("{id}", id).replace("{conversation_id}", &self.conversation);
        let body = match operation.id.as_str() {
            "registerBusiness" | "renameBusiness" => Some(json!({"name": "Another"})),
            "createUser" => Some(json!({
                "email": format!("{unique}@example.com"), "name": "New", "password": PASSWORD, "role": "BUSINESS_USER",
                "businessId": self.acme.id,
            })),
            "readConversation" => Some(json!({"upTo": self.message})),
            "startCall" => Some(json!({"recipientId": self.victim, "callType": "video"})),
            "sendMessage" => Some(json!({"recipientId": self.victim, "content": "hello"})),
            "listUsers" => {
                path = format!("{path}?businessId={}", self.acme.id);
                None
            }
            _ => None,
        };
        person.request(operation.method.clone(), &path, body, &[]).await
    }
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

    for row in TABLE {
        let operation = operations.iter().find(|operation| operation.id == row.operation).unwrap();
        // Log-outs last: who has logged out can't do anything more.
        for (who, person, expected) in [
            ("an auditor", &cast.auditor, row.auditor),
            ("a system auditor", &cast.system_auditor, row.system_auditor),
            ("a foreign admin", &cast.foreign_admin, row.foreign_admin),
            ("a foreign user", &cast.foreign_user, row.foreign_user),
            ("an admin", &cast.admin, row.admin),
            ("the super admin", &cast.world.admin, row.super_admin),
            ("a user", &cast.user, row.user),
        ] {
            let Some(expected) = expected else { continue };
            let unique = format!("{}{}", row.operation, who.replace(' ', "")).to_lowercase();
            let answer = cast.call(operation, person, &unique).await;
            assert_eq!(answer.status.as_u16(), expected, "{who} calls {}: {}", row.operation, answer.body);
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
}

#[tokio::test]
async fn no_operation_is_done_for_nobody_or_with_a_token_of_the_other_api() {
    let cast = Cast::assemble().await;
    for operation in operations(&cast.world).await {
        if OPEN.contains(&operation.id.as_str()) {
            continue;
        }
        let is_admin = operation.path.starts_with("/api/admin");
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

#[tokio::test]
async fn ids_of_another_tenant_answer_exactly_as_ids_that_do_not_exist() {
    let cast = Cast::assemble().await;
    let nowhere = "01900000-0000-7000-8000-000000000000";
    for (person, path, real) in [
        (&cast.foreign_user, "/api/messenger/messages/", &cast.message),
        (&cast.foreign_user, "/api/messenger/calls/", &cast.call),
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

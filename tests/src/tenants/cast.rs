//! Those who ask, and what they ask about.

use serde_json::{Value, json};

use super::operations::Operation;
use crate::support::{ADMIN, Answer, Business, PASSWORD, Person, World};

pub(super) struct Cast {
    pub(super) world: World,
    pub(super) acme: Business,
    pub(super) system_auditor: Person,
    pub(super) admin: Person,
    pub(super) auditor: Person,
    pub(super) user: Person,
    pub(super) foreign_admin: Person,
    pub(super) foreign_auditor: Person,
    pub(super) foreign_user: Person,
    /// Others at the messenger of Acme, by who they are: neither the message nor the call nor the file is theirs.
    pub(super) colleague: Person,
    pub(super) colleague_admin: Person,
    pub(super) colleague_auditor: Person,
    /// Whoever is at the messenger of another business.
    pub(super) foreigners: Vec<(&'static str, Person)>,
    pub(super) victim: String,
    pub(super) message: String,
    pub(super) conversation: String,
    pub(super) call: String,
    pub(super) file: String,
    /// A session of the user's besides the one that they act in.
    pub(super) other_session: String,
    pub(super) session_of_victim: String,
    /// The request with which the message was sent.
    pub(super) correlation: String,
}

impl Cast {
    pub(super) async fn assemble() -> Self {
        // Its call rings for as long as a test takes.
        let world = World::with(vec![("SWITCHBOARD_RING_TIMEOUT", "1h".to_owned())]).await;
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
    pub(super) async fn call(&self, operation: &Operation, person: &Person, unique: &str) -> Answer {
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
async fn upload(person: &Person, name: &str) -> Answer {
    person.upload(name, "text/plain", b"abc".to_vec()).await
}

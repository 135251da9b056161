//! People who use the server, over plain HTTP.

use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::server::ADMIN;
use super::{DEADLINE, Database, Server, Settings, http_client};

/// A database, a server on it, and its super admin.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) admin: Person,
    // Dropped last.
    pub(crate) database: Database,
}

/// A tenant.
#[derive(Clone)]
pub(crate) struct Business {
    pub(crate) id: String,
}

/// Somebody who has logged in.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) url: String,
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) token: String,
    pub(crate) business: Business,
    pub(crate) http: Client,
}

/// What the server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

/// Everybody's password.
pub(crate) const PASSWORD: &str = "hunter2 hunter2";

impl World {
    pub(crate) async fn start() -> Self {
        Self::on(Database::create().await).await
    }

    /// A world on a database in which something has happened, once the read models know of it.
    pub(crate) async fn on(database: Database) -> Self {
        let server = Server::start(&database).await;
        until_current(&server.url).await;
        Self::around(database, server).await
    }

    pub(crate) async fn around(database: Database, server: Server) -> Self {
        let admin = Person::log_in_as_admin(&server.url, ADMIN.0, ADMIN.1).await;
        Self { server, admin, database }
    }

    /// A business in which Alice and Bob work, both logged in at the messenger.
    pub(crate) async fn with_alice_and_bob() -> (Self, Person, Person) {
        let world = Self::start().await;
        let acme = world.business("Acme").await;
        let (alice, bob) = (world.person(&acme, "Alice").await, world.person(&acme, "Bob").await);
        (world, alice, bob)
    }

    /// Registers a business.
    pub(crate) async fn business(&self, name: &str) -> Business {
        let answer = self.admin.post("/api/admin/businesses", json!({"name": name})).await.expect(201);
        Business { id: answer.body["business"]["id"].as_str().unwrap().to_owned() }
    }

    /// Creates somebody, who isn't logged in yet. Returns the id.
    pub(crate) async fn create(&self, business: &Business, name: &str, role: &str) -> String {
        let body = json!({
            "email": format!("{}@example.com", name.to_lowercase()), "name": name, "password": PASSWORD, "role": role,
            "businessId": business.id,
        });
        let answer = self.admin.post("/api/admin/users", body).await.expect(201);
        answer.body["user"]["id"].as_str().unwrap().to_owned()
    }

    /// Creates somebody, and logs them in at the messenger.
    pub(crate) async fn person(&self, business: &Business, name: &str) -> Person {
        self.create(business, name, "BUSINESS_USER").await;
        self.log_in(business, name).await
    }

    pub(crate) async fn log_in(&self, business: &Business, name: &str) -> Person {
        Person::log_in(&self.server.url, business, &format!("{}@example.com", name.to_lowercase()), PASSWORD).await
    }

    /// How many events there are of a type.
    pub(crate) async fn events(&self, event_type: &str) -> i64 {
        let pool = self.database.pool().await;
        let count = sqlx::query_scalar("SELECT count(*) FROM log WHERE event_type = $1").bind(event_type);
        let count = count.fetch_one(&pool).await.unwrap();
        pool.close().await;
        count
    }

    /// How many events there are, but for those of receipts: devices that listen note by themselves, a second later, what they
    /// have been handed.
    pub(crate) async fn all_events(&self) -> i64 {
        let pool = self.database.pool().await;
        let count = sqlx::query_scalar("SELECT count(*) FROM log WHERE event_type <> 'MessagesDelivered'");
        let count = count.fetch_one(&pool).await.unwrap();
        pool.close().await;
        count
    }

    /// A world whose server has these settings besides.
    pub(crate) async fn with(env: Vec<(&'static str, String)>) -> Self {
        let database = Database::create().await;
        let server = Server::start_with(&database, Settings { env, ..Settings::default() }).await;
        Self::around(database, server).await
    }

    /// A world with limits as operators have them who set none, but for these.
    pub(crate) async fn with_limits(env: Vec<(&'static str, String)>) -> Self {
        let mut all = vec![
            ("SWITCHBOARD_SESSION_CONNECTIONS", "10".to_owned()),
            ("SWITCHBOARD_USER_CONNECTIONS", "30".to_owned()),
            ("SWITCHBOARD_ADDRESS_CONNECTIONS", "2000".to_owned()),
            ("SWITCHBOARD_ADDRESS_HANDSHAKE_LIMIT", "3000".to_owned()),
        ];
        all.retain(|(name, _)| env.iter().all(|(other, _)| other != name));
        all.extend(env);
        Self::with(all).await
    }

    /// Waits until there are so many events of a type.
    pub(crate) async fn wait_for_events(&self, event_type: &str, count: i64) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while self.events(event_type).await < count {
            assert!(tokio::time::Instant::now() < deadline, "{} of {event_type}", self.events(event_type).await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Ends the server as a power cut would, and starts another one.
    pub(crate) async fn kill_and_restart(self) -> Self {
        self.kill_and_restart_with(vec![]).await
    }

    /// Ends the server as a power cut would, and starts another one that has these settings besides.
    pub(crate) async fn kill_and_restart_with(self, env: Vec<(&'static str, String)>) -> Self {
        self.server.kill();
        let server = Server::start_with(&self.database, Settings { env, ..Settings::default() }).await;
        Self::around(self.database, server).await
    }
}

/// Waits until the read models of a server have come to where the log ends.
pub(crate) async fn until_current(url: &str) {
    let deadline = tokio::time::Instant::now() + DEADLINE * 20;
    loop {
        let ready = anonymous(url, Method::GET, "/readyz", None).await.body;
        let lags = ready["projections"].as_object().into_iter().flatten().map(|(_, projection)| &projection["lag"]);
        if lags.max_by_key(|lag| lag.as_u64()).is_some_and(|lag| *lag == 0) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{ready}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

impl Person {
    pub(crate) async fn log_in(url: &str, business: &Business, email: &str, password: &str) -> Self {
        let body = json!({"email": email, "password": password, "businessId": business.id});
        let answer = anonymous(url, Method::POST, "/api/messenger/auth/login", Some(body)).await.expect(200);
        Self::of(url, email, &answer)
    }

    /// Logs in by the email alone: the server looks it up among all accounts, in a read model.
    pub(crate) async fn log_in_as_admin(url: &str, email: &str, password: &str) -> Self {
        Self::log_in_as_admin_with(url, email, json!({"email": email, "password": password})).await
    }

    /// Logs in at a business: any node finds the account in the log.
    pub(crate) async fn log_in_as_admin_of(url: &str, business: &Business, email: &str, password: &str) -> Self {
        let body = json!({"email": email, "password": password, "businessId": business.id});
        Self::log_in_as_admin_with(url, email, body).await
    }

    async fn log_in_as_admin_with(url: &str, email: &str, body: Value) -> Self {
        let answer = anonymous(url, Method::POST, "/api/admin/auth/login", Some(body)).await.expect(200);
        Self::of(url, email, &answer)
    }

    /// Who a login has been answered for.
    pub(crate) fn of(url: &str, email: &str, answer: &Answer) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            url: url.to_owned(),
            id: text(&answer.body["user"]["id"]),
            email: email.to_owned(),
            token: text(&answer.body["token"]),
            business: Business { id: text(&answer.body["user"]["businessId"]) },
            http: http_client(),
        }
    }

    /// The same person, at another server.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), http: http_client(), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, None, &[]).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.request(Method::POST, path, Some(body), &[]).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, None, &[]).await
    }

    /// Sends a text. The answer, whatever it is.
    pub(crate) async fn send_text(&self, to: &Self, content: &str) -> Answer {
        self.post("/api/messenger/messages", json!({"recipientId": to.id, "content": content, "type": "text"})).await
    }

    /// Uploads a file. The answer, whatever it is.
    pub(crate) async fn upload(&self, name: &str, content_type: &str, bytes: Vec<u8>) -> Answer {
        let part = Part::bytes(bytes).file_name(name.to_owned()).mime_str(content_type).unwrap();
        let request = self.http.post(format!("{}/api/messenger/files", self.url)).bearer_auth(&self.token);
        Answer::of(request.multipart(Form::new().part("file", part)).send().await.unwrap()).await.unwrap()
    }

    /// Calls somebody. The id of the call.
    pub(crate) async fn call(&self, to: &Self) -> String {
        let body = json!({"recipientId": to.id, "callType": "video", "roomId": "room_123"});
        let call = self.post("/api/messenger/calls", body).await.expect(201);
        call.body["call"]["id"].as_str().unwrap().to_owned()
    }

    /// The place in the feed where it is now.
    pub(crate) async fn feed_position(&self) -> u64 {
        self.get("/api/messenger/events/since").await.expect(200).body["position"].as_u64().unwrap()
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.try_request(method, path, body, headers).await.unwrap()
    }

    pub(crate) async fn try_request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request.send().await?).await
    }
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        Ok(Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// The answer, if it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    /// The message of the standard error, which this must be, with this status and code.
    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, code: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_is_standard_error(&self.body, status, code)
    }
}

/// Checks that this is the standard error, with nothing in it besides; returns its message.
#[track_caller]
pub(crate) fn assert_is_standard_error(body: &Value, status: u16, code: &str) -> String {
    let mut keys: Vec<&String> =
        body.as_object().unwrap_or_else(|| panic!("not the standard error: {body}")).keys().collect();
    keys.sort();
    assert_eq!(keys, ["error", "errorCode", "statusCode", "success"], "{body}");
    assert_eq!(body["success"], false, "{body}");
    assert_eq!(body["errorCode"], code, "{body}");
    assert_eq!(body["statusCode"], status, "{body}");
    let error = body["error"].as_str().unwrap();
    assert!(!error.is_empty());
    error.to_owned()
}

/// A request of nobody in particular.
pub(crate) async fn anonymous(url: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    let mut request = http_client().request(method, format!("{url}{path}"));
    if let Some(body) = body {
        request = request.json(&body);
    }
    Answer::of(request.send().await.unwrap()).await.unwrap()
}

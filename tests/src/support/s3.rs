//! A server that speaks S3, by moto: it keeps objects in memory, knows multipart uploads and ranges, and checks signatures.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{Curl, DEADLINE, Python, free_port, http_client};

/// An S3 server on this machine, with a bucket and somebody who may use it. It ends when this is dropped, and what it holds with it.
pub(crate) struct S3Server {
    child: Child,
    url: String,
    bucket: &'static str,
    access_key: String,
    secret_key: String,
}

const REGION: &str = "us-east-1";
const USER: &str = "switchboard";
/// What `introduce` does, for which nobody can have a key yet. Whatever comes after it has to be signed.
const UNSIGNED_REQUESTS: u32 = 4;

impl S3Server {
    pub(crate) async fn start(python: &Python) -> Self {
        let port = free_port();
        let child = python
            .command("moto_server")
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", UNSIGNED_REQUESTS.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let mut server =
            Self { child, url, bucket: "switchboard", access_key: String::new(), secret_key: String::new() };
        server.wait_until_it_answers().await;
        server.introduce().await;
        server
    }

    async fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        // Refused while nobody listens.
        while http_client().get(format!("{}/moto-api/", self.url)).send().await.is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "the S3 server has ended");
            assert!(Instant::now() < deadline, "the S3 server doesn't answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes the bucket, and a user who may do everything with it.
    async fn introduce(&mut self) {
        let made = http_client().put(format!("{}/{}", self.url, self.bucket)).send().await.unwrap();
        assert!(made.status().is_success(), "{made:?}");
        self.manage(&format!("Action=CreateUser&UserName={USER}")).await;
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
        self.manage(&format!("Action=PutUserPolicy&UserName={USER}&PolicyName=everything&PolicyDocument={policy}"))
            .await;
        let keys = self.manage(&format!("Action=CreateAccessKey&UserName={USER}")).await;
        let of = |tag: &str| {
            let (_, rest) = keys.split_once(&format!("<{tag}>")).unwrap();
            rest.split_once(&format!("</{tag}>")).unwrap().0.to_owned()
        };
        (self.access_key, self.secret_key) = (of("AccessKeyId"), of("SecretAccessKey"));
    }

    /// Asks its management of users for something; what that answers.
    async fn manage(&self, action: &str) -> String {
        // Only the name of the service in it counts, as long as signatures aren't checked.
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential=nobody/20260101/{REGION}/iam/aws4_request, SignedHeaders=host, Signature=none"
        );
        let request = http_client()
            .post(&self.url)
            .header("authorization", signature)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("Version=2010-05-08&{action}"));
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        answer.text().await.unwrap()
    }

    /// Where it is, like `http://127.0.0.1:40123`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The name of its bucket.
    pub(crate) fn bucket(&self) -> &str {
        self.bucket
    }

    /// What it says is in its bucket, as XML; with `uploads=`, what somebody has begun to put there and not finished.
    pub(crate) async fn list(&self, curl: &Curl, query: &str) -> String {
        let output = curl
            .command()
            .args(["--silent", "--fail", "--aws-sigv4", &format!("aws:amz:{REGION}:s3"), "--user"])
            .arg(format!("{}:{}", self.access_key, self.secret_key))
            // S3 wants to be told so much, and curl leaves it out where there is no body.
            .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .arg(format!("{}/{}?{query}", self.url, self.bucket))
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until it says something of this kind.
    pub(crate) async fn until(&self, curl: &Curl, query: &str, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let listed = self.list(curl, query).await;
            if is_so(&listed) {
                return;
            }
            assert!(Instant::now() < deadline, "not in time: {listed}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What a program that is to use it finds in its environment.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT", self.url.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
        ]
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

mod tests {
    use super::*;

    /// Uploads something, signed with a key; the status.
    async fn upload(curl: &Curl, server: &S3Server, secret_key: &str) -> String {
        let output = curl
            .command()
            .args(["--silent", "--output", "-", "--write-out", "\n%{http_code}"])
            .args(["--aws-sigv4", &format!("aws:amz:{REGION}:s3"), "--user"])
            .arg(format!("{}:{secret_key}", server.access_key))
            .args(["--request", "PUT", "--header", "content-type: text/plain", "--data-binary", "Hello!"])
            .arg(format!("{}/{}/greeting", server.url(), server.bucket()))
            .output()
            .await
            .unwrap();
        String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned()
    }

    #[tokio::test]
    async fn the_s3_server_of_the_tests_serves_those_who_sign_and_nobody_else() {
        let (Some(python), Some(curl)) = (Python::find(), Curl::find()) else { return };
        let server = S3Server::start(&python).await;
        let env = server.env();
        let (_, secret_key) = env.iter().find(|(name, _)| *name == "AWS_SECRET_ACCESS_KEY").unwrap();
        assert_eq!(upload(&curl, &server, secret_key).await, "200");
        assert_eq!(upload(&curl, &server, "another key").await, "403");
        let unsigned =
            http_client().get(format!("{}/{}/greeting", server.url(), server.bucket())).send().await.unwrap();
        assert_eq!(unsigned.status(), 403);
    }
}

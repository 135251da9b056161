//! What people do while connections break, over plain HTTP: each thing until the server has answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::support::{Answer, DEADLINE, Person, Random, http_client};

/// How many things are done at the same time.
const AT_ONCE: usize = 8;

/// Longest wait for an answer before it is asked for again.
const ANSWER: Duration = Duration::from_secs(30);

/// One thing that somebody does. People are indices.
#[derive(Clone, Copy, Debug)]
enum Act {
    Message { from: usize, to: usize, is_read: bool },
    Call { from: usize, to: usize, fate: Fate },
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Talked,
    Rejected,
    Cancelled,
    LeftRinging,
}

/// Everything that is done.
pub(super) struct Traffic {
    people: Vec<Person>,
    /// Where the server is.
    server: watch::Receiver<String>,
    http: Client,
    acts: Vec<Act>,
    next: AtomicUsize,
    done: watch::Sender<usize>,
}

impl Traffic {
    pub(super) fn plan(
        people: Vec<Person>,
        server: watch::Receiver<String>,
        messages: usize,
        calls: usize,
        random: &mut Random,
    ) -> Arc<Self> {
        let mut acts: Vec<Act> = vec![];
        for n in 0..messages + calls {
            let from = random.index(people.len());
            let to = (from + 1 + random.index(people.len() - 1)) % people.len();
            let act = if n < messages {
                Act::Message { from, to, is_read: random.below(4) == 0 }
            } else {
                let fates = [Fate::Talked, Fate::Rejected, Fate::Cancelled, Fate::LeftRinging];
                Act::Call { from, to, fate: fates[random.index(fates.len())] }
            };
            // Anywhere among those before.
            let at = random.index(acts.len() + 1);
            acts.push(act);
            let last = acts.len() - 1;
            acts.swap(at, last);
        }
        let (next, done) = (AtomicUsize::new(0), watch::Sender::new(0));
        Arc::new(Self { people, server, http: http_client(), acts, next, done })
    }

    pub(super) fn len(&self) -> usize {
        self.acts.len()
    }

    /// Waits until so much is done.
    pub(super) async fn has_done(&self, count: usize) {
        self.done.subscribe().wait_for(|done| *done >= count).await.unwrap();
    }

    /// Does it all, spread over some time.
    pub(super) async fn run(self: &Arc<Self>, time: Duration) {
        let (began, pause) = (Instant::now(), time / u32::try_from(self.acts.len()).unwrap());
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let traffic = self.clone();
            tasks.spawn(async move {
                loop {
                    let n = traffic.next.fetch_add(1, Ordering::Relaxed);
                    let Some(act) = traffic.acts.get(n) else { break };
                    sleep_until(began + pause * u32::try_from(n).unwrap()).await;
                    traffic.perform(n, *act).await;
                    traffic.done.send_modify(|done| *done += 1);
                }
            });
        }
        tasks.join_all().await;
    }

    /// Sends a message. What the API says of it.
    pub(super) async fn send(&self, from: usize, to: usize, name: &str) -> Value {
        let body = json!({"recipientId": self.people[to].id, "content": name, "clientMessageId": name});
        self.post(from, "/api/messenger/messages", body).await.expect(201).body["message"].take()
    }

    async fn perform(&self, n: usize, act: Act) {
        match act {
            Act::Message { from, to, is_read } => {
                let message = self.send(from, to, &n.to_string()).await;
                if is_read {
                    let conversation = message["conversationId"].as_str().unwrap();
                    let path = format!("/api/messenger/conversations/{conversation}/read");
                    self.post(to, &path, json!({"upTo": message["id"]})).await.expect(200);
                }
            }
            Act::Call { from, to, fate } => {
                let body = json!({"recipientId": self.people[to].id, "callType": "audio"});
                let call = self.call(from, body).await;
                let id = call["id"].as_str().unwrap();
                let steps: &[_] = match fate {
                    _ if call["status"] == "busy" => &[],
                    Fate::Talked => &[(to, "accept"), (from, "end")],
                    Fate::Rejected => &[(to, "reject")],
                    Fate::Cancelled => &[(from, "end")],
                    Fate::LeftRinging => &[],
                };
                for (who, what) in steps {
                    let answer = self.post(*who, &format!("/api/messenger/calls/{id}/{what}"), json!(null)).await;
                    // It may have rung for too long, or this is a second try of something that was done.
                    assert!(matches!(answer.status.as_u16(), 200 | 409), "{what}: {answer:?}");
                }
            }
        }
    }

    /// Starts a call. Whoever calls several people already waits until one of those calls is over: a call whose answer was lost is
    /// started again, and the first one rings on.
    async fn call(&self, from: usize, body: Value) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.post(from, "/api/messenger/calls", body.clone()).await;
            if answer.status != 409 || began.elapsed() > DEADLINE {
                return answer.expect(201).body["call"].take();
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks the server, again and again when it is away.
    async fn post(&self, who: usize, path: &str, body: Value) -> Answer {
        loop {
            let (url, http) = (self.server.borrow().clone(), self.http.clone());
            let person = Person { url, http, ..self.people[who].clone() };
            match timeout(ANSWER, person.try_request(Method::POST, path, Some(body.clone()), &[])).await {
                Ok(Ok(answer)) if !answer.status.is_server_error() => return answer,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

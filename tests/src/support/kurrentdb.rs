//! A stand-in for KurrentDB: what the official client says and hears of it, over HTTP/2 on a port of this machine, and what can go
//! wrong with it. It keeps its log in memory.
//!
//! Like the real one's, its positions are places in a file, and it writes events of its own among those of others.

mod log;
mod messages;
mod prompt;
mod service;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::{Code, Status};

pub(crate) use self::log::Record;

use self::log::Log;
use self::prompt::Prompt;

/// A server. It ends when this is dropped.
pub(crate) struct KurrentDb {
    port: u16,
    node: Arc<Node>,
    _listening: JoinSet<()>,
}

/// What connections of a server have in common.
struct Node {
    log: Arc<Log>,
    connections: Mutex<JoinSet<()>>,
    /// Connections that are hung up on before anything is said.
    refused_connections: AtomicUsize,
    /// What the next requests are answered with, whatever they ask for.
    refusals: Mutex<VecDeque<Status>>,
    /// Where the leader is, if this isn't it.
    leader: Option<u16>,
    /// What clients must say to be let in.
    authorization: Mutex<Option<&'static str>>,
    /// Whether the next append takes place without its writer hearing of it.
    loses_next_answer: AtomicBool,
    /// Whether subscribers are told when they have caught up.
    says_caught_up: AtomicBool,
    /// Counts how often subscriptions have been ended in good order.
    ends: watch::Sender<usize>,
    /// Appends that have come in here, and been decided.
    appends: AtomicUsize,
    /// After which position each subscription was asked for.
    subscriptions: Mutex<Vec<u64>>,
}

impl KurrentDb {
    pub(crate) async fn start() -> Self {
        Self::start_node(Arc::new(Log::new()), None).await
    }

    /// Another node of the cluster: it sends those away who ask for the leader, and tells them where that is.
    pub(crate) async fn start_follower(&self) -> Self {
        Self::start_node(self.node.log.clone(), Some(self.port)).await
    }

    async fn start_node(log: Arc<Log>, leader: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let node = Arc::new(Node {
            log,
            leader,
            connections: Mutex::default(),
            refused_connections: AtomicUsize::new(0),
            refusals: Mutex::default(),
            authorization: Mutex::default(),
            loses_next_answer: AtomicBool::new(false),
            says_caught_up: AtomicBool::new(true),
            ends: watch::Sender::new(0),
            appends: AtomicUsize::new(0),
            subscriptions: Mutex::default(),
        });
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, node.clone()));
        Self { port, node, _listening: listening }
    }

    /// Its address, as the server takes it.
    pub(crate) fn url(&self) -> String {
        format!("esdb://127.0.0.1:{}?tls=false", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection.
    pub(crate) fn cut_connections(&self) {
        self.node.connections.lock().unwrap().abort_all();
    }

    /// Hangs up on the next connections before anything is said, as if nobody was there yet.
    pub(crate) fn refuse_connections(&self, count: usize) {
        self.node.refused_connections.store(count, Ordering::SeqCst);
    }

    /// Answers the next request with this, whatever it asks for.
    pub(crate) fn refuse_next(&self, status: Status) {
        self.node.refusals.lock().unwrap().push_back(status);
    }

    /// Loses its leadership to the node at this port for the time of one request.
    pub(crate) fn is_no_leader_once(&self, leader: u16) {
        self.refuse_next(not_leader(leader));
    }

    /// Does the next append, and says that it couldn't.
    pub(crate) fn lose_next_answer(&self) {
        self.node.loses_next_answer.store(true, Ordering::SeqCst);
    }

    /// Lets nobody in who doesn't say this (`Basic …`).
    pub(crate) fn require(&self, authorization: &'static str) {
        *self.node.authorization.lock().unwrap() = Some(authorization);
    }

    /// No longer tells subscribers when they have caught up, as old servers don't.
    pub(crate) fn never_say_caught_up(&self) {
        self.node.says_caught_up.store(false, Ordering::SeqCst);
    }

    /// From now on, an append that has been done already is recognised by the ids of its events, and acknowledged without a
    /// position, as the real one does; before, it finds that the version is wrong.
    pub(crate) fn recognise_retries(&self) {
        self.node.log.recognise_retries();
    }

    /// Ends the subscriptions of the moment, in good order.
    pub(crate) fn end_subscriptions(&self) {
        self.node.ends.send_modify(|ends| *ends += 1);
    }

    /// Everything in it, its own events too.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.node.log.records()
    }

    /// Writes an event that isn't Switchboard's.
    pub(crate) fn write(&self, stream: &str, event_type: &str) {
        self.node.log.write(stream, event_type);
    }

    /// Has the events of a stream look as if they had been prepared some time before they were committed.
    pub(crate) fn put_into_a_transaction(&self, stream: &str) {
        self.node.log.put_into_a_transaction(stream);
    }

    /// How many appends have come in here.
    pub(crate) fn appends(&self) -> usize {
        self.node.appends.load(Ordering::SeqCst)
    }

    /// After which position each subscription was asked for.
    pub(crate) fn subscriptions(&self) -> Vec<u64> {
        self.node.subscriptions.lock().unwrap().clone()
    }
}

async fn listen(listener: TcpListener, node: Arc<Node>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let refused =
            node.refused_connections.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refused.is_ok() {
            continue;
        }
        stream.set_nodelay(true).unwrap();
        let mut connections = node.connections.lock().unwrap();
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(stream, node.clone()));
    }
}

async fn serve(stream: TcpStream, node: Arc<Node>) {
    let answer = |request| {
        let node = node.clone();
        async move { Ok::<_, Infallible>(service::answer(node, request).await) }
    };
    let mut http = http2::Builder::new(TokioExecutor::new());
    let connection = http
        .max_concurrent_streams(1000)
        .serve_connection(TokioIo::new(Prompt(stream)), hyper::service::service_fn(answer));
    let _ = connection.await;
}

/// What a node says that isn't the leader.
fn not_leader(leader: u16) -> Status {
    let mut status = Status::new(Code::NotFound, "Leader info available");
    let metadata = status.metadata_mut();
    metadata.insert("exception", "not-leader".parse().unwrap());
    metadata.insert("leader-endpoint-host", "127.0.0.1".parse().unwrap());
    metadata.insert("leader-endpoint-port", leader.to_string().parse().unwrap());
    status
}

//! What the stand-in answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use hyper::Request as HttpRequest;
use hyper::body::Incoming;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codec::ProstCodec;
use tonic::server::{ClientStreamingService, Grpc, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::log::Record;
use super::messages::{
    AllOptions, AppendReq, AppendResp, Confirmation, FilterOptions, Position, ProposedMessage, ReadEvent, ReadOptions,
    ReadReq, ReadResp, RecordedEvent, StreamIdentifier, StreamOptions, Success, SupportedMethods, WrongExpectedVersion,
};
use super::{Node, not_leader};

/// How the client says that it wants no events of the server's own. No other expression is understood here.
const NO_SYSTEM_EVENTS: &str = r"^[^\$].*";

/// Answers a request.
pub(super) async fn answer(node: Arc<Node>, request: HttpRequest<Incoming>) -> hyper::Response<Body> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/event_store.client.server_features.ServerFeatures/GetSupportedMethods" => {
            Grpc::new(ProstCodec::default()).unary(Features, request).await
        }
        "/event_store.client.streams.Streams/Append" => {
            Grpc::new(ProstCodec::default()).client_streaming(Append(node), request).await
        }
        "/event_store.client.streams.Streams/Read" => {
            Grpc::new(ProstCodec::default()).server_streaming(Read(node), request).await
        }
        _ => Status::unimplemented(path).into_http(),
    }
}

struct Features;

impl UnaryService<()> for Features {
    type Response = SupportedMethods;
    type Future = BoxFuture<'static, Result<Response<SupportedMethods>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let methods = SupportedMethods { event_store_server_version: "25.1.0".to_owned() };
        Box::pin(async { Ok(Response::new(methods)) })
    }
}

struct Append(Arc<Node>);

impl ClientStreamingService<AppendReq> for Append {
    type Response = AppendResp;
    type Future = BoxFuture<'static, Result<Response<AppendResp>, Status>>;

    fn call(&mut self, request: Request<Streaming<AppendReq>>) -> Self::Future {
        let node = self.0.clone();
        Box::pin(async move {
            if let Some(refusal) = node.refuses(&request) {
                return Err(refusal);
            }
            Ok(Response::new(append(&node, request.into_inner()).await?))
        })
    }
}

struct Read(Arc<Node>);

impl ServerStreamingService<ReadReq> for Read {
    type Response = ReadResp;
    type ResponseStream = BoxStream<'static, Result<ReadResp, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<ReadReq>) -> Self::Future {
        let node = self.0.clone();
        Box::pin(async move {
            if let Some(refusal) = node.refuses(&request) {
                return Err(refusal);
            }
            let options = request.into_inner().options.unwrap_or_default();
            let Some(filters) = filters(options.filter.as_ref()) else {
                return Err(Status::unimplemented("that filter"));
            };
            if options.all.is_some() && !filters && options.count != Some(1) {
                return Err(Status::unimplemented("to be told of what is the server's own"));
            }
            let place = options.all.as_ref().and_then(|all| all.position.as_ref());
            if place.is_some_and(|place| !node.log.is_place(place.commit_position)) {
                return Err(Status::invalid_argument("invalid position"));
            }
            Ok(Response::new(match (&options.stream, &options.all) {
                (Some(stream), _) => stream::iter(read_stream(&node, stream, &options)).map(Ok).boxed(),
                (None, Some(all)) if options.subscription.is_some() => subscribe(node, all, &options),
                (None, Some(all)) => stream::iter(read_all(&node, all, &options, filters)).map(Ok).boxed(),
                (None, None) => return Err(Status::invalid_argument("nothing to read")),
            }))
        })
    }
}

impl Node {
    /// Why a request isn't heard at all.
    fn refuses<T>(&self, request: &Request<T>) -> Option<Status> {
        let header = |name| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let authorization = *self.authorization.lock().unwrap();
        if authorization.is_some() && header("authorization") != authorization {
            return Some(Status::unauthenticated("Unauthenticated"));
        }
        let refusal = self.refusals.lock().unwrap().pop_front();
        let sends_away = header("requires-leader") == Some("true");
        refusal.or_else(|| self.leader.filter(|_| sends_away).map(not_leader))
    }
}

/// Whether the server's own events are left out; none if that isn't understood.
fn filters(filter: Option<&FilterOptions>) -> Option<bool> {
    let Some(filter) = filter else { return Some(false) };
    let regex = filter.stream_identifier.as_ref().map(|name| name.regex.as_str());
    (regex == Some(NO_SYSTEM_EVENTS)).then_some(true)
}

fn passes(record: &Record, filters: bool) -> bool {
    !(filters && record.stream.starts_with('$'))
}

async fn append(node: &Node, mut requests: Streaming<AppendReq>) -> Result<AppendResp, Status> {
    let options = requests.message().await?.and_then(|request| request.options);
    let options = options.ok_or_else(|| Status::invalid_argument("no options"))?;
    let expected = match (options.revision, options.no_stream) {
        (Some(revision), _) => revision + 1,
        (None, Some(())) => 0,
        (None, None) => return Err(Status::unimplemented("an append that expects nothing")),
    };
    let stream = name(options.stream_identifier);
    let mut records = vec![];
    while let Some(request) = requests.message().await? {
        records.push(record(&stream, request.proposed_message.unwrap_or_default()));
    }
    let outcome = node.log.append(&stream, expected, records);
    node.appends.fetch_add(1, Ordering::SeqCst);
    if node.loses_next_answer.swap(false, Ordering::SeqCst) {
        return Err(Status::unavailable("the answer was lost"));
    }
    Ok(match outcome {
        Ok(written) => AppendResp {
            success: Some(Success {
                current_revision: Some(written.revision),
                no_position: written.position.is_none().then_some(()),
                position: written.position.map(place),
            }),
            wrong_expected_version: None,
        },
        Err(actual) => AppendResp {
            success: None,
            wrong_expected_version: Some(WrongExpectedVersion {
                current_revision: actual.checked_sub(1),
                current_no_stream: (actual == 0).then_some(()),
                expected_revision: expected.checked_sub(1),
                expected_no_stream: (expected == 0).then_some(()),
            }),
        },
    })
}

fn record(stream: &str, mut message: ProposedMessage) -> Record {
    let id = message.id.unwrap_or_default();
    let id = id.structured.map(|id| {
        Uuid::from_u64_pair(id.most_significant_bits.cast_unsigned(), id.least_significant_bits.cast_unsigned())
    });
    Record {
        id: id.unwrap(),
        stream: stream.to_owned(),
        event_type: message.metadata.remove("type").unwrap(),
        content_type: message.metadata.remove("content-type").unwrap(),
        custom_metadata: message.custom_metadata,
        data: message.data,
        ..Record::default()
    }
}

fn read_stream(node: &Node, stream: &StreamOptions, options: &ReadOptions) -> Vec<ReadResp> {
    let stream_name = name(stream.stream_identifier.clone());
    match node.log.stream(&stream_name, stream.revision.unwrap_or(0), count(options)) {
        Some(records) => records.into_iter().map(event).collect(),
        None => vec![ReadResp { stream_not_found: Some(()), ..ReadResp::default() }],
    }
}

/// Forwards from what is at a position; backwards from what is before it.
fn read_all(node: &Node, all: &AllOptions, options: &ReadOptions, filters: bool) -> Vec<ReadResp> {
    let from = match (&all.position, all.end) {
        (Some(position), _) => position.commit_position,
        (None, Some(())) => u64::MAX,
        (None, None) => 0,
    };
    let from = node.log.index_of(from);
    let records = node.log.scan(from, options.read_direction == 1, count(options), |record| passes(record, filters));
    records.into_iter().map(event).collect()
}

fn count(options: &ReadOptions) -> usize {
    usize::try_from(options.count.unwrap_or(0)).unwrap_or(usize::MAX)
}

/// A subscription, which sees what is after a position.
struct Subscribed {
    node: Arc<Node>,
    /// Index of the next record.
    next: usize,
    len: watch::Receiver<usize>,
    ends: watch::Receiver<usize>,
    filters: bool,
    /// Records that it may look at without saying anything.
    window: u32,
    looked_at: u32,
    has_caught_up: bool,
}

fn subscribe(node: Arc<Node>, all: &AllOptions, options: &ReadOptions) -> BoxStream<'static, Result<ReadResp, Status>> {
    let after = all.position.as_ref().map_or(0, |position| position.commit_position);
    node.subscriptions.lock().unwrap().push(after);
    let subscribed = Subscribed {
        next: node.log.index_of(after + 1),
        len: node.log.len(),
        ends: node.ends.subscribe(),
        filters: options.filter.is_some(),
        window: options.filter.as_ref().and_then(|filter| filter.max).unwrap_or(32),
        looked_at: 0,
        has_caught_up: false,
        node,
    };
    let confirmed = ReadResp {
        confirmation: Some(Confirmation { subscription_id: Uuid::now_v7().to_string() }),
        ..ReadResp::default()
    };
    let messages = stream::unfold(subscribed, |mut subscribed| async move {
        let message = subscribed.message().await?;
        Some((message, subscribed))
    });
    stream::once(async { confirmed }).chain(messages).map(Ok).boxed()
}

impl Subscribed {
    /// The next message; none when the subscription is ended.
    async fn message(&mut self) -> Option<ReadResp> {
        loop {
            self.len.borrow_and_update();
            while let Some(record) = self.node.log.get(self.next) {
                self.next += 1;
                self.looked_at += 1;
                if passes(&record, self.filters) {
                    return Some(event(record));
                }
                if self.looked_at >= self.window {
                    self.looked_at = 0;
                    return Some(ReadResp { checkpoint: Some(place(record.position)), ..ReadResp::default() });
                }
            }
            if !std::mem::replace(&mut self.has_caught_up, true) && self.node.says_caught_up.load(Ordering::SeqCst) {
                return Some(ReadResp { caught_up: Some(()), ..ReadResp::default() });
            }
            tokio::select! {
                grown = self.len.changed() => grown.ok()?,
                _ = self.ends.changed() => return None,
            }
        }
    }
}

fn name(identifier: Option<StreamIdentifier>) -> String {
    String::from_utf8(identifier.unwrap_or_default().stream_name).unwrap()
}

fn place(position: u64) -> Position {
    Position { commit_position: position, prepare_position: position }
}

fn event(record: Record) -> ReadResp {
    let metadata =
        [("type", record.event_type), ("content-type", record.content_type), ("created", record.created.to_string())];
    let event = RecordedEvent {
        id: Some(super::messages::Uuid { structured: None, string: Some(record.id.to_string()) }),
        stream_identifier: Some(StreamIdentifier { stream_name: record.stream.into_bytes() }),
        stream_revision: record.revision,
        prepare_position: record.prepare_position,
        commit_position: record.position,
        metadata: metadata.map(|(name, value)| (name.to_owned(), value)).into(),
        custom_metadata: record.custom_metadata,
        data: record.data,
    };
    let event = ReadEvent { event: Some(event), commit_position: Some(record.position) };
    ReadResp { event: Some(event), ..ReadResp::default() }
}

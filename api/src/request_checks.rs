//! Checks of a request before any handler sees it: bodies of the JSON API are bounded, whether they say how long they
//! are or not, and headers that mean something are clear.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::SessionId;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use poem::error::ReadBodyError;
use poem::http::{HeaderMap, HeaderValue, Method, header};
use poem::{Body, Request, Result};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::error::{ApiError, ErrorBody, ErrorCode};
use crate::identity::Identity;
use crate::limits::network_of;
use crate::shares::{Share, Shares};

/// Largest body of the JSON API, in bytes. Far more than any valid one, so that a client that sends too much is told by the
/// field's own rule first.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;
/// The same, of whoever shows no token of ours: nothing that they can ask for takes more.
const MAX_SMALL_BODY_BYTES: usize = 64 * 1024;
/// Bodies larger than that which a node holds at once: 64 MiB of them at most. Valid ones are rare.
const LARGE_BODIES_AT_ONCE: usize = 32;
/// Maximum large bodies of a session, and from an address.
const OF_A_SESSION: usize = 4;
const OF_AN_ADDRESS: usize = LARGE_BODIES_AT_ONCE / 2;

/// Small bodies that are read at once, of a session, and of all from an address that show none.
const SMALL_OF_A_SESSION: usize = 256;
const SMALL_OF_AN_ADDRESS: usize = 64;

/// Maximum bytes and time of discarding a body that is too large, so that its client gets the answer.
const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;
const DISCARDING: Duration = Duration::from_secs(10);

/// Maximum time of a JSON body.
const READING: Duration = Duration::from_secs(30);
const TOO_SLOW: &str = "The body takes too long to come";
const TOO_MANY: &str = "Too many large requests at once: try again";
const TOO_MANY_OF_YOURS: &str = "Too many requests of yours at once: wait for one of them";

/// Path of uploads, whose bodies are files.
const UPLOADS: &str = "/api/messenger/files";

/// Headers that change what a request means: there is one of each at most, in plain characters. The framework takes others for
/// none.
const MEANINGFUL_HEADERS: [&str; 2] = ["idempotency-key", "x-min-position"];

/// Refuses headers that would be ignored in silence.
pub(crate) fn must_be_clear(headers: &HeaderMap) -> Result<(), ApiError> {
    let is_encoded = |value: &HeaderValue| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.get_all(header::CONTENT_ENCODING).iter().any(is_encoded) {
        let reason = "Content-Encoding: bodies are only understood as they are, without an encoding";
        return Err(ErrorBody::new(ErrorCode::UnsupportedMediaType, reason).into());
    }
    for name in MEANINGFUL_HEADERS {
        let mut values = headers.get_all(name).iter();
        let is_clear = values.next().is_none_or(|value| value.to_str().is_ok()) && values.next().is_none();
        if !is_clear {
            return Err(ApiError::invalid(name, "must be one value of plain ASCII characters"));
        }
    }
    Ok(())
}

/// Reads what is left of a body, as far as patience goes: a client that is still writing when it is hung up on never sees the
/// answer.
async fn discard<E>(chunks: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) {
    let read = async {
        let mut discarded = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            discarded += chunk.len();
            if discarded > MAX_DISCARDED_BYTES {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARDING, read).await;
}

/// A body that is read to its end by whoever hands it on, if not by whoever gets it.
#[derive(Clone)]
pub(crate) struct SharedBody(Arc<Mutex<BoxStream<'static, io::Result<Bytes>>>>);

impl Stream for SharedBody {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx)
    }
}

/// Room for a large body, until this is dropped.
pub(crate) struct Large<'a> {
    _place: SemaphorePermit<'a>,
    _of_session: Share<SessionId>,
    _of_address: Option<Share<IpAddr>>,
}

/// Part of a request's body that is held until it is answered.
pub(crate) enum Held<'a> {
    /// Nothing, or all of it, and room for that if it is large.
    Body(#[expect(dead_code, reason = "it is held, and let go when this is dropped")] Option<Large<'a>>),
    /// An upload, which its handler reads.
    Upload(SharedBody),
}

impl Held<'_> {
    /// Lets it go; of an upload, what its handler hasn't read is read first.
    pub(crate) async fn let_go(self) {
        if let Self::Upload(mut body) = self {
            discard(&mut body).await;
        }
    }
}

/// Why a body isn't read to its end.
enum Unread {
    TooLarge,
    /// As many large ones as can be held are.
    TooMany,
    /// As many large ones of this sender as can be held are.
    TooManyOfYours,
    /// The sender may send nothing large, for this reason.
    Refused(ApiError),
    Broken(io::Error),
}

/// Sender of a body.
pub(crate) struct Sender {
    /// The session, if one was shown; or why it is of no use.
    session: Option<Result<SessionId, ApiError>>,
    address: Option<IpAddr>,
}

impl Sender {
    /// The sender of a request that comes from an address.
    pub(crate) fn of(request: &Request, address: Option<IpAddr>) -> Self {
        let identity = request.data::<Identity>();
        let session = identity.map(|identity| identity.caller().map(|caller| caller.session_id));
        Self { session, address }
    }
}

/// Reads bodies, as far as they may go, before their handlers run. Those of uploads are for their handlers to read.
pub(crate) struct BodyLimit {
    large: Semaphore,
    of_sessions: Shares<SessionId>,
    of_addresses: Shares<IpAddr>,
    small_of_sessions: Shares<SessionId>,
    small_of_addresses: Shares<IpAddr>,
}

/// The share of those whose bodies are being read, until this is dropped.
enum Reading {
    OfSession(#[expect(dead_code, reason = "it is held")] Share<SessionId>),
    OfAddress(#[expect(dead_code, reason = "it is held")] Share<IpAddr>),
    Unknown,
}

impl BodyLimit {
    pub(crate) fn new() -> Self {
        Self {
            large: Semaphore::new(LARGE_BODIES_AT_ONCE),
            of_sessions: Shares::new(OF_A_SESSION),
            of_addresses: Shares::new(OF_AN_ADDRESS),
            small_of_sessions: Shares::new(SMALL_OF_A_SESSION),
            small_of_addresses: Shares::new(SMALL_OF_AN_ADDRESS),
        }
    }

    /// Takes the body of a request in, and puts it back as a whole; that of an upload is left to its handler.
    pub(crate) async fn hold(&self, request: &mut Request, sender: &Sender) -> Result<Held<'_>> {
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(Held::Body(None));
        }
        if request.uri().path() == UPLOADS {
            let body = SharedBody(Arc::new(Mutex::new(request.take_body().into_bytes_stream().boxed())));
            request.set_body(Body::from_bytes_stream(body.clone()));
            return Ok(Held::Upload(body));
        }
        let length = request.headers().get(header::CONTENT_LENGTH);
        let announced = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
        let mut chunks = Box::pin(request.take_body().into_bytes_stream());
        let deadline = Instant::now() + READING;
        let reading = tokio::time::timeout_at(deadline, self.read(&mut chunks, announced, sender, deadline));
        let Ok(read) = reading.await else {
            return Err(ApiError::from(ErrorBody::new(ErrorCode::ValidationError, TOO_SLOW)).into());
        };
        let (body, room) = match read {
            Ok(read) => read,
            Err(Unread::Broken(error)) => return Err(ReadBodyError::Io(error).into()),
            Err(Unread::TooLarge) => {
                discard(&mut chunks).await;
                return Err(ReadBodyError::PayloadTooLarge.into());
            }
            Err(Unread::TooMany) => {
                discard(&mut chunks).await;
                return Err(ApiError::from(ErrorBody::new(ErrorCode::Unavailable, TOO_MANY)).into());
            }
            Err(Unread::TooManyOfYours) => {
                discard(&mut chunks).await;
                return Err(ApiError::too_many(TOO_MANY_OF_YOURS).into());
            }
            Err(Unread::Refused(error)) => {
                discard(&mut chunks).await;
                return Err(error.into());
            }
        };
        request.set_body(Body::from_bytes(body));
        Ok(Held::Body(room))
    }

    /// Reads a body that is said to be so long.
    async fn read(
        &self,
        chunks: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
        announced: usize,
        sender: &Sender,
        deadline: Instant,
    ) -> Result<(Bytes, Option<Large<'_>>), Unread> {
        let _reading = self.reading(sender)?;
        let mut room = self.room_for(announced, sender, None, deadline).await?;
        let mut kept = BytesMut::with_capacity(announced);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(Unread::Broken)?;
            room = self.room_for(kept.len() + chunk.len(), sender, room, deadline).await?;
            kept.extend_from_slice(&chunk);
        }
        Ok((kept.freeze(), room))
    }

    /// Lets a sender's body be read.
    fn reading(&self, sender: &Sender) -> Result<Reading, Unread> {
        let share = match (&sender.session, sender.address) {
            (Some(Ok(session)), _) => self.small_of_sessions.take(session).map(Reading::OfSession),
            (_, Some(address)) => self.small_of_addresses.take(&network_of(address)).map(Reading::OfAddress),
            (_, None) => Some(Reading::Unknown),
        };
        share.ok_or(Unread::TooManyOfYours)
    }

    /// Room for a body of so many bytes; a small one needs none.
    async fn room_for<'a>(
        &'a self,
        bytes: usize,
        sender: &Sender,
        room: Option<Large<'a>>,
        deadline: Instant,
    ) -> Result<Option<Large<'a>>, Unread> {
        if bytes > MAX_BODY_BYTES {
            return Err(Unread::TooLarge);
        }
        if bytes <= MAX_SMALL_BODY_BYTES || room.is_some() {
            return Ok(room);
        }
        let session = match &sender.session {
            None => return Err(Unread::TooLarge),
            Some(Err(error)) => return Err(Unread::Refused(error.clone())),
            Some(Ok(session)) => session,
        };
        // First, so that nobody waits for a place in more requests than they may have one for.
        let of_session = self.of_sessions.take(session).ok_or(Unread::TooManyOfYours)?;
        let of_address = sender.address.map(|address| self.of_addresses.take(&network_of(address)));
        let of_address = of_address.map(|share| share.ok_or(Unread::TooManyOfYours)).transpose()?;
        match tokio::time::timeout_at(deadline, self.large.acquire()).await {
            Ok(Ok(place)) => Ok(Some(Large { _place: place, _of_session: of_session, _of_address: of_address })),
            _ => Err(Unread::TooMany),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use poem::IntoResponse;
    use tokio::task::JoinSet;
    use uuid::Uuid;

    use super::*;
    use crate::error::standard_error;

    const CHUNK: usize = 64 * 1024;

    /// Answers with how long the body was; to a large one, only once it is let go.
    struct Server {
        limit: BodyLimit,
        let_go: Arc<Semaphore>,
    }

    fn server(let_go: Arc<Semaphore>) -> Server {
        Server { limit: BodyLimit::new(), let_go }
    }

    impl Server {
        async fn answer(&self, (mut request, sender): (Request, Sender)) -> Result<String> {
            let held = self.limit.hold(&mut request, &sender).await?;
            let length = request.take_body().into_bytes().await.unwrap().len();
            if length > MAX_SMALL_BODY_BYTES {
                self.let_go.acquire().await.unwrap().forget();
            }
            held.let_go().await;
            Ok(length.to_string())
        }
    }

    fn free() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1000))
    }

    fn nobody() -> Sender {
        Sender { session: None, address: None }
    }

    /// Session `n`, at address `n`.
    fn somebody(n: u8) -> Sender {
        let session = SessionId(Uuid::from_u128(n.into()));
        Sender { session: Some(Ok(session)), address: Some(IpAddr::from([192, 0, 2, n])) }
    }

    fn request(chunks: impl Stream<Item = Bytes> + Send + 'static, sender: Sender) -> (Request, Sender) {
        let body = Body::from_bytes_stream(chunks.map(Ok::<_, io::Error>));
        (Request::builder().method(Method::POST).body(body), sender)
    }

    /// So many bytes, not all at once.
    fn body(bytes: usize) -> impl Stream<Item = Bytes> + Send + 'static {
        let chunks = (0..bytes.div_ceil(CHUNK)).map(move |n| Bytes::from(vec![b' '; CHUNK.min(bytes - n * CHUNK)]));
        stream::iter(chunks)
    }

    async fn status(server: &Server, request: (Request, Sender)) -> u16 {
        let answer = server.answer(request).await;
        answer.map_or_else(standard_error, IntoResponse::into_response).status().as_u16()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up_and_one_that_is_too_large_is_refused() {
        let server = server(free());
        let began = Instant::now();
        let trickle = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Bytes::from_static(b" "), ()))
        });
        assert_eq!(status(&server, request(trickle, somebody(1))).await, 422);
        assert!(began.elapsed() >= READING && began.elapsed() < READING * 2);
        assert_eq!(status(&server, request(body(MAX_BODY_BYTES + 1), somebody(1))).await, 413);
        assert_eq!(status(&server, request(body(MAX_BODY_BYTES), somebody(1))).await, 200);
    }

    #[tokio::test]
    async fn whoever_shows_no_token_of_ours_sends_little() {
        let server = server(free());
        assert_eq!(status(&server, request(body(MAX_SMALL_BODY_BYTES), nobody())).await, 200);
        assert_eq!(status(&server, request(body(MAX_SMALL_BODY_BYTES + 1), nobody())).await, 413);
        let mut announced = request(stream::empty(), nobody());
        announced.0.headers_mut().insert(header::CONTENT_LENGTH, (MAX_SMALL_BODY_BYTES + 1).into());
        assert_eq!(status(&server, announced).await, 413);
    }

    #[tokio::test]
    async fn whoever_has_a_token_that_is_of_no_use_is_told_so_and_takes_no_place() {
        let server = server(free());
        let refused = ErrorBody::new(ErrorCode::Unauthorized, "this session is over");
        let logged_out = || Sender { session: Some(Err(refused.clone().into())), address: None };
        assert_eq!(status(&server, request(body(MAX_SMALL_BODY_BYTES + 1), logged_out())).await, 401);
        assert_eq!(server.limit.large.available_permits(), LARGE_BODIES_AT_ONCE);
        assert_eq!(
            status(&server, request(body(MAX_SMALL_BODY_BYTES), logged_out())).await,
            200,
            "small ones are read"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_and_an_address_take_so_many_places_and_no_more() {
        let let_go = Arc::new(Semaphore::new(0));
        let server = Arc::new(server(let_go.clone()));
        let large = |sender| request(body(MAX_SMALL_BODY_BYTES + 1), sender);
        let mut held = JoinSet::new();
        let mut begin = |sender| {
            let server = server.clone();
            held.spawn(async move { status(&server, large(sender)).await });
        };
        for n in 0..OF_AN_ADDRESS {
            // Sessions at one address.
            let n = u8::try_from(n / OF_A_SESSION).unwrap();
            begin(Sender { address: somebody(99).address, ..somebody(n) });
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(
            status(&server, large(Sender { address: None, ..somebody(0) })).await,
            429,
            "a fifth of this session"
        );
        assert_eq!(status(&server, large(Sender { address: somebody(99).address, ..somebody(50) })).await, 429);
        let_go.add_permits(1 + OF_AN_ADDRESS);
        assert_eq!(status(&server, large(somebody(50))).await, 200, "another address has places left");
        assert!(held.join_all().await.iter().all(|status| *status == 200));
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_large_bodies_are_held_at_once_and_whoever_waits_too_long_for_room_is_told() {
        let let_go = Arc::new(Semaphore::new(0));
        let server = Arc::new(server(let_go.clone()));
        let large = |n| request(body(MAX_SMALL_BODY_BYTES + 1), somebody(n));
        let mut held = JoinSet::new();
        for n in 0..LARGE_BODIES_AT_ONCE {
            let server = server.clone();
            held.spawn(async move { status(&server, large(u8::try_from(n).unwrap())).await });
        }
        // Time only goes on once nothing else does.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let began = Instant::now();
        assert_eq!(status(&server, large(100)).await, 503);
        assert!(began.elapsed() >= READING && began.elapsed() < READING * 2);
        assert_eq!(
            status(&server, request(body(MAX_SMALL_BODY_BYTES), somebody(100))).await,
            200,
            "small ones need no room"
        );
        assert_eq!(status(&server, request(body(MAX_BODY_BYTES + 1), somebody(100))).await, 503);
        let_go.add_permits(LARGE_BODIES_AT_ONCE + 1);
        assert_eq!(held.join_next().await.unwrap().unwrap(), 200);
        assert_eq!(status(&server, large(100)).await, 200, "one has gone, another comes");
    }
}

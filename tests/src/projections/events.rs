//! What happens in the tests of projections.

use domain::call::{CallAccepted, CallEnded, CallEvent, CallFoundBusy, CallParties, CallStarted, CallType, EndReason};
use domain::delivery::{Delivered, DeliveryEvent, MessagesDelivered};
use domain::file::{Carrier, FileAttached, FileDetached, FileEvent, FileRemoved, FileUploaded};
use domain::login::{LoginEvent, LoginReleased, LoginReserved};
use domain::message::{MessageDeleted, MessageEdited, MessageEvent, MessageKind, MessageSent};
use domain::reading::{MessagesRead, ReadingEvent};
use domain::session::{Audience, RevokeReason, SessionEvent, SessionRefreshed, SessionRevoked, SessionStarted};
use domain::user::{
    UserAvatarChanged, UserCreated, UserEvent, UserPasswordChanged, UserReactivated, UserRenamed, UserRoleChanged,
    UserSessionsEnded, UserSuspended,
};
use domain::{
    BusinessId, CallId, ConversationId, DomainEvent, FileId, MessageId, Personal, Role, SessionId, Timestamp, UserId,
};
use event_store::memory::MemoryStore;
use event_store::{Actor, Append, EventStore, Expected, Metadata, NewEvent, StreamId, codec};
use time::OffsetDateTime;
use uuid::Uuid;

pub(super) const BUSINESS: BusinessId = BusinessId(Uuid::from_u128(1));
pub(super) const ALICE: UserId = UserId(Uuid::from_u128(2));
pub(super) const BOB: UserId = UserId(Uuid::from_u128(3));
pub(super) const CAROL: UserId = UserId(Uuid::from_u128(4));

pub(super) fn at(s: i64) -> Timestamp {
    Timestamp::from_unix_ms(s * 1000)
}

pub(super) fn metadata() -> Metadata {
    Metadata { business_id: BUSINESS.0, actor: Actor::default(), correlation_id: Uuid::nil(), causation_id: None }
}

/// A log of these events, each in a stream of the given name.
pub(super) async fn log(events: impl IntoIterator<Item = (StreamId, NewEvent)>) -> MemoryStore {
    let store = MemoryStore::new(OffsetDateTime::now_utc);
    for (stream, event) in events {
        let version = store.read_stream(&stream, 0, 1000).await.unwrap().len() as u64;
        let expected = Expected::after(version);
        store.append(Append { stream, expected, metadata: metadata(), events: vec![event] }).await.unwrap();
    }
    store
}

pub(super) fn event(category: &str, id: impl std::fmt::Display, fact: &impl DomainEvent) -> (StreamId, NewEvent) {
    (StreamId::new(category, id), codec::encode(Uuid::now_v7(), fact.event_type(), fact.schema_version(), fact))
}

pub(super) fn user_created(id: UserId, name: &str) -> (StreamId, NewEvent) {
    let fact = UserEvent::Created(UserCreated {
        user_id: id,
        business_id: BUSINESS,
        email: Personal::of(id, format!("{name}@Example.com")),
        name: Personal::of(id, name.to_owned()),
        avatar: None,
        role: Role::BusinessAdmin,
        password_hash: Personal::of(id, "hash".to_owned()),
        created_at: at(1),
    });
    event("user", id, &fact)
}

pub(super) fn message_sent(n: u128, from: UserId, to: UserId) -> (StreamId, NewEvent) {
    let id = MessageId(Uuid::from_u128(n));
    let fact = MessageEvent::Sent(MessageSent {
        message_id: id,
        conversation_id: ConversationId::between(from, to),
        business_id: BUSINESS,
        sender_id: from,
        recipient_id: to,
        content: Personal::of(from, format!("message {n}")),
        kind: MessageKind::Text,
        attachments: vec![],
        reply_to: None,
        fingerprint: None,
        sent_at: at(2),
    });
    event("message", id, &fact)
}

/// A message of so-and-so's that carries files and replies to another one.
pub(super) fn message_with(
    n: u128,
    from: UserId,
    to: UserId,
    files: &[FileId],
    reply_to: Option<u128>,
) -> (StreamId, NewEvent) {
    let fact = MessageEvent::Sent(MessageSent {
        message_id: message(n),
        conversation_id: ConversationId::between(from, to),
        business_id: BUSINESS,
        sender_id: from,
        recipient_id: to,
        content: Personal::of(from, format!("message {n}")),
        kind: MessageKind::File,
        attachments: files.to_vec(),
        reply_to: reply_to.map(message),
        fingerprint: None,
        sent_at: at(2),
    });
    event("message", message(n), &fact)
}

pub(super) fn message(n: u128) -> MessageId {
    MessageId(Uuid::from_u128(n))
}

pub(super) fn file(n: u128) -> FileId {
    FileId(Uuid::from_u128(n))
}

pub(super) fn message_edited(n: u128, from: UserId, to: UserId, content: &str, s: i64) -> (StreamId, NewEvent) {
    let fact = MessageEvent::Edited(MessageEdited {
        message_id: message(n),
        conversation_id: ConversationId::between(from, to),
        business_id: BUSINESS,
        sender_id: from,
        recipient_id: to,
        content: Personal::of(from, content.to_owned()),
        edited_at: at(s),
    });
    event("message", message(n), &fact)
}

pub(super) fn message_deleted(n: u128, from: UserId, to: UserId, s: i64) -> (StreamId, NewEvent) {
    let fact = MessageEvent::Deleted(MessageDeleted {
        message_id: message(n),
        conversation_id: ConversationId::between(from, to),
        business_id: BUSINESS,
        sender_id: from,
        recipient_id: to,
        deleted_by: from,
        reason: None,
        deleted_at: at(s),
    });
    event("message", message(n), &fact)
}

pub(super) fn file_uploaded(n: u128) -> (StreamId, NewEvent) {
    let fact = FileEvent::Uploaded(FileUploaded {
        file_id: file(n),
        business_id: BUSINESS,
        uploader_id: ALICE,
        name: Personal::of(ALICE, format!("{n}.txt")),
        size_bytes: 3,
        content_type: "text/plain".to_owned(),
        sha256: "00".repeat(32),
        uploaded_at: at(1),
    });
    event("file", file(n), &fact)
}

pub(super) fn file_attached(n: u128, to: u128, s: i64) -> (StreamId, NewEvent) {
    let carrier = Carrier { message_id: message(to), sender_id: ALICE, recipient_id: BOB };
    event("file", file(n), &FileEvent::Attached(FileAttached { file_id: file(n), carrier, attached_at: at(s) }))
}

pub(super) fn file_detached(n: u128, from: u128, s: i64) -> (StreamId, NewEvent) {
    let fact = FileDetached { file_id: file(n), message_id: message(from), detached_at: at(s) };
    event("file", file(n), &FileEvent::Detached(fact))
}

pub(super) fn file_removed(n: u128, s: i64) -> (StreamId, NewEvent) {
    event("file", file(n), &FileEvent::Removed(FileRemoved { file_id: file(n), removed_at: at(s) }))
}

/// Messages at positions 1 to 5, of which the second replies to the first, that are edited, deleted and read in between.
pub(super) fn changed_messages() -> Vec<(StreamId, NewEvent)> {
    vec![
        message_with(1, ALICE, BOB, &[], None),
        message_with(2, ALICE, BOB, &[file(1)], Some(1)),
        message_with(3, ALICE, BOB, &[], None),
        message_with(4, BOB, ALICE, &[], None),
        message_with(5, ALICE, BOB, &[], None),
        message_edited(1, ALICE, BOB, "once", 10),
        message_edited(3, ALICE, BOB, "edited, then deleted", 11),
        message_edited(1, ALICE, BOB, "twice", 12),
        message_deleted(3, ALICE, BOB, 13),
        read_up_to(2),
        message_deleted(2, ALICE, BOB, 14),
        message_edited(4, BOB, ALICE, "answered", 15),
    ]
}

/// Files: one is sent twice, one never, one with a message that is deleted, one is given up.
pub(super) fn files() -> Vec<(StreamId, NewEvent)> {
    vec![
        file_uploaded(1),
        file_uploaded(2),
        file_uploaded(3),
        file_uploaded(4),
        file_uploaded(5),
        file_attached(1, 1, 2),
        message_with(1, ALICE, BOB, &[file(1)], None),
        file_attached(2, 2, 3),
        file_attached(3, 3, 4),
        file_attached(1, 3, 4),
        message_with(3, ALICE, BOB, &[file(3), file(1)], None),
        message_deleted(3, ALICE, BOB, 5),
        file_detached(3, 3, 6),
        file_detached(1, 3, 6),
        file_removed(4, 7),
        file_attached(5, 5, 8),
        message_with(5, ALICE, BOB, &[file(5)], None),
        message_deleted(5, ALICE, BOB, 9),
    ]
}

pub(super) fn session_started(n: u128, s: i64) -> (StreamId, NewEvent) {
    let id = SessionId(Uuid::from_u128(n));
    let fact = SessionEvent::Started(SessionStarted {
        session_id: id,
        user_id: ALICE,
        business_id: BUSINESS,
        audience: Audience::Messenger,
        epoch: 0,
        user_agent: Some(Personal::of(ALICE, format!("device {n}"))),
        expires_at: at(100),
        started_at: at(s),
    });
    event("session", id, &fact)
}

pub(super) fn of_session(n: u128, fact: &SessionEvent) -> (StreamId, NewEvent) {
    event("session", SessionId(Uuid::from_u128(n)), fact)
}

pub(super) fn password_changed(s: i64, kept: Option<u128>) -> (StreamId, NewEvent) {
    let fact = UserPasswordChanged {
        password_hash: Personal::of(ALICE, "another hash".to_owned()),
        is_temporary: false,
        kept_session: kept.map(|n| SessionId(Uuid::from_u128(n))),
        changed_at: at(s),
    };
    event("user", ALICE, &UserEvent::PasswordChanged(fact))
}

/// Somebody is called something else time and again, gets a picture and loses it, and is made something else.
pub(super) fn changed_people() -> Vec<(StreamId, NewEvent)> {
    let renamed = |id: UserId, name: &str, s| {
        let fact = UserRenamed { name: Personal::of(id, name.to_owned()), renamed_at: at(s) };
        event("user", id, &UserEvent::Renamed(fact))
    };
    let pictured = |id: UserId, avatar: Option<&str>, s| {
        let avatar = avatar.map(|avatar| Personal::of(id, avatar.to_owned()));
        event("user", id, &UserEvent::AvatarChanged(UserAvatarChanged { avatar, changed_at: at(s) }))
    };
    let became =
        |id: UserId, role, s| event("user", id, &UserEvent::RoleChanged(UserRoleChanged { role, changed_at: at(s) }));
    vec![
        user_created(ALICE, "Alice"),
        renamed(ALICE, "Alice C.", 2),
        pictured(ALICE, Some("https://example.com/1.png"), 3),
        user_created(BOB, "Bob"),
        became(ALICE, Role::BusinessUser, 4),
        pictured(BOB, Some("https://example.com/2.png"), 4),
        renamed(ALICE, "Alice Cooper", 5),
        pictured(ALICE, None, 6),
        became(ALICE, Role::BusinessAuditor, 7),
        became(BOB, Role::BusinessUser, 8),
    ]
}

/// Sessions of Alice: the first outlives a new password, and ends when she is logged out everywhere; whatever is left ends when she is
/// suspended, and she begins one more once she is let in again.
pub(super) fn ended_sessions() -> Vec<(StreamId, NewEvent)> {
    let refreshed = SessionRefreshed { generation: 2, expires_at: at(200), refreshed_at: at(12) };
    let revoked = SessionRevoked { reason: RevokeReason::LoggedOut, revoked_at: at(4) };
    vec![
        user_created(ALICE, "Alice"),
        session_started(1, 2),
        session_started(2, 2),
        session_started(3, 3),
        of_session(3, &SessionEvent::Revoked(revoked)),
        password_changed(5, Some(1)),
        session_started(4, 6),
        event("user", ALICE, &UserEvent::SessionsEnded(UserSessionsEnded { ended_at: at(7) })),
        session_started(5, 8),
        session_started(6, 9),
        password_changed(10, Some(5)),
        session_started(7, 11),
        of_session(5, &SessionEvent::Refreshed(refreshed)),
        event("user", ALICE, &UserEvent::Suspended(UserSuspended { suspended_at: at(13) })),
        event("user", ALICE, &UserEvent::Reactivated(UserReactivated { reactivated_at: at(14) })),
        session_started(8, 15),
    ]
}

pub(super) fn read_up_to(message_position: u64) -> (StreamId, NewEvent) {
    let conversation_id = ConversationId::between(ALICE, BOB);
    let fact = ReadingEvent::Read(MessagesRead {
        conversation_id,
        business_id: BUSINESS,
        reader_id: BOB,
        sender_id: ALICE,
        message_id: MessageId(Uuid::from_u128(1)),
        message_position,
        read_at: at(3),
    });
    event("reading", format!("{conversation_id}.{BOB}"), &fact)
}

/// A life of people: someone is created, suspended and let in again; a login comes to nothing, another waits.
pub(super) fn people() -> Vec<(StreamId, NewEvent)> {
    let login = |id: &str, user_id: u128, n| {
        let reserved =
            LoginReserved { business_id: BUSINESS, user_id: UserId(Uuid::from_u128(user_id)), reserved_at: at(n) };
        event("login", id, &LoginEvent::Reserved(reserved))
    };
    let released = LoginReleased { user_id: UserId(Uuid::from_u128(9)), released_at: at(5) };
    vec![
        login("a", 2, 1),
        user_created(ALICE, "Alice"),
        login("b", 3, 1),
        user_created(BOB, "Bob"),
        login("c", 9, 1),
        event("login", "c", &LoginEvent::Released(released)),
        login("d", 10, 1),
        event("user", ALICE, &UserEvent::Suspended(UserSuspended { suspended_at: at(3) })),
        event("user", BOB, &UserEvent::Suspended(UserSuspended { suspended_at: at(3) })),
        event("user", ALICE, &UserEvent::Reactivated(UserReactivated { reactivated_at: at(4) })),
    ]
}

/// A conversation: positions 1 to 4 are messages, the first two of which are read, in the wrong order.
pub(super) fn messages() -> Vec<(StreamId, NewEvent)> {
    let mut events: Vec<_> =
        (1..=4).map(|n| message_sent(n, if n == 3 { BOB } else { ALICE }, if n == 3 { ALICE } else { BOB })).collect();
    events.extend([read_up_to(2), read_up_to(1), delivered_up_to(4), delivered_up_to(3)]);
    events
}

pub(super) fn delivered_up_to(message_position: u64) -> (StreamId, NewEvent) {
    let message = Delivered {
        conversation_id: ConversationId::between(ALICE, BOB),
        sender_id: ALICE,
        message_id: MessageId(Uuid::from_u128(1)),
        message_position,
    };
    let fact =
        MessagesDelivered { recipient_id: BOB, business_id: BUSINESS, up_to: vec![message], delivered_at: at(4) };
    event("delivery", BOB, &DeliveryEvent::Delivered(fact))
}

/// Two calls: one is answered and ended, the other finds the callee busy.
pub(super) fn calls() -> Vec<(StreamId, NewEvent)> {
    let parties = |n| CallParties {
        call_id: CallId(Uuid::from_u128(n)),
        conversation_id: ConversationId::between(ALICE, BOB),
        business_id: BUSINESS,
        caller_id: ALICE,
        receiver_id: BOB,
    };
    let (call_type, room_id) = (CallType::Video, "room".to_owned());
    let facts = [
        CallEvent::Started(CallStarted {
            parties: parties(1),
            call_type,
            room_id: room_id.clone(),
            started_at: at(1),
            rings_until: at(46),
        }),
        CallEvent::FoundBusy(CallFoundBusy { parties: parties(2), call_type, room_id, started_at: at(2) }),
        CallEvent::Accepted(CallAccepted { parties: parties(1), accepted_at: at(3) }),
        CallEvent::Ended(CallEnded {
            parties: parties(1),
            ended_by: Some(BOB),
            reason: EndReason::HungUp,
            duration_ms: 60_000,
            ended_at: at(63),
        }),
    ];
    facts.iter().map(|fact| event("call", fact.parties().call_id, fact)).collect()
}

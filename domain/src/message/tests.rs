//! The rules of a message, one by one.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::testing::given;

const ALICE: UserId = UserId(Uuid::from_u128(7));
const BOB: UserId = UserId(Uuid::from_u128(8));
const ADMIN: UserId = UserId(Uuid::from_u128(9));
const WINDOW_MS: i64 = 60_000;

fn at(s: i64) -> Timestamp {
    Timestamp::from_unix_ms(s * 1000)
}

fn text(content: &str) -> MessageText {
    MessageText::parse(content).unwrap()
}

fn send_to(recipient_id: UserId, content: &str, attachments: Vec<FileId>) -> MessageCommand {
    MessageCommand::Send(SendMessage {
        id: MessageId(Uuid::from_u128(1)),
        business_id: BusinessId(Uuid::from_u128(2)),
        sender_id: ALICE,
        recipient_id,
        content: text(content),
        kind: MessageKind::Text,
        attachments,
        reply_to: None,
        fingerprint: None,
        at: at(0),
    })
}

fn send(content: &str) -> MessageCommand {
    send_to(BOB, content, vec![])
}

fn edit_by(by: UserId, content: &str, s: i64) -> MessageCommand {
    MessageCommand::Edit { by, content: text(content), window_ms: WINDOW_MS, at: at(s) }
}

fn edit(content: &str) -> MessageCommand {
    edit_by(ALICE, content, 1)
}

fn delete() -> MessageCommand {
    MessageCommand::Delete { by: ALICE, reason: None, at: at(2) }
}

fn message_sent(content: &str, attachments: Vec<FileId>) -> MessageSent {
    MessageSent {
        message_id: MessageId(Uuid::from_u128(1)),
        conversation_id: ConversationId::between(ALICE, BOB),
        business_id: BusinessId(Uuid::from_u128(2)),
        sender_id: ALICE,
        recipient_id: BOB,
        content: Personal::of(ALICE, content.to_owned()),
        kind: MessageKind::Text,
        attachments,
        reply_to: None,
        fingerprint: None,
        sent_at: at(0),
    }
}

fn sent(content: &str) -> MessageEvent {
    MessageEvent::Sent(message_sent(content, vec![]))
}

fn edited_at(content: &str, s: i64) -> MessageEvent {
    MessageEvent::Edited(MessageEdited {
        message_id: MessageId(Uuid::from_u128(1)),
        conversation_id: ConversationId::between(ALICE, BOB),
        business_id: BusinessId(Uuid::from_u128(2)),
        sender_id: ALICE,
        recipient_id: BOB,
        content: Personal::of(ALICE, content.to_owned()),
        edited_at: at(s),
    })
}

fn edited(content: &str) -> MessageEvent {
    edited_at(content, 1)
}

fn deleted_by(deleted_by: UserId, reason: Option<&str>) -> MessageEvent {
    MessageEvent::Deleted(MessageDeleted {
        message_id: MessageId(Uuid::from_u128(1)),
        conversation_id: ConversationId::between(ALICE, BOB),
        business_id: BusinessId(Uuid::from_u128(2)),
        sender_id: ALICE,
        recipient_id: BOB,
        deleted_by,
        reason: reason.map(|reason| Personal::of(deleted_by, reason.to_owned())),
        deleted_at: at(2),
    })
}

fn deleted() -> MessageEvent {
    deleted_by(ALICE, None)
}

#[test]
fn a_message_is_sent_once() {
    given::<Message>([]).when(send("Hello!")).then([sent("Hello!")]);
    given::<Message>([sent("Hello!")]).when(send("Hello!")).then_err(MessageError::AlreadySent);
    given::<Message>([sent("Hello!"), deleted()]).when(send("Hello!")).then_err(MessageError::AlreadySent);
}

#[test]
fn nobody_writes_to_themselves() {
    let invalid = Invalid::new("recipientId", "must be somebody else");
    given::<Message>([]).when(send_to(ALICE, "Hello!", vec![])).then_err(MessageError::ToOneself(invalid));
}

#[test]
fn a_message_without_attachments_says_something() {
    let invalid = Invalid::new("content", "must not be empty without attachments");
    for blank in ["", " \n"] {
        given::<Message>([]).when(send(blank)).then_err(MessageError::Empty(invalid.clone()));
        given::<Message>([sent("Hello!")]).when(edit(blank)).then_err(MessageError::Empty(invalid.clone()));
    }
}

#[test]
fn a_message_may_consist_of_attachments_alone() {
    let file = FileId(Uuid::from_u128(9));
    let with_file = MessageEvent::Sent(message_sent("", vec![file]));
    given::<Message>([]).when(send_to(BOB, "", vec![file])).then([with_file.clone()]);
    given::<Message>([with_file, edited("!")]).when(edit("")).then([edited("")]);
}

#[test]
fn its_sender_edits_it_and_the_same_text_again_changes_nothing() {
    given::<Message>([sent("Helo!")]).when(edit("Hello!")).then([edited("Hello!")]);
    given::<Message>([sent("Helo!"), edited("Hello!")]).when(edit("Hello!")).then_nothing();
    given::<Message>([sent("Helo!"), edited("Hello!")]).when(edit("Helo!")).then([edited("Helo!")]);
}

#[test]
fn nobody_else_edits_it() {
    for history in [vec![sent("Hello!")], vec![sent("Hello!"), deleted()]] {
        given::<Message>(history).when(edit_by(BOB, "Goodbye!", 1)).then_err(MessageError::NotTheSender);
    }
}

#[test]
fn it_is_edited_within_its_window_only() {
    given::<Message>([sent("Helo!")]).when(edit_by(ALICE, "Hello!", 60)).then([edited_at("Hello!", 60)]);
    given::<Message>([sent("Helo!")]).when(edit_by(ALICE, "Hello!", 61)).then_err(MessageError::TooLateToEdit);
}

#[test]
fn it_is_deleted_with_or_without_a_reason_and_again_changes_nothing() {
    given::<Message>([sent("Hello!")]).when(delete()).then([deleted()]);
    given::<Message>([sent("Hello!"), edited("Hallo!")]).when(delete()).then([deleted()]);
    given::<Message>([sent("Hello!"), deleted()]).when(delete()).then_nothing();
    let reason = Some(Reason::parse("spam").unwrap());
    let by_an_admin = MessageCommand::Delete { by: ADMIN, reason, at: at(2) };
    given::<Message>([sent("Hello!")]).when(by_an_admin).then([deleted_by(ADMIN, Some("spam"))]);
}

#[test]
fn what_is_deleted_is_not_edited() {
    given::<Message>([sent("Hello!"), deleted()]).when(edit("Hallo!")).then_err(MessageError::AlreadyDeleted);
}

#[test]
fn what_was_never_sent_is_neither_edited_nor_deleted() {
    for command in [edit("Hello!"), delete()] {
        given::<Message>([]).when(command).then_err(MessageError::NoSuchMessage);
    }
}

#[test]
fn only_its_two_parties_see_it() {
    let message = message_sent("Hello!", vec![]);
    assert!(message.is_visible_to(ALICE) && message.is_visible_to(BOB));
    assert!(!message.is_visible_to(UserId(Uuid::from_u128(9))));
}

fn any_event() -> impl Strategy<Value = MessageEvent> {
    prop_oneof!["[ab]".prop_map(|text| sent(&text)), "[ab]".prop_map(|text| edited(&text)), Just(deleted())]
}

fn any_command() -> impl Strategy<Value = MessageCommand> {
    let edits = ("[ab ]", 0..100_i64, prop::bool::ANY);
    prop_oneof![
        "[ab ]".prop_map(|text| send(&text)),
        edits.prop_map(|(text, s, own)| edit_by(if own { ALICE } else { BOB }, &text, s)),
        Just(delete())
    ]
}

proptest! {
    #[test]
    fn whatever_is_asked_what_was_sent_first_stays_and_what_is_deleted_stays_deleted(commands in prop::collection::vec(any_command(), 1..20)) {
        let mut state = Message::default();
        for command in commands {
            let before = state.clone();
            for event in state.decide(command).unwrap_or_default() {
                state.evolve(&event);
            }
            prop_assert!(before.sent().is_none() || before.sent() == state.sent());
            prop_assert!(!matches!(before, Message::Deleted(_)) || before == state);
            prop_assert!(state.visible().is_none_or(|message| message.content().known().is_some_and(|text| !text.trim().is_empty())));
        }
    }

    #[test]
    fn any_history_replays(history in prop::collection::vec(any_event(), 0..20)) {
        let was_sent = history.iter().any(|event| matches!(event, MessageEvent::Sent(_)));
        prop_assert_eq!(Message::replay(&history).sent().is_some(), was_sent);
    }
}

//! The rules of a file, one by one.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::testing::given;

const ID: FileId = FileId(Uuid::from_u128(1));
const ALICE: UserId = UserId(Uuid::from_u128(7));
const BOB: UserId = UserId(Uuid::from_u128(8));
const CAROL: UserId = UserId(Uuid::from_u128(9));

fn at(s: i64) -> Timestamp {
    Timestamp::from_unix_ms(s * 1000)
}

fn message(n: u128) -> MessageId {
    MessageId(Uuid::from_u128(n))
}

fn upload() -> FileCommand {
    FileCommand::Upload(UploadFile {
        id: ID,
        business_id: BusinessId(Uuid::from_u128(2)),
        uploader_id: ALICE,
        name: FileName::tidied("photo.png"),
        size_bytes: 3,
        content_type: ContentType::parse("image/png").unwrap(),
        sha256: "ab".repeat(32),
        at: at(0),
    })
}

fn uploaded() -> FileEvent {
    FileEvent::Uploaded(FileUploaded {
        file_id: ID,
        business_id: BusinessId(Uuid::from_u128(2)),
        uploader_id: ALICE,
        name: Personal::of(ALICE, "photo.png".to_owned()),
        size_bytes: 3,
        content_type: "image/png".to_owned(),
        sha256: "ab".repeat(32),
        uploaded_at: at(0),
    })
}

fn carrier(n: u128, sender_id: UserId) -> Carrier {
    Carrier { message_id: message(n), sender_id, recipient_id: BOB }
}

fn attach(n: u128) -> FileCommand {
    FileCommand::Attach { carrier: carrier(n, ALICE), at: at(1) }
}

fn attached(n: u128) -> FileEvent {
    FileEvent::Attached(FileAttached { file_id: ID, carrier: carrier(n, ALICE), attached_at: at(1) })
}

fn detach(n: u128) -> FileCommand {
    FileCommand::Detach { message_id: message(n), at: at(2) }
}

fn detached(n: u128) -> FileEvent {
    FileEvent::Detached(FileDetached { file_id: ID, message_id: message(n), detached_at: at(2) })
}

fn remove(idle_since: i64) -> FileCommand {
    FileCommand::Remove { idle_since: at(idle_since), at: at(100) }
}

fn removed() -> FileEvent {
    FileEvent::Removed(FileRemoved { file_id: ID, removed_at: at(100) })
}

#[test]
fn a_file_is_uploaded_once() {
    given::<File>([]).when(upload()).then([uploaded()]);
    for history in [vec![uploaded()], vec![uploaded(), removed()]] {
        given::<File>(history).when(upload()).then_err(FileError::AlreadyUploaded);
    }
}

#[test]
fn its_uploader_sends_it_with_any_number_of_messages_and_twice_with_one_changes_nothing() {
    given::<File>([uploaded()]).when(attach(1)).then([attached(1)]);
    given::<File>([uploaded(), attached(1)]).when(attach(2)).then([attached(2)]);
    given::<File>([uploaded(), attached(1)]).when(attach(1)).then_nothing();
}

#[test]
fn it_is_not_sent_without_end() {
    let often = (0..1000).map(attached);
    given::<File>(std::iter::once(uploaded()).chain(often)).when(attach(1000)).then_err(FileError::SentTooOften);
}

#[test]
fn nobody_else_sends_it() {
    let attach = FileCommand::Attach { carrier: carrier(1, CAROL), at: at(1) };
    given::<File>([uploaded()]).when(attach).then_err(FileError::NotTheUploader);
}

#[test]
fn what_is_not_there_is_not_sent() {
    for history in [vec![], vec![uploaded(), removed()]] {
        given::<File>(history).when(attach(1)).then_err(FileError::NoSuchFile);
    }
}

#[test]
fn a_message_that_is_deleted_carries_it_no_more() {
    given::<File>([uploaded(), attached(1)]).when(detach(1)).then([detached(1)]);
    given::<File>([uploaded(), attached(1), detached(1)]).when(detach(1)).then_nothing();
    given::<File>([]).when(detach(1)).then_nothing();
}

#[test]
fn it_knows_the_messages_by_which_somebody_may_have_it() {
    let messages = |history: &[FileEvent], user| -> Vec<MessageId> {
        let file = File::replay(history);
        file.kept().into_iter().flat_map(|file| file.carriers_of(user)).map(|carrier| carrier.message_id).collect()
    };
    assert_eq!(messages(&[uploaded()], BOB), []);
    assert_eq!(messages(&[uploaded(), attached(1), attached(2)], BOB), [message(1), message(2)]);
    assert_eq!(messages(&[uploaded(), attached(1)], CAROL), []);
    assert_eq!(messages(&[uploaded(), attached(1), attached(2), detached(1)], BOB), [message(2)]);
    assert_eq!(messages(&[uploaded(), removed()], BOB), []);
}

#[test]
fn it_is_given_up_when_nothing_has_carried_it_for_long_enough() {
    given::<File>([uploaded()]).when(remove(0)).then([removed()]);
    given::<File>([uploaded()]).when(remove(-1)).then_err(FileError::InUse);
    given::<File>([uploaded(), attached(1)]).when(remove(50)).then_err(FileError::InUse);
    given::<File>([uploaded(), attached(1), detached(1)]).when(remove(1)).then_err(FileError::InUse);
    given::<File>([uploaded(), attached(1), detached(1)]).when(remove(2)).then([removed()]);
    given::<File>([uploaded(), removed()]).when(remove(50)).then_nothing();
    given::<File>([]).when(remove(50)).then_err(FileError::NoSuchFile);
}

fn any_command() -> impl Strategy<Value = FileCommand> {
    prop_oneof![Just(upload()), (1..4_u128).prop_map(attach), (1..4_u128).prop_map(detach), (0..4_i64).prop_map(remove)]
}

proptest! {
    #[test]
    fn whatever_is_asked_what_a_message_carries_is_kept(commands in prop::collection::vec(any_command(), 0..30)) {
        let mut state = File::default();
        for command in commands {
            let is_carried = state.kept().is_some_and(|file| !file.carriers.is_empty());
            let is_removal = matches!(command, FileCommand::Remove { .. });
            for event in state.decide(command).unwrap_or_default() {
                state.evolve(&event);
            }
            prop_assert!(!(is_carried && is_removal) || state.kept().is_some());
        }
    }

    #[test]
    fn any_history_replays(history in prop::collection::vec(prop::sample::select(vec![uploaded(), attached(1), detached(1), removed()]), 0..20)) {
        File::replay(&history);
    }
}

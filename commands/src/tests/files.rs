//! Files that nobody needs any more.

use domain::message::MessageKind;
use domain::{ContentType, FileId, FileName, MessageId, MessageText};

use super::*;
use crate::{NewFile, NewMessage};

const DAY_S: i64 = 24 * 60 * 60;

struct Scene {
    node: Node,
    ann: Request,
    bob: UserId,
    file: FileId,
}

/// Ann has uploaded a file.
async fn scene() -> Scene {
    let node = node(&log(), 1);
    let acme = node.business().await;
    let create = async |email: &str| {
        let email = EmailAddress::parse(email).unwrap();
        node.commands.create_user(&super_admin(), NewUser { email, ..new_user(acme) }).await.unwrap().value.id
    };
    let (ann, bob) = (create("ann@example.com").await, create("bob@example.com").await);
    let ann = by(ann, Role::BusinessUser, acme);
    let file = FileId(Uuid::from_u128(500));
    let new = NewFile {
        id: file,
        name: FileName::tidied("photo.png"),
        size_bytes: 3,
        content_type: ContentType::parse("image/png").unwrap(),
        sha256: String::new(),
    };
    node.commands.upload_file(&ann, new).await.unwrap();
    Scene { node, ann, bob, file }
}

impl Scene {
    async fn send(&self) -> Result<MessageId, Error> {
        let message = NewMessage {
            recipient_id: self.bob,
            content: MessageText::parse("look").unwrap(),
            kind: MessageKind::Image,
            attachments: vec![self.file],
            reply_to: None,
            retry_key: None,
        };
        Ok(self.node.commands.send_message(&self.ann, message).await?.value.message.message_id)
    }

    /// Files that a sweep removes which was given this file, rightly or not.
    async fn sweep(&self) -> Vec<FileId> {
        *self.node.lookups.idle_files.lock().unwrap() = vec![self.file];
        self.node.commands.sweep_files().await.unwrap()
    }
}

#[tokio::test]
async fn a_file_that_no_message_carries_goes_after_a_day_and_cannot_be_sent_any_more() {
    let scene = scene().await;
    scene.node.wait(DAY_S - 1);
    assert_eq!(scene.sweep().await, []);
    scene.node.wait(1);
    assert_eq!(scene.sweep().await, [scene.file]);
    assert!(matches!(scene.send().await, Err(Error::NotFound(reason)) if reason == "file not found"));
    assert_eq!(scene.sweep().await, [scene.file], "its bytes may not have been deleted");
}

#[tokio::test]
async fn a_file_that_is_carried_stays_however_late_the_lookup_is() {
    let scene = scene().await;
    scene.node.wait(2 * DAY_S);
    scene.send().await.unwrap();
    assert_eq!(scene.sweep().await, []);
}

#[tokio::test]
async fn what_a_deleted_message_has_carried_goes_a_day_later_even_if_its_node_died_in_between() {
    let scene = scene().await;
    let message = scene.send().await.unwrap();
    let commands = &scene.node.commands;
    // As the node would have left it: the message is deleted, and its file is not taken from it.
    let delete = domain::message::MessageCommand::Delete {
        by: scene.ann.caller.user_id,
        reason: None,
        at: commands.clock.now(),
    };
    let metadata = scene.ann.metadata(scene.ann.caller.business_id);
    commands
        .repository
        .execute_on_log::<domain::message::Message>(&message.to_string(), delete, &metadata)
        .await
        .map_err(|_| ())
        .unwrap();
    *scene.node.lookups.stale_carriers.lock().unwrap() = vec![(scene.file, message)];
    scene.node.wait(DAY_S);
    assert_eq!(scene.sweep().await, [], "it is idle from now on");
    scene.node.wait(DAY_S);
    assert_eq!(scene.sweep().await, [scene.file]);
}

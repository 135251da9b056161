//! What happens to messages and files.

use domain::delivery::{Delivered, DeliveryCommand, HandOver};
use domain::file::{Carrier, File, FileCommand, UploadFile};
use domain::message::{Message, MessageCommand, MessageKind, SendMessage};
use domain::reading::{ReadMessage, Reading, ReadingCommand};
use domain::{ContentType, FileId, FileName, MessageId, MessageText, Reason, UserId};

use super::deciding::{begin, begin_or_go_on, change, go_on, recent};
use super::{Invented, Later, Thing};

impl Invented {
    pub(super) fn send_message(&mut self) {
        let Some((sender_id, recipient_id, business_id)) = self.two() else { return };
        let (id, content) = (MessageId(self.id()), MessageText::parse(&self.words()).unwrap());
        let attachments = self.attach(id, sender_id, recipient_id);
        let send = SendMessage {
            id,
            business_id,
            sender_id,
            recipient_id,
            content,
            kind: if attachments.is_empty() { MessageKind::Text } else { MessageKind::File },
            attachments,
            reply_to: None,
            fingerprint: (self.random.below(4) == 0).then(|| "5a".repeat(16)),
            at: self.now(),
        };
        self.later.push(Later::Send(Box::new(send)));
    }

    /// Gives a file of the sender's to a message that is about to be sent, now and then.
    pub(super) fn attach(&mut self, message_id: MessageId, sender_id: UserId, recipient_id: UserId) -> Vec<FileId> {
        let at = self.now();
        let is_theirs = |file: &Thing<File>| {
            file.state.kept().is_some_and(|kept| kept.uploaded.uploader_id == sender_id && kept.carriers.is_empty())
        };
        let Some(n) = self.files.all.iter().rev().take(200).position(is_theirs) else { return vec![] };
        let n = self.files.all.len() - 1 - n;
        let id = self.files.all[n].id.parse().unwrap();
        let carrier = Carrier { message_id, sender_id, recipient_id };
        let attached = change(self, |world| &mut world.files, n, FileCommand::Attach { carrier, at });
        if attached { vec![id] } else { vec![] }
    }

    pub(super) fn change_message(&mut self) {
        if self.messages.all.is_empty() {
            return;
        }
        let (at, mut n) = (self.now(), recent(&mut self.random, self.messages.all.len()));
        let carries =
            |message: &Thing<Message>| message.state.visible().is_some_and(|now| !now.sent.attachments.is_empty());
        if self.random.below(8) == 0 {
            // Few carry files.
            let latest = self.messages.all.len().saturating_sub(1000);
            n = self.messages.all[latest..].iter().rposition(carries).map_or(n, |place| latest + place);
        }
        let Some(sent) = self.messages.all[n].state.sent().cloned() else { return };
        let content = MessageText::parse(&self.words()).unwrap();
        let command = if self.random.below(3) == 0 {
            let reason = Some(Reason::parse("spam").unwrap());
            MessageCommand::Delete { by: sent.sender_id, reason, at }
        } else {
            MessageCommand::Edit { by: sent.sender_id, content, window_ms: i64::MAX / 2, at }
        };
        let is_deleted = matches!(command, MessageCommand::Delete { .. });
        if change(self, |world| &mut world.messages, n, command) && is_deleted {
            for file in sent.attachments {
                let file = self.files.places[&file.to_string()];
                let detach = FileCommand::Detach { message_id: sent.message_id, at };
                change(self, |world| &mut world.files, file, detach);
            }
        }
    }

    pub(super) fn read(&mut self) {
        if self.messages.all.is_empty() {
            return;
        }
        let n = recent(&mut self.random, self.messages.all.len());
        let Some(sent) = self.messages.all[n].state.sent().cloned() else { return };
        let Some(message_position) = self.positions.get(&self.messages.all[n].id).copied() else { return };
        let read = ReadingCommand::Read(ReadMessage {
            conversation_id: sent.conversation_id,
            business_id: sent.business_id,
            reader_id: sent.recipient_id,
            sender_id: sent.sender_id,
            message_id: sent.message_id,
            message_position,
            at: self.now(),
        });
        let id = Reading::stream_id(sent.conversation_id, sent.recipient_id);
        begin_or_go_on(self, |world| &mut world.readings, id, sent.business_id, read);
    }

    pub(super) fn deliver(&mut self) {
        if self.messages.all.is_empty() {
            return;
        }
        let n = recent(&mut self.random, self.messages.all.len());
        let Some(sent) = self.messages.all[n].state.sent().cloned() else { return };
        let Some(message_position) = self.positions.get(&self.messages.all[n].id).copied() else { return };
        let delivered = Delivered {
            conversation_id: sent.conversation_id,
            sender_id: sent.sender_id,
            message_id: sent.message_id,
            message_position,
        };
        let hand_over = DeliveryCommand::HandOver(HandOver {
            recipient_id: sent.recipient_id,
            business_id: sent.business_id,
            up_to: vec![delivered],
            at: self.now(),
        });
        let id = sent.recipient_id.to_string();
        begin_or_go_on(self, |world| &mut world.deliveries, id, sent.business_id, hand_over);
    }

    pub(super) fn upload(&mut self) {
        let Some((uploader_id, _, business_id)) = self.two() else { return };
        let id = FileId(self.id());
        let upload = UploadFile {
            id,
            business_id,
            uploader_id,
            name: FileName::tidied("nåme.txt"),
            size_bytes: self.random.below(50_000_000),
            content_type: ContentType::parse("text/plain").unwrap(),
            sha256: "ab".repeat(32),
            at: self.now(),
        };
        begin(self, |world| &mut world.files, id.to_string(), business_id, FileCommand::Upload(upload));
    }

    pub(super) fn change_file(&mut self) {
        let at = self.now();
        go_on(self, |world| &mut world.files, FileCommand::Remove { idle_since: at, at });
    }
}

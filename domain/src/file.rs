//! An uploaded file: whose it is, and which messages carry it. Its bytes are elsewhere, under its id.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decider::domain_events;
use crate::{
    BusinessId, ContentType, Decider, FileId, FileName, MessageId, Personal, RefusalKind, RuleError, Timestamp, UserId,
};

#[cfg(test)]
mod tests;

/// Messages that carry a file at most.
const MAX_CARRIERS: usize = 1000;

/// State of one file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum File {
    /// Not uploaded yet.
    #[default]
    Unknown,
    /// It can be had.
    Kept(Kept),
    /// No message carried it for long enough.
    Removed,
}

/// A file that can be had.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// As it was uploaded.
    pub uploaded: FileUploaded,
    /// The messages that carry it.
    pub carriers: Vec<Carrier>,
    /// Since when none has; meaningless while one does.
    pub idle_since: Timestamp,
}

/// A message that carries a file, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Carrier {
    pub message_id: MessageId,
    /// Sender of the message.
    pub sender_id: UserId,
    /// Recipient of the message.
    pub recipient_id: UserId,
}

/// Commands that a file accepts.
#[derive(Clone, Debug)]
pub enum FileCommand {
    /// Takes it in. Its bytes are kept already.
    Upload(UploadFile),
    /// Gives it to a message that is about to be sent.
    Attach { carrier: Carrier, at: Timestamp },
    /// Takes it from a message that was deleted.
    Detach { message_id: MessageId, at: Timestamp },
    /// Gives it up, unless a message has carried it since this time.
    Remove { idle_since: Timestamp, at: Timestamp },
}

/// A file whose bytes are kept.
#[derive(Clone, Debug)]
pub struct UploadFile {
    pub id: FileId,
    pub business_id: BusinessId,
    pub uploader_id: UserId,
    pub name: FileName,
    pub size_bytes: u64,
    pub content_type: ContentType,
    /// In hexadecimal digits.
    pub sha256: String,
    pub at: Timestamp,
}

domain_events! {
    /// Events of a file.
    pub enum FileEvent {
        "FileUploaded", version 1 => Uploaded(FileUploaded),
        "FileAttached", version 1 => Attached(FileAttached),
        "FileDetached", version 1 => Detached(FileDetached),
        "FileRemoved", version 1 => Removed(FileRemoved),
    }
}

/// A file was uploaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileUploaded {
    pub file_id: FileId,
    pub business_id: BusinessId,
    pub uploader_id: UserId,
    pub name: Personal<String>,
    pub size_bytes: u64,
    pub content_type: String,
    pub sha256: String,
    pub uploaded_at: Timestamp,
}

/// A message carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileAttached {
    pub file_id: FileId,
    #[serde(flatten)]
    pub carrier: Carrier,
    pub attached_at: Timestamp,
}

/// A message doesn't carry it any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileDetached {
    pub file_id: FileId,
    pub message_id: MessageId,
    pub detached_at: Timestamp,
}

/// Its bytes are given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileRemoved {
    pub file_id: FileId,
    pub removed_at: Timestamp,
}

/// The rules of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// There is no such file, or not any more.
    #[error("file not found")]
    NoSuchFile,
    /// An id names one file for ever.
    #[error("this file has been uploaded already")]
    AlreadyUploaded,
    /// Users send what they have uploaded themselves. Others may not know of a file either.
    #[error("{}", Self::NoSuchFile)]
    NotTheUploader,
    /// The state stays small: it is loaded for each message and each download.
    #[error("this file has been sent too often: upload it again")]
    SentTooOften,
    /// A message carries it, or has done so not long ago.
    #[error("this file is in use")]
    InUse,
}

impl RuleError for FileError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NoSuchFile | Self::NotTheUploader => RefusalKind::NotFound,
            Self::AlreadyUploaded | Self::SentTooOften | Self::InUse => RefusalKind::Conflict,
        }
    }
}

impl File {
    /// The file, if it can be had.
    #[must_use]
    pub fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Kept(file) => Some(file),
            Self::Unknown | Self::Removed => None,
        }
    }
}

impl Kept {
    /// The messages that were about to carry it to or from this person. Whether they do, they say themselves.
    pub fn carriers_of(&self, user: UserId) -> impl Iterator<Item = &Carrier> {
        self.carriers.iter().filter(move |carrier| carrier.sender_id == user || carrier.recipient_id == user)
    }

    fn is_carried_by(&self, message: MessageId) -> bool {
        self.carriers.iter().any(|carrier| carrier.message_id == message)
    }
}

impl Decider for File {
    const CATEGORY: &'static str = "file";
    type Command = FileCommand;
    type Event = FileEvent;
    type Error = FileError;

    fn decide(&self, command: FileCommand) -> Result<Vec<FileEvent>, FileError> {
        use FileCommand::{Attach, Detach, Remove, Upload};
        match (command, self) {
            (Upload(command), Self::Unknown) => Ok(vec![FileEvent::Uploaded(FileUploaded {
                file_id: command.id,
                business_id: command.business_id,
                uploader_id: command.uploader_id,
                name: Personal::of(command.uploader_id, command.name.into_string()),
                size_bytes: command.size_bytes,
                content_type: command.content_type.into_string(),
                sha256: command.sha256,
                uploaded_at: command.at,
            })]),
            (Upload(_), Self::Kept(_) | Self::Removed) => Err(FileError::AlreadyUploaded),

            (Attach { .. }, Self::Unknown | Self::Removed) => Err(FileError::NoSuchFile),
            (Attach { carrier, .. }, Self::Kept(file)) if carrier.sender_id != file.uploaded.uploader_id => {
                Err(FileError::NotTheUploader)
            }
            (Attach { carrier, .. }, Self::Kept(file)) if file.carriers.contains(&carrier) => Ok(vec![]),
            (Attach { .. }, Self::Kept(file)) if file.carriers.len() >= MAX_CARRIERS => Err(FileError::SentTooOften),
            (Attach { carrier, at }, Self::Kept(file)) => {
                let file_id = file.uploaded.file_id;
                Ok(vec![FileEvent::Attached(FileAttached { file_id, carrier, attached_at: at })])
            }

            (Detach { message_id, at }, Self::Kept(file)) if file.is_carried_by(message_id) => {
                let file_id = file.uploaded.file_id;
                Ok(vec![FileEvent::Detached(FileDetached { file_id, message_id, detached_at: at })])
            }
            (Detach { .. }, Self::Unknown | Self::Kept(_) | Self::Removed) => Ok(vec![]),

            (Remove { .. }, Self::Unknown) => Err(FileError::NoSuchFile),
            (Remove { .. }, Self::Removed) => Ok(vec![]),
            (Remove { idle_since, .. }, Self::Kept(file))
                if !file.carriers.is_empty() || file.idle_since > idle_since =>
            {
                Err(FileError::InUse)
            }
            (Remove { at, .. }, Self::Kept(file)) => {
                Ok(vec![FileEvent::Removed(FileRemoved { file_id: file.uploaded.file_id, removed_at: at })])
            }
        }
    }

    fn evolve(&mut self, event: &FileEvent) {
        *self = match (event, std::mem::take(self)) {
            (FileEvent::Uploaded(event), Self::Unknown) => {
                Self::Kept(Kept { uploaded: event.clone(), carriers: vec![], idle_since: event.uploaded_at })
            }
            (FileEvent::Attached(event), Self::Kept(mut file)) => {
                file.carriers.push(event.carrier);
                Self::Kept(file)
            }
            (FileEvent::Detached(event), Self::Kept(mut file)) => {
                file.carriers.retain(|carrier| carrier.message_id != event.message_id);
                file.idle_since = event.detached_at;
                Self::Kept(file)
            }
            (FileEvent::Removed(_), Self::Kept(_)) => Self::Removed,
            (
                FileEvent::Uploaded(_) | FileEvent::Attached(_) | FileEvent::Detached(_) | FileEvent::Removed(_),
                unchanged,
            ) => unchanged,
        };
    }

    fn heap_bytes(&self) -> usize {
        let Self::Kept(Kept { uploaded, carriers, .. }) = self else { return 0 };
        let strings = uploaded.name.heap_bytes() + uploaded.content_type.capacity() + uploaded.sha256.capacity();
        strings + carriers.capacity() * size_of::<Carrier>()
    }
}

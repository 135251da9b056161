//! Files: taking them in, handing them out, sending them with messages, and giving up those that no message carries.

use std::sync::Arc;

use domain::file::{Carrier, File, FileCommand, FileError, FileUploaded, Kept, UploadFile};
use domain::message::{Message, MessageSent};
use domain::{ContentType, FileId, FileName, MessageId, Timestamp, UserId};
use event_store::Metadata;

use crate::caller::by_the_system;
use crate::repository::{Created, Refusal};
use crate::state_cache::Loaded;
use crate::{Commands, Done, Error, Request};

/// Time for which a file without a message is kept, in milliseconds.
const IDLE_MS: i64 = 24 * 60 * 60 * 1000;
/// Files that are looked at in one sweep.
const LIMIT: u32 = 100;

/// A file whose bytes are kept.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Under which its bytes are kept.
    pub id: FileId,
    /// Name given by the uploader.
    pub name: FileName,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Media type.
    pub content_type: ContentType,
    /// Of its bytes, in hexadecimal digits.
    pub sha256: String,
}

impl Commands {
    /// Takes a file in whose bytes are kept already.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn upload_file(&self, request: &Request, new: NewFile) -> Result<Done<FileUploaded>, Error> {
        let upload = FileCommand::Upload(UploadFile {
            id: new.id,
            business_id: request.caller.business_id,
            uploader_id: request.caller.user_id,
            name: new.name,
            size_bytes: new.size_bytes,
            content_type: new.content_type,
            sha256: new.sha256,
            at: self.clock.now(),
        });
        let metadata = request.metadata(request.caller.business_id);
        match self.repository.create::<File>(&new.id.to_string(), upload, &metadata).await? {
            Created::New(file) => {
                let uploaded = file
                    .state
                    .kept()
                    .map(|file| file.uploaded.clone())
                    .ok_or_else(|| Error::rule(&FileError::NoSuchFile))?;
                Ok(self.done(uploaded, file.position))
            }
            Created::Existing(_) => Err(Error::rule(&FileError::AlreadyUploaded)),
        }
    }

    /// A file that the caller may have: its uploader, and the parties of the messages that carry it. Which those are, the messages
    /// say, as they are now: what a file knows of them was written down before they came.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such file, or none that the caller may have.
    pub async fn file_for(&self, request: &Request, id: FileId) -> Result<Done<FileUploaded>, Error> {
        let user = request.caller.user_id;
        // What is remembered may be a moment old, and who has just been told of a file must not be told that there is none.
        for file in [self.file(id).await?, self.repository.read::<File>(&id.to_string()).await?] {
            let Some(kept) = file.state.kept() else { continue };
            if self.is_for(kept, user).await? {
                return Ok(Done { value: kept.uploaded.clone(), position: file.position });
            }
        }
        Err(Error::rule(&FileError::NoSuchFile))
    }

    async fn is_for(&self, file: &Kept, user: UserId) -> Result<bool, Error> {
        if file.uploaded.uploader_id == user {
            return Ok(true);
        }
        for carrier in file.carriers_of(user) {
            let message = self.carries(carrier.message_id, file.uploaded.file_id).await?;
            if message.is_some_and(|message| message.is_visible_to(user)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Of these files, those that nothing is known of, or not any more. For finding bytes that were left by a node that died.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn unknown_files(&self, ids: Vec<FileId>) -> Result<Vec<FileId>, Error> {
        let mut unknown = vec![];
        for id in ids {
            // Not from what is remembered: nobody asks for these.
            if self.repository.replay::<File>(&id.to_string()).await?.state.kept().is_none() {
                unknown.push(id);
            }
        }
        Ok(unknown)
    }

    /// Returns the files of a message; deleted ones are omitted.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn uploaded(&self, files: &[FileId]) -> Result<Vec<FileUploaded>, Error> {
        let mut uploaded = vec![];
        for file in files {
            uploaded.extend(self.file(*file).await?.state.kept().map(|file| file.uploaded.clone()));
        }
        Ok(uploaded)
    }

    /// Gives up files that no message has carried for a day. Returns them: their bytes are to be deleted, which may be done again
    /// and again. To be called now and then; any number of nodes may do it at the same time.
    ///
    /// # Errors
    /// If the log or the database is unavailable. The next run finds what is left.
    pub async fn sweep_files(&self) -> Result<Vec<FileId>, Error> {
        let before = self.clock.now().plus_ms(-IDLE_MS);
        for (file, message) in self.lookups.stale_carriers(before, LIMIT).await? {
            // One that can't be helped must not keep the others.
            if let Err(error) = self.take_from_gone(file, message).await {
                tracing::warn!(%error, %file, "detaching a file from a message that is gone failed; the next sweep retries");
            }
        }
        let mut removed = vec![];
        for file in self.lookups.idle_files(before, LIMIT).await? {
            match self.remove_idle(file, before).await {
                Ok(true) => removed.push(file),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, %file, "removing an unused file failed; the next sweep retries"),
            }
        }
        Ok(removed)
    }

    /// Takes a file from a message, unless that carries it after all: the lookup may be wrong.
    async fn take_from_gone(&self, file: FileId, message: MessageId) -> Result<(), Error> {
        let Some(kept) = self.file(file).await?.state.kept().cloned() else { return Ok(()) };
        if self.carries(message, file).await?.is_some() {
            return Ok(());
        }
        self.detach(&by_the_system(kept.uploaded.business_id, self.ids.next()), message, &[file]).await
    }

    /// Returns true if a file is removed, now or before; a node may have died before its bytes were deleted.
    async fn remove_idle(&self, id: FileId, idle_since: Timestamp) -> Result<bool, Error> {
        let file = self.file(id).await?;
        let Some(kept) = file.state.kept() else { return Ok(true) };
        let remove = FileCommand::Remove { idle_since, at: self.clock.now() };
        let metadata = by_the_system(kept.uploaded.business_id, self.ids.next());
        match self.repository.execute::<File>(&id.to_string(), remove, &metadata).await {
            Ok(_) => Ok(true),
            // It was sent meanwhile: the lookup was late.
            Err(Refusal::Rule(FileError::InUse)) => Ok(false),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The message, if it can be read and carries this file.
    async fn carries(&self, message: MessageId, file: FileId) -> Result<Option<MessageSent>, Error> {
        let message = self.repository.replay::<Message>(&message.to_string()).await?;
        let standing = message.state.visible().map(|message| message.sent.clone());
        Ok(standing.filter(|sent| sent.attachments.contains(&file)))
    }

    /// Gives files to a message that is about to be sent.
    pub(crate) async fn attach(&self, request: &Request, carrier: Carrier, files: &[FileId]) -> Result<(), Error> {
        let metadata = request.metadata(request.caller.business_id);
        for file in files {
            let attach = FileCommand::Attach { carrier, at: self.clock.now() };
            self.repository.execute::<File>(&file.to_string(), attach, &metadata).await?;
        }
        Ok(())
    }

    /// Takes files from a message that is deleted, or was never sent.
    pub(crate) async fn detach(
        &self,
        metadata: &Metadata,
        message_id: MessageId,
        files: &[FileId],
    ) -> Result<(), Error> {
        for file in files {
            let detach = FileCommand::Detach { message_id, at: self.clock.now() };
            let detached = self.repository.execute::<File>(&file.to_string(), detach, metadata).await;
            self.done((), detached?.position);
        }
        Ok(())
    }

    pub(crate) async fn file(&self, id: FileId) -> Result<Arc<Loaded<File>>, Error> {
        self.repository.load::<File>(&id.to_string()).await
    }
}

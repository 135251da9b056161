//! The messenger API: for the people of a business.

mod calls;
mod conversations;
mod events;
mod files;
mod login;
mod me;
mod messages;
mod people;
mod sessions;

pub(crate) use calls::{CallsApi, call_status};
pub(crate) use conversations::ConversationsApi;
pub(crate) use events::EventsApi;
pub(crate) use files::FilesApi;
pub(crate) use login::MessengerLoginApi;
pub(crate) use me::{MeApi, avatar};
pub(crate) use messages::{Message, MessagesApi, SendMessage, message_id};
pub(crate) use people::PeopleApi;
pub(crate) use sessions::SessionsApi;

//! The messenger API: for the people of a business.

mod login;
mod messages;

pub(crate) use login::MessengerLoginApi;
pub(crate) use messages::MessagesApi;

//! Noting what the devices of people have been handed.

use domain::delivery::{Delivered, DeliveryCommand, DeliveryCursors, DeliveryError, HandOver};
use domain::reading::Reading;
use domain::{BusinessId, UserId};

use crate::caller::by_the_system;
use crate::repository::Refusal;
use crate::{Commands, Error};

/// Result of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// The receipt is recorded, or there was no need to.
    Done,
    /// Too soon after the last receipt; retry in a moment.
    TooSoon,
}

impl Commands {
    /// Notes that a device of a person has been handed these messages: the last one of each conversation. What is known, or has
    /// been read, changes nothing.
    ///
    /// # Errors
    /// If the log is unavailable.
    pub async fn hand_over(
        &self,
        recipient_id: UserId,
        business_id: BusinessId,
        messages: Vec<Delivered>,
    ) -> Result<HandedOver, Error> {
        let known = self.repository.load::<DeliveryCursors>(&recipient_id.to_string()).await?;
        let mut up_to = vec![];
        for message in messages {
            // What is remembered never runs ahead of the log.
            if !known.state.is_known(&message) && !self.is_read(recipient_id, &message).await? {
                up_to.push(message);
            }
        }
        if up_to.is_empty() {
            return Ok(HandedOver::Done);
        }
        let at = self.clock.now();
        let hand_over = DeliveryCommand::HandOver(HandOver { recipient_id, business_id, up_to, at });
        let metadata = by_the_system(business_id, self.ids.next());
        match self.repository.execute::<DeliveryCursors>(&recipient_id.to_string(), hand_over, &metadata).await {
            Ok(delivery) => Ok(self.done(HandedOver::Done, delivery.position).value),
            Err(Refusal::Rule(DeliveryError::TooSoon)) => Ok(HandedOver::TooSoon),
            Err(Refusal::Other(error)) => Err(error),
        }
    }

    async fn is_read(&self, recipient: UserId, message: &Delivered) -> Result<bool, Error> {
        let stream = Reading::stream_id(message.conversation_id, recipient);
        Ok(self.repository.load::<Reading>(&stream).await?.state.read_position >= message.message_position)
    }
}

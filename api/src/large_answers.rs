//! Large answers are held until their clients have taken them in, as slowly as those like: a user has so many of them at once.

use bytes::Bytes;
use domain::UserId;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Body as _;
use poem::{Body, Response};

use crate::error::ApiError;
use crate::shares::{Share, Shares};

/// Bytes from which on an answer is large.
const LARGE_BYTES: u64 = 64 * 1024;
/// Large answers of a user that wait to be taken in. Browsers ask for six things at once.
const OF_A_USER: usize = 16;

/// Shares the room for large answers out among users.
pub(crate) struct LargeAnswers(Shares<UserId>);

/// An answer, and the share of its user until it is written.
struct Held {
    bytes: Bytes,
    _share: Share<UserId>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl LargeAnswers {
    pub(crate) fn new() -> Self {
        Self(Shares::new(OF_A_USER))
    }

    /// The answer to a user, if it is not one large one too many. What is made as it is taken in, such as a file, is never large.
    ///
    /// # Errors
    /// [`ApiError::RateLimit`] when the user takes in too many already.
    pub(crate) async fn hold(&self, user: UserId, mut answer: Response) -> Result<Response, ApiError> {
        let body: BoxBody<_, _> = answer.take_body().into();
        if body.size_hint().exact().is_none_or(|bytes| bytes <= LARGE_BYTES) {
            answer.set_body(body);
            return Ok(answer);
        }
        let share = self.0.take(&user).ok_or_else(|| {
            ApiError::too_many("Too many large answers of yours at once: read those that you have asked for")
        })?;
        let bytes = body.collect().await.map_err(|error| ApiError::internal(&error))?.to_bytes();
        answer.set_body(Body::from_bytes(Bytes::from_owner(Held { bytes, _share: share })));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use uuid::Uuid;

    use super::*;

    fn large() -> Body {
        Body::from_vec(vec![b'x'; 100_000])
    }

    #[tokio::test]
    async fn a_user_takes_in_so_many_large_answers_at_once() {
        let (answers, alice, bob) = (LargeAnswers::new(), UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let answer = async |user, body: Body| answers.hold(user, Response::builder().body(body)).await;
        let mut held = vec![];
        for _ in 0..OF_A_USER {
            held.push(answer(alice, large()).await.unwrap().into_body().into_bytes().await.unwrap());
        }
        assert!(matches!(answer(alice, large()).await, Err(ApiError::RateLimit(..))));
        assert!(answer(alice, Body::from_string("small".to_owned())).await.is_ok());
        let made_meanwhile = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 100_000]))]);
        assert!(answer(alice, Body::from_bytes_stream(made_meanwhile)).await.is_ok());
        assert!(answer(bob, large()).await.is_ok());
        assert_eq!(held.pop().unwrap().len(), 100_000);
        assert!(answer(alice, large()).await.is_ok(), "one was taken in");
    }
}

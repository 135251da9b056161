//! Writing to the log.

use eventstore::{Error, EventData, StreamState, WriteResult};
use uuid::Uuid;

use super::connection::{APPEND_TIME, PATIENCE, Session, within};
use super::failure::Failure;
use super::reader::Reader;
use super::record::event_data;
use crate::{Append, AppendError, Appended, Conflict, Expected, StoreError, StreamId};

/// Result of an append, as far as the server states it.
enum Outcome {
    Written(WriteResult),
    /// The stream has another version than expected; which one.
    WrongVersion(u64),
    TooLarge,
}

impl Reader {
    /// Appends. To do it again after a failure is safe: the stream has the expected version only once, and if it hasn't any more, what
    /// stands there tells a retry from a conflict.
    pub(super) async fn append(&self, append: &Append) -> Result<Appended, AppendError> {
        let events = append.events.iter().map(|event| event_data(event, &append.metadata));
        let events: Vec<EventData> =
            events.collect::<Result<_, _>>().map_err(|error| StoreError::new(APPENDING, error))?;
        let ids: Vec<Uuid> = append.events.iter().map(|event| event.event_id).collect();
        let expected = append.expected.version();
        let call = |session| attempt(session, &append.stream, append.expected, events.clone());
        let appended = match self.connection.retrying(PATIENCE, APPENDING, call).await? {
            Outcome::TooLarge => return Err(AppendError::Unacceptable),
            Outcome::Written(result) => {
                if let Some(appended) = trusted(&result, expected, &ids) {
                    appended
                } else {
                    let written = self.events_are(&append.stream, expected, &ids).await?;
                    written.ok_or_else(|| StoreError::new(APPENDING, Failure::Missing))?
                }
            }
            Outcome::WrongVersion(actual) => {
                let conflict = Conflict { expected, actual };
                if actual < expected + ids.len() as u64 {
                    return Err(conflict.into());
                }
                self.events_are(&append.stream, expected, &ids).await?.ok_or(conflict)?
            }
        };
        self.saw(appended.position);
        Ok(appended)
    }
}

const APPENDING: &str = "appending";

async fn attempt(
    session: Session,
    stream: &StreamId,
    expected: Expected,
    events: Vec<EventData>,
) -> Result<Outcome, Failure> {
    let state = match expected {
        Expected::NoStream | Expected::Version(0) => StreamState::NoStream,
        Expected::Version(version) => StreamState::StreamRevision(version - 1),
    };
    let options = session.append_options().stream_state(state);
    match within(APPEND_TIME, session.client.append_to_stream(stream.as_str(), &options, events)).await {
        Ok(written) => Ok(Outcome::Written(written)),
        Err(Failure::Refused(Error::WrongExpectedVersion { current, .. })) => {
            Ok(Outcome::WrongVersion(match current {
                eventstore::CurrentRevision::Current(revision) => revision + 1,
                eventstore::CurrentRevision::NoStream => 0,
            }))
        }
        Err(failure) if failure.is_too_large() => Ok(Outcome::TooLarge),
        Err(failure) => Err(failure),
    }
}

/// What the server says about an append, where that can be relied on. It says where one event is. Of several, it doesn't say
/// which one's place it gives, and for a retry it may give none.
fn trusted(result: &WriteResult, expected: u64, ids: &[Uuid]) -> Option<Appended> {
    let eventstore::Position { commit, prepare } = result.position;
    let is_clear = ids.len() == 1 && commit > 0 && commit == prepare && result.next_expected_version == expected;
    is_clear.then_some(Appended { position: commit, stream_version: expected + 1 })
}

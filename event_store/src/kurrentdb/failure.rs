//! Failures of a server, and whether a retry helps.

use eventstore::Error;

use super::address::NotAnAddress;

/// Statuses of gRPC, whose type the client doesn't pass on.
const CANCELLED: i32 = 1;
const INVALID_ARGUMENT: i32 = 3;
const RESOURCE_EXHAUSTED: i32 = 8;
const ABORTED: i32 = 10;

/// Why something couldn't be done with the server.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Address(#[from] NotAnAddress),
    /// The client couldn't be made: a certificate that isn't there, for example.
    #[error("the client of KurrentDB can't be set up: {0}")]
    Client(String),
    #[error(transparent)]
    Refused(#[from] Error),
    #[error("KurrentDB didn't answer in time")]
    TimedOut,
    #[error("KurrentDB ended the subscription")]
    Ended,
    /// An assumption about positions does not hold.
    #[error("an event of ours has no position of its own: commit {commit}, prepare {prepare}")]
    Misplaced { commit: u64, prepare: u64 },
    #[error("KurrentDB acknowledged an append that isn't there")]
    Missing,
}

/// Effect of a failure on the client that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The server has answered, if only by a refusal.
    None,
    /// It may come back by itself.
    Connection,
    /// It is of no use any more.
    Client,
}

impl Failure {
    /// Returns true if a retry may help. An append may have been committed all the same.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::TimedOut | Self::Ended => true,
            Self::Refused(error) => match error {
                // Whatever is unavailable, unknown or internal; a connection that is lost is one of these. So is a cluster that
                // has no leader at the moment.
                Error::ServerError(_)
                | Error::NotLeaderException(_)
                | Error::ConnectionClosed
                | Error::GrpcConnectionError(_)
                | Error::DeadlineExceeded => true,
                // A time-out within the server, a stream that was reset, a server that is overrun.
                Error::Grpc { code, .. } => [CANCELLED, RESOURCE_EXHAUSTED, ABORTED].contains(&i32::from(*code)),
                _ => false,
            },
            Self::Address(_) | Self::Client(_) | Self::Misplaced { .. } | Self::Missing => false,
        }
    }

    /// Returns the effect on the client.
    pub(super) fn damage(&self) -> Damage {
        match self {
            // A client whose first connection fails is dead for good, and so is one that can't follow a leader.
            Self::Refused(Error::ConnectionClosed | Error::GrpcConnectionError(_)) => Damage::Client,
            // Its connection is silent, and would be kept until it is found dead.
            Self::TimedOut => Damage::Client,
            Self::Refused(Error::ServerError(_)) => Damage::Connection,
            _ => Damage::None,
        }
    }

    /// Returns true if the server considers an append too large. Its limits are settings of its own.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::Refused(Error::Grpc { code, message })
            if i32::from(*code) == INVALID_ARGUMENT && message.to_ascii_lowercase().contains("maximum append"))
    }

    /// Returns true if the server rejects a position as not being in its log.
    pub(super) fn is_invalid_place(&self) -> bool {
        matches!(self, Self::Refused(Error::Grpc { code, message })
            if i32::from(*code) == INVALID_ARGUMENT && message.contains("invalid position"))
    }
}

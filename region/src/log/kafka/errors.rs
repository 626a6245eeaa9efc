//! Kafka's words in the region's.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::{Error, Result};

/// How long to wait before asking a broker again that asked for fewer requests, in milliseconds.
const RETRY_AFTER_MS: u64 = 500;

/// What a client of Kafka says, as an error of that part.
pub(crate) fn kafka_error(what: &'static str, error: KafkaError) -> Error {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => Error::Full { what, source: Some(error.into()) },
        Some(Code::ThrottlingQuotaExceeded) => Error::Throttled { what, retry_after_ms: RETRY_AFTER_MS },
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => Error::Invalid(format!("{what}: {error}")),
        Some(Code::UnknownMemberId | Code::IllegalGeneration | Code::AssignmentLost | Code::FencedInstanceId) => {
            Error::Conflict { what: format!("{what} of a group with other members") }
        }
        Some(
            Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::PurgeQueue
            | Code::PurgeInflight
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::RebalanceInProgress
            | Code::WaitingForCoordinator
            | Code::UnknownTopicOrPartition
            | Code::KafkaStorageError,
        ) => Error::Unavailable { what, source: Some(error.into()) },
        _ => Error::Failed { what, source: error.into() },
    }
}

/// Runs a call of Kafka's client that blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    call: impl FnOnce() -> rdkafka::error::KafkaResult<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => answer.map_err(|error| kafka_error(what, error)),
        Err(error) => Err(Error::Failed { what, source: error.into() }),
    }
}

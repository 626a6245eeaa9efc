//! Kafka's words in the region's.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use crate::{Error, Result};

/// How long to wait before asking a broker again that asked for fewer requests, in milliseconds.
const RETRY_AFTER_MS: u64 = 500;

/// What a client of Kafka says, as an error of that part.
pub(crate) fn kafka_error(what: &'static str, error: KafkaError) -> Error {
    use RDKafkaErrorCode as Code;
    // The library tells no code of an admin's operation.
    let code = if let KafkaError::AdminOp(code) = &error { Some(*code) } else { error.rdkafka_error_code() };
    match code {
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
            // The same two in the client's own words, while the brokers' answer lacks them: a broker that was fenced leads nothing.
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::ReplicaNotAvailable
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::KafkaStorageError,
        ) => Error::Unavailable { what, source: Some(error.into()) },
        _ => Error::Failed { what, source: error.into() },
    }
}

/// Runs a call of Kafka's client that blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    call: impl FnOnce() -> KafkaResult<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => answer.map_err(|error| kafka_error(what, error)),
        Err(error) => Err(Error::Failed { what, source: error.into() }),
    }
}

/// Notes what Kafka's client says of its own accord. That a partition has been read to its end is no failure: whoever reads is
/// told it anyway.
pub(super) fn note(error: &KafkaError, reason: &str) {
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
        tracing::trace!(reason, "a partition's end");
    } else {
        tracing::error!(%error, reason, "Kafka's client");
    }
}

/// From one question to a broker that is not ready to the next.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a partition may be without a leader before that is answered.
const LEADERLESS: Duration = Duration::from_secs(5);

/// Asks a group's coordinator until it is ready, or `within` is over. A broker that has just started reads for seconds what its
/// groups have committed, and the client hands its refusal on at once. Blocks.
pub(super) fn when_coordinated<T>(within: Duration, ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    while_passing(within, awaits_coordinator, ask)
}

/// Asks a partition's leader until there is one, or 5 s are over: for moments after a broker has started, or another one has
/// taken over, the one that is asked says that it does not lead, or names the topic without the partition. A log never loses
/// partitions, so one that is not named will be. Blocks.
pub(super) fn when_led<T>(ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    while_passing(LEADERLESS, awaits_leader, ask)
}

fn while_passing<T>(
    within: Duration,
    passes: fn(&KafkaError) -> bool,
    mut ask: impl FnMut() -> KafkaResult<T>,
) -> KafkaResult<T> {
    let deadline = Instant::now() + within;
    loop {
        match ask() {
            Err(error) if passes(&error) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
}

fn awaits_leader(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::UnknownPartition
        )
    )
}

fn awaits_coordinator(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::WaitingForCoordinator
                | Code::BrokerTransportFailure
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        refusals: &[RDKafkaErrorCode],
        within: Duration,
        expected: std::result::Result<(), RDKafkaErrorCode>,
        asked: usize,
    ) {
        let mut times = 0;
        let answer = when_coordinated(within, || {
            times += 1;
            refusals.get(times - 1).map_or(Ok(()), |code| Err(KafkaError::OffsetFetch(*code)))
        });
        assert_eq!(answer.map_err(|error| error.rdkafka_error_code().unwrap()), expected);
        assert_eq!(times, asked);
    }

    #[test]
    fn a_broker_that_leads_nothing_at_the_moment_is_away() {
        use RDKafkaErrorCode as Code;
        for code in [Code::UnknownPartition, Code::UnknownTopic, Code::OffsetNotAvailable, Code::LeaderNotAvailable] {
            let error = kafka_error("log", KafkaError::MetadataFetch(code));
            assert!(matches!(error, Error::Unavailable { .. }) && error.retryable(), "{code:?}: {error:?}");
        }
        let late = kafka_error("log", KafkaError::AdminOp(Code::OperationTimedOut));
        assert!(matches!(late, Error::Unavailable { .. }), "{late:?}");
        let refused = kafka_error("log", KafkaError::AdminOp(Code::TopicAuthorizationFailed));
        assert!(matches!(refused, Error::Failed { .. }), "{refused:?}");
        let refused = kafka_error("log", KafkaError::MetadataFetch(Code::TopicAuthorizationFailed));
        assert!(matches!(refused, Error::Failed { .. }), "{refused:?}");
    }

    #[test]
    fn a_partition_without_a_leader_is_asked_again_and_a_broker_that_is_away_is_not() {
        use RDKafkaErrorCode as Code;
        let mut answers = [Code::NotLeaderForPartition, Code::LeaderNotAvailable, Code::UnknownPartition].into_iter();
        let answer = when_led(|| answers.next().map_or(Ok(7), |code| Err(KafkaError::MetadataFetch(code))));
        assert_eq!(answer.unwrap(), 7);
        let away = when_led(|| Err::<(), _>(KafkaError::MetadataFetch(Code::BrokerTransportFailure)));
        assert_eq!(away.unwrap_err().rdkafka_error_code(), Some(Code::BrokerTransportFailure));
    }

    #[test]
    fn a_coordinator_that_is_still_reading_is_asked_again() {
        use RDKafkaErrorCode as Code;
        let long = Duration::from_secs(60);
        check(&[], long, Ok(()), 1);
        check(&[Code::CoordinatorLoadInProgress, Code::NotCoordinator], long, Ok(()), 3);
        check(&[Code::GroupAuthorizationFailed], long, Err(Code::GroupAuthorizationFailed), 1);
        check(&[Code::NotCoordinator; 3], Duration::ZERO, Err(Code::NotCoordinator), 1);
    }
}

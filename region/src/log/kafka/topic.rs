//! Topics: created as they should be, recognised by the id that Kafka gave them.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::bindings as native;
use rdkafka::client::DefaultClientContext;
use rdkafka::types::{RDKafka, RDKafkaErrorCode};
use tokio::time::{Instant, sleep};

use super::{KafkaOptions, REQUEST_TIMEOUT, WHAT, blocking, kafka_error};
use crate::{Error, LogId, Result};

/// The client that creates and describes topics.
pub(crate) type Admin = Arc<AdminClient<DefaultClientContext>>;

/// How long it is begun anew to create a topic, which may be repeated: a broker that has just started, or is busy, may take
/// longer than one request may.
const CREATED_WITHIN: Duration = Duration::from_secs(15);
/// How long a topic just created may take to be known.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// What a topic is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicKind {
    Ops,
    DeadLetters,
    Control,
}

impl TopicKind {
    const ALL: [Self; 3] = [Self::Ops, Self::DeadLetters, Self::Control];

    fn name(self) -> &'static str {
        match self {
            TopicKind::Ops => "ops",
            TopicKind::DeadLetters => "dead-letters",
            TopicKind::Control => "control",
        }
    }
}

/// Deletes all topics with what they hold: what a broker looks like that was wiped, for tests.
pub(crate) async fn delete_all(options: &KafkaOptions) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        options.client().create().map_err(|error| kafka_error(WHAT, error))?;
    let names = TopicKind::ALL.map(|kind| options.named(kind.name()));
    let within = AdminOptions::new().operation_timeout(Some(KNOWN_WITHIN));
    let deleted = admin.delete_topics(&names.each_ref().map(String::as_str), &within).await;
    for outcome in deleted.map_err(|error| kafka_error(WHAT, error))? {
        outcome.map_err(|(_, code)| kafka_error(WHAT, rdkafka::error::KafkaError::AdminOp(code)))?;
    }
    Ok(())
}

/// A topic as it was found or created.
#[derive(Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: LogId,
    pub(crate) partitions: u32,
}

impl Topic {
    /// Finds the topic, or creates it.
    pub(crate) async fn ensure(options: &KafkaOptions, admin: &Admin, kind: TopicKind) -> Result<Self> {
        let partitions = match kind {
            TopicKind::Ops => options.partitions,
            // The control plane's offsets are one order.
            TopicKind::DeadLetters | TopicKind::Control => 1,
        };
        let name = options.named(kind.name());
        let begin = Instant::now();
        loop {
            match create(options, admin, &name, partitions, kind == TopicKind::Ops).await {
                Err(Error::Unavailable { .. }) if begin.elapsed() < CREATED_WITHIN => {
                    sleep(Duration::from_millis(100)).await;
                }
                done => break done?,
            }
        }
        let deadline = Instant::now() + KNOWN_WITHIN;
        let found = loop {
            match (topic_id(admin, &name).await, partitions_of(admin, &name).await) {
                (Ok(id), Ok(found)) if found > 0 => break (id, found),
                (Err(error), _) | (_, Err(error)) if Instant::now() > deadline => return Err(error),
                _ if Instant::now() > deadline => return Err(Error::Unavailable { what: WHAT, source: None }),
                _ => sleep(Duration::from_millis(100)).await,
            }
        };
        if found.1 != partitions {
            return Err(Error::Invalid(format!(
                "topic {name} has {} partitions and {partitions} are configured: the number is fixed for the life of a log",
                found.1
            )));
        }
        Ok(Self { name, id: found.0, partitions })
    }

    /// Whether the topic is still the one that was opened.
    pub(crate) async fn check(&self, admin: &Admin) -> Result<()> {
        let now = topic_id(admin, &self.name).await?;
        if now == self.id {
            return Ok(());
        }
        Err(Error::Gone {
            what: format!("log {:032x}, in whose place Kafka has log {:032x},", self.id.0, now.0),
            earliest: None,
        })
    }
}

async fn create(options: &KafkaOptions, admin: &Admin, name: &str, partitions: u32, kept: bool) -> Result<()> {
    let replicas = options.replicas.max(1);
    let in_sync = if replicas > 2 { "2" } else { "1" };
    let topic = NewTopic::new(name, partitions.cast_signed(), TopicReplication::Fixed(replicas.cast_signed()))
        .set("min.insync.replicas", in_sync)
        .set("unclean.leader.election.enable", "false")
        .set("max.message.bytes", "1048576");
    let topic = if kept {
        // Only the cleanup removes records, below the trim horizon.
        topic.set("cleanup.policy", "delete").set("retention.ms", "-1").set("retention.bytes", "-1")
    } else {
        topic.set("cleanup.policy", "compact")
    };
    let admin_options =
        AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let done = admin.create_topics([&topic], &admin_options).await.map_err(|error| kafka_error(WHAT, error))?;
    for outcome in done {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                let source = format!("topic {name} cannot be created: {code}");
                return Err(match kafka_error(WHAT, rdkafka::error::KafkaError::AdminOp(code)) {
                    Error::Unavailable { what, .. } => Error::Unavailable { what, source: Some(source.into()) },
                    _ => Error::Failed { what: WHAT, source: source.into() },
                });
            }
        }
    }
    Ok(())
}

async fn partitions_of(admin: &Admin, name: &str) -> Result<u32> {
    let (admin, name) = (Arc::clone(admin), name.to_owned());
    let count = move || {
        let metadata = admin.inner().fetch_metadata(Some(&name), REQUEST_TIMEOUT)?;
        Ok(metadata.topics().first().map_or(0, |topic| topic.partitions().len()))
    };
    Ok(u32::try_from(blocking(WHAT, count).await?).unwrap_or(0))
}

/// The id that Kafka gave the topic when it was created.
async fn topic_id(admin: &Admin, name: &str) -> Result<LogId> {
    let admin = Arc::clone(admin);
    let name = CString::new(name).map_err(|error| Error::Invalid(error.to_string()))?;
    let asked = tokio::task::spawn_blocking(move || {
        let client = admin.inner().native_ptr();
        // SAFETY: the client lives as long as `admin`, which this closure holds; `name` is a C string.
        unsafe { describe(client, &name) }
    });
    let id = asked.await.map_err(|error| Error::Failed { what: WHAT, source: error.into() })??;
    if id.0 == 0 {
        return Err(Error::Unavailable { what: WHAT, source: Some("the brokers give topics no ids".into()) });
    }
    Ok(id)
}

/// Frees what a call of the C library made.
struct Freed<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Freed<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer came from the library with this very function to free it, and is freed once.
            unsafe { (self.1)(self.0) }
        }
    }
}

/// Asks for a topic's description. The Rust bindings do not carry this request, and only it tells a topic from another one
/// created later under its name: metadata, offsets and the cluster's id may all be the same.
///
/// # Safety
/// `client` is a live client.
unsafe fn describe(client: *mut RDKafka, name: &CString) -> Result<LogId> {
    let failed = |code: native::rd_kafka_resp_err_t| {
        kafka_error(WHAT, rdkafka::error::KafkaError::AdminOp(RDKafkaErrorCode::from(code)))
    };
    let time_limit = i32::try_from(REQUEST_TIMEOUT.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: every call gets pointers that the library gave before and that live until the guards are dropped, in the
    // order the library asks for: topics, options and event before the queue; the result lives as long as its event.
    unsafe {
        let queue = Freed(native::rd_kafka_queue_new(client), native::rd_kafka_queue_destroy);
        let mut names = [name.as_ptr()];
        let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let topics = Freed(topics, native::rd_kafka_TopicCollection_destroy);
        let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = native::rd_kafka_AdminOptions_new(client, operation);
        let options = Freed(options, native::rd_kafka_AdminOptions_destroy);
        native::rd_kafka_AdminOptions_set_request_timeout(options.0, time_limit, std::ptr::null_mut(), 0);
        native::rd_kafka_DescribeTopics(client, topics.0, options.0, queue.0);
        let event = Freed(native::rd_kafka_queue_poll(queue.0, time_limit), native::rd_kafka_event_destroy);
        if event.0.is_null() {
            return Err(Error::Unavailable { what: WHAT, source: None });
        }
        let code = native::rd_kafka_event_error(event.0);
        if code != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(code));
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event.0);
        let mut count = 0;
        let described = native::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if result.is_null() || described.is_null() || count != 1 {
            return Err(Error::Unavailable { what: WHAT, source: None });
        }
        let error = native::rd_kafka_TopicDescription_error(*described);
        let code = native::rd_kafka_error_code(error);
        if code != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(code));
        }
        let id = native::rd_kafka_TopicDescription_topic_id(*described);
        let high = native::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
        let low = native::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
        Ok(LogId(u128::from(high) << 64 | u128::from(low)))
    }
}

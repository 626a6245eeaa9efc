//! DynamoDB: its client, its tables, its words in the region's.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use crate::ops::dynamodb::{INDEX, OpLayout};
use crate::{BoxError, Error, Result};

pub(crate) const WHAT: &str = "op store";
/// How long a table just created may take to be there.
const ACTIVE_WITHIN: Duration = Duration::from_secs(120);
/// The client tries again this often, then the caller decides.
const ATTEMPTS: u32 = 3;
const RETRY_AFTER_MS: u64 = 1000;

/// Where DynamoDB is.
#[derive(Debug, Clone)]
pub struct DynamoDbOptions {
    /// `http://host:port` of DynamoDB Local or an emulator; `None`: AWS itself.
    pub endpoint: Option<String>,
    /// AWS' name of the region, e.g. `eu-central-1`.
    pub region: String,
    /// Access key and secret; `None`: as the environment and the machine's role say.
    pub keys: Option<(String, String)>,
}

impl DynamoDbOptions {
    /// A local one, which takes any keys.
    #[must_use]
    pub fn local(endpoint: impl Into<String>) -> Self {
        let keys = Some(("local".to_owned(), "local".to_owned()));
        Self { endpoint: Some(endpoint.into()), region: "us-east-1".to_owned(), keys }
    }

    /// A client. Nothing is asked of DynamoDB yet.
    pub fn client(&self) -> BoxFuture<'_, Client> {
        Box::pin(async move { Client::new(&self.sdk_config().await) })
    }

    /// What every client of that place is configured with.
    pub fn sdk_config(&self) -> BoxFuture<'_, SdkConfig> {
        Box::pin(async move { sdk_config(self.endpoint.as_deref(), &self.region, self.keys.as_ref()).await })
    }
}

/// What clients of AWS are configured with: TLS on ring, few attempts, bounded waiting.
async fn sdk_config(endpoint: Option<&str>, region: &str, keys: Option<&(String, String)>) -> SdkConfig {
    let https = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(https)
        .region(Region::new(region.to_owned()))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(Duration::from_secs(1)))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(3))
                .operation_attempt_timeout(Duration::from_secs(10))
                .operation_timeout(Duration::from_secs(30))
                .build(),
        );
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some((key, secret)) = keys {
        loader = loader.credentials_provider(Credentials::new(key, secret, None, None, "selvedge"));
    }
    loader.load().await
}

/// Creates a table of runs unless it is there, and waits until it can be used. Its stream carries new items to a region that
/// no global table reaches.
pub(crate) async fn ensure_table(client: &Client, table: &str, layout: OpLayout) -> Result<()> {
    let deadline = Instant::now() + ACTIVE_WITHIN;
    loop {
        match client.describe_table().table_name(table).send().await {
            Ok(found) => {
                let status = found.table.and_then(|table| table.table_status);
                if matches!(status, Some(TableStatus::Active | TableStatus::Updating)) {
                    return Ok(());
                }
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                create_table(client, table, layout).await?;
            }
            Err(error) => return Err(dynamodb_error(error)),
        }
        if Instant::now() > deadline {
            return Err(Error::Unavailable { what: WHAT, source: Some(format!("table {table} is not active").into()) });
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn create_table(client: &Client, table: &str, layout: OpLayout) -> Result<()> {
    let failed = |error: aws_sdk_dynamodb::error::BuildError| Error::Failed { what: WHAT, source: error.into() };
    let attribute = |name: &str| {
        let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
        definition.build().map_err(failed)
    };
    let part =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().map_err(failed);
    let stream = StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::NewAndOldImages)
        .build()
        .map_err(failed)?;
    let mut create = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .stream_specification(stream)
        .attribute_definitions(attribute("pk")?)
        .attribute_definitions(attribute("sk")?)
        .key_schema(part("pk", KeyType::Hash)?);
    create = match layout {
        OpLayout::Split => create.key_schema(part("sk", KeyType::Range)?),
        OpLayout::Literal => {
            let index = GlobalSecondaryIndex::builder()
                .index_name(INDEX)
                .key_schema(part("doc", KeyType::Hash)?)
                .key_schema(part("sk", KeyType::Range)?)
                .projection(Projection::builder().projection_type(ProjectionType::All).build())
                .build()
                .map_err(failed)?;
            create.attribute_definitions(attribute("doc")?).global_secondary_indexes(index)
        }
    };
    match create.send().await {
        // Another process was first.
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => Ok(()),
        created => created.map(|_| ()).map_err(dynamodb_error),
    }
}

/// DynamoDB's words in the region's.
pub(crate) fn dynamodb_error<E, R>(error: SdkError<E, R>) -> Error
where
    SdkError<E, R>: std::error::Error + Send + Sync + 'static,
    E: ProvideErrorMetadata,
{
    let code = error.as_service_error().and_then(|error| error.code()).map(str::to_owned);
    let away = matches!(&error, SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_));
    let message = match error.as_service_error() {
        Some(service) => format!("{}: {}", service.code().unwrap_or("error"), service.message().unwrap_or_default()),
        None => aws_sdk_dynamodb::error::DisplayErrorContext(&error).to_string(),
    };
    let source: BoxError = message.into();
    match code.as_deref() {
        Some(
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "LimitExceededException",
        ) => Error::Throttled { what: WHAT, retry_after_ms: RETRY_AFTER_MS },
        Some("ItemCollectionSizeLimitExceededException") => Error::Full { what: WHAT, source: Some(source) },
        Some("InternalServerError" | "ServiceUnavailable" | "TransactionConflictException") => {
            Error::Unavailable { what: WHAT, source: Some(source) }
        }
        None if away => Error::Unavailable { what: WHAT, source: Some(source) },
        _ => Error::Failed { what: WHAT, source },
    }
}

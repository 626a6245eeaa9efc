//! The witness in a DynamoDB table of a third place: one item each for the lease, the newest order, and every observer.
//!
//! ```text
//! pk = lease          epoch, region, process, renewal, promoted, order; at: wall time of the write, for people
//! pk = order          id, to
//! pk = observer#<who> beat; epoch and renewal of the lease it suspects, if it does; at
//! ```

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use futures_util::future::BoxFuture;
use selvedge_region::{Error, Result};

use super::Witness;
use crate::clock;
use crate::failover::{Lease, Observation, Order, Stamp, View};

const WHAT: &str = "witness";
const LEASE: &str = "lease";
const ORDER: &str = "order";
const OBSERVER: &str = "observer#";
/// How long a table just created may take to be there.
const ACTIVE_WITHIN: std::time::Duration = std::time::Duration::from_secs(120);
/// What an observer said so long ago, in milliseconds of wall time, is removed.
const FORGOTTEN_MS: u64 = 3600 * 1000;

type Item = HashMap<String, AttributeValue>;

/// The witness in a table.
pub struct DynamoWitness {
    client: Client,
    table: String,
}

impl DynamoWitness {
    /// The witness in that table, which is created when it is missing.
    ///
    /// # Errors
    /// `Unavailable` when DynamoDB does not answer; `Failed` when it refuses to create the table.
    pub fn open(client: Client, table: String) -> BoxFuture<'static, Result<Self>> {
        Box::pin(async move {
            let deadline = tokio::time::Instant::now() + ACTIVE_WITHIN;
            loop {
                match client.describe_table().table_name(&table).send().await {
                    Ok(found) if found.table().and_then(|table| table.table_status()) == Some(&TableStatus::Active) => {
                        return Ok(Self { client, table });
                    }
                    Ok(_) => {}
                    Err(error)
                        if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
                    {
                        create(&client, &table).await?;
                    }
                    Err(error) => return Err(failed(error)),
                }
                if tokio::time::Instant::now() > deadline {
                    return Err(Error::Unavailable {
                        what: WHAT,
                        source: Some(format!("table {table} is not active").into()),
                    });
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        })
    }

    fn put(&self, key: &str) -> PutItemFluentBuilder {
        self.client.put_item().table_name(&self.table).item("pk", AttributeValue::S(key.to_owned()))
    }

    async fn forget(&self, key: &str) {
        // Somebody removes it the next time.
        let _ =
            self.client.delete_item().table_name(&self.table).key("pk", AttributeValue::S(key.to_owned())).send().await;
    }
}

impl Witness for DynamoWitness {
    fn look(&self) -> BoxFuture<'_, Result<View>> {
        Box::pin(async move {
            let mut view = View::default();
            // A few items, which fit into one page many times over.
            let page = self.client.scan().table_name(&self.table).consistent_read(true).send().await.map_err(failed)?;
            for item in page.items.unwrap_or_default() {
                let key = text(&item, "pk")?;
                match key.strip_prefix(OBSERVER) {
                    Some(observer) => {
                        if clock::wall_ms().saturating_sub(number(&item, "at")?) > FORGOTTEN_MS {
                            self.forget(&key).await;
                            continue;
                        }
                        let suspects = match item.contains_key("epoch") {
                            true => Some(Stamp { epoch: number(&item, "epoch")?, renewal: number(&item, "renewal")? }),
                            false => None,
                        };
                        let beat = number(&item, "beat")?;
                        view.observations.push(Observation { observer: observer.to_owned(), beat, suspects });
                    }
                    None if key == LEASE => view.lease = Some(lease_from(&item)?),
                    None if key == ORDER => {
                        view.order = Some(Order { id: number(&item, "id")?, to: text(&item, "to")? });
                    }
                    None => {}
                }
            }
            Ok(view)
        })
    }

    fn write<'a>(&'a self, expected: Option<Stamp>, lease: &'a Lease) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let put = self
                .put(LEASE)
                .item("epoch", n(lease.epoch))
                .item("region", AttributeValue::S(lease.region.clone()))
                .item("process", n(lease.process))
                .item("renewal", n(lease.renewal))
                .item("promoted", n(lease.promoted_ms))
                .item("order", n(lease.order))
                .item("at", n(clock::wall_ms()));
            let put = match expected {
                None => put.condition_expression("attribute_not_exists(pk)"),
                Some(stamp) => put
                    .condition_expression("epoch = :epoch AND renewal = :renewal")
                    .expression_attribute_values(":epoch", n(stamp.epoch))
                    .expression_attribute_values(":renewal", n(stamp.renewal)),
            };
            conditional(put, "the lease").await
        })
    }

    fn observe<'a>(&'a self, observation: &'a Observation) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut put = self
                .put(&format!("{OBSERVER}{}", observation.observer))
                .item("beat", n(observation.beat))
                .item("at", n(clock::wall_ms()));
            if let Some(stamp) = observation.suspects {
                put = put.item("epoch", n(stamp.epoch)).item("renewal", n(stamp.renewal));
            }
            put.send().await.map(drop).map_err(failed)
        })
    }

    fn order<'a>(&'a self, to: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let before = self.look().await?.order.map_or(0, |order| order.id);
            let put = self.put(ORDER).item("id", n(before + 1)).item("to", AttributeValue::S(to.to_owned()));
            let put = match before {
                0 => put.condition_expression("attribute_not_exists(pk)"),
                _ => put.condition_expression("id = :id").expression_attribute_values(":id", n(before)),
            };
            conditional(put, "the order").await.map(|()| before + 1)
        })
    }
}

async fn conditional(put: PutItemFluentBuilder, what: &str) -> Result<()> {
    match put.send().await {
        Err(error) if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) => {
            Err(Error::Conflict { what: what.to_owned() })
        }
        put => put.map(drop).map_err(failed),
    }
}

async fn create(client: &Client, table: &str) -> Result<()> {
    let wrong = |error: BuildError| Error::Failed { what: WHAT, source: error.into() };
    let attribute = AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash);
    let create = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute.build().map_err(wrong)?)
        .key_schema(key.build().map_err(wrong)?);
    match create.send().await {
        // Another process was first.
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => Ok(()),
        created => created.map(drop).map_err(failed),
    }
}

fn lease_from(item: &Item) -> Result<Lease> {
    Ok(Lease {
        epoch: number(item, "epoch")?,
        region: text(item, "region")?,
        process: number(item, "process")?,
        renewal: number(item, "renewal")?,
        promoted_ms: number(item, "promoted")?,
        order: number(item, "order")?,
    })
}

fn n(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn number(item: &Item, name: &str) -> Result<u64> {
    let value = item.get(name).and_then(|value| value.as_n().ok()).and_then(|value| value.parse().ok());
    value.ok_or_else(|| Error::Corrupt {
        what: "an item of the witness".to_owned(),
        detail: format!("it has no {name}"),
    })
}

fn text(item: &Item, name: &str) -> Result<String> {
    let value = item.get(name).and_then(|value| value.as_s().ok()).cloned();
    value.ok_or_else(|| Error::Corrupt {
        what: "an item of the witness".to_owned(),
        detail: format!("it has no {name}"),
    })
}

fn failed<E, R>(error: SdkError<E, R>) -> Error
where
    SdkError<E, R>: std::error::Error + Send + Sync + 'static,
    E: ProvideErrorMetadata,
{
    let refused = error.as_service_error().is_some();
    let message = match error.as_service_error() {
        Some(service) => format!("{}: {}", service.code().unwrap_or("error"), service.message().unwrap_or_default()),
        None => DisplayErrorContext(&error).to_string(),
    };
    if refused {
        return Error::Failed { what: WHAT, source: message.into() };
    }
    Error::Unavailable { what: WHAT, source: Some(message.into()) }
}

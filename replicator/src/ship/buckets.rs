//! The bucket's way to the other region: S3's own replication, configured through its API.
//!
//! The service copies objects that are written while its rule stands. What it does not bring, objects older than the rule and
//! everything at an endpoint that keeps the rule and does nothing by it, is filled in by [`super::mirror_blobs`].

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, SharedCredentialsProvider};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketVersioningStatus, DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination,
    ReplicationConfiguration, ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus, VersioningConfiguration,
};
use selvedge_region::regional::{DynamoDbOptions, S3Options};
use selvedge_region::{Error, Result};

const WHAT: &str = "replication of the bucket";

/// What is to be replicated where, and by whose leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The rule's name in the bucket: one for each region that is replicated to.
    pub id: String,
    /// Only objects whose keys begin so; empty: all.
    pub prefix: String,
    /// The other region's bucket.
    pub target: String,
    /// ARN of the role that S3 takes to read here and write there.
    pub role: String,
}

/// A client for the bucket's settings.
pub async fn client(options: &S3Options) -> Client {
    let place = DynamoDbOptions {
        endpoint: options.endpoint.clone(),
        region: options.region.clone(),
        keys: options.keys.clone(),
    };
    let shared = place.sdk_config().await;
    let mut config = Builder::from(&shared).force_path_style(options.endpoint.is_some());
    config.set_credentials_provider(shared.credentials_provider().map(SharedCredentialsProvider::new));
    Client::from_conf(config.build())
}

/// Sees to it that the bucket is replicated as the rule says; other rules of it stay. Done already, it changes nothing and
/// answers false. Both buckets need versions: this one's are turned on here, the other's by its own region.
///
/// # Errors
/// `Unavailable` when S3 does not answer or refuses.
pub async fn ensure(client: &Client, bucket: &str, rule: &Rule) -> Result<bool> {
    keep_versions(client, bucket).await?;
    let known = configured(client, bucket).await?;
    let rules = known.as_ref().map_or(&[][..], ReplicationConfiguration::rules);
    let role_stands = known.as_ref().is_some_and(|known| known.role() == rule.role);
    if role_stands && rules.iter().any(|known| says(known, rule)) {
        return Ok(false);
    }
    let mut others: Vec<_> = rules.iter().filter(|known| known.id() != Some(&rule.id)).cloned().collect();
    // Priorities of rules with filters have to differ.
    let priority = others.iter().filter_map(ReplicationRule::priority).max().unwrap_or(0) + 1;
    others.push(build(rule, priority)?);
    let configuration = ReplicationConfiguration::builder().role(&rule.role).set_rules(Some(others)).build();
    let configuration = configuration.map_err(|error| Error::Failed { what: WHAT, source: error.into() })?;
    let put = client.put_bucket_replication().bucket(bucket).replication_configuration(configuration).send();
    put.await.map_err(|error| failed(&error))?;
    Ok(true)
}

/// How the bucket is replicated at present; `None`: it is not.
///
/// # Errors
/// `Unavailable` when S3 does not answer or refuses.
pub async fn configured(client: &Client, bucket: &str) -> Result<Option<ReplicationConfiguration>> {
    match client.get_bucket_replication().bucket(bucket).send().await {
        Ok(found) => Ok(found.replication_configuration),
        Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

/// Turns the bucket's versions on, without which S3 replicates neither from it nor to it.
///
/// # Errors
/// `Unavailable` when S3 does not answer or refuses.
pub async fn keep_versions(client: &Client, bucket: &str) -> Result<()> {
    let found = client.get_bucket_versioning().bucket(bucket).send().await.map_err(|error| failed(&error))?;
    if found.status() == Some(&BucketVersioningStatus::Enabled) {
        return Ok(());
    }
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = client.put_bucket_versioning().bucket(bucket).versioning_configuration(enabled).send();
    put.await.map(drop).map_err(|error| failed(&error))
}

fn build(rule: &Rule, priority: i32) -> Result<ReplicationRule> {
    let unbuilt = |error: aws_sdk_s3::error::BuildError| Error::Failed { what: WHAT, source: error.into() };
    let target = Destination::builder().bucket(arn(&rule.target)).build().map_err(unbuilt)?;
    // What is erased here is erased there by its own region's cleanup, which knows what a region still needs.
    let no_erasure = DeleteMarkerReplication::builder().status(DeleteMarkerReplicationStatus::Disabled).build();
    ReplicationRule::builder()
        .id(&rule.id)
        .priority(priority)
        .status(ReplicationRuleStatus::Enabled)
        .filter(ReplicationRuleFilter::builder().prefix(&rule.prefix).build())
        .destination(target)
        .delete_marker_replication(no_erasure)
        .build()
        .map_err(unbuilt)
}

/// Whether the rule that stands is this one.
fn says(known: &ReplicationRule, rule: &Rule) -> bool {
    let prefix = known.filter().and_then(ReplicationRuleFilter::prefix).unwrap_or_default();
    let target = known.destination().map(Destination::bucket);
    let enabled = *known.status() == ReplicationRuleStatus::Enabled;
    enabled && known.id() == Some(&rule.id) && prefix == rule.prefix && target == Some(&arn(&rule.target))
}

fn arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

fn failed<E>(error: &SdkError<E>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    Error::Unavailable { what: WHAT, source: Some(DisplayErrorContext(error).to_string().into()) }
}

#[cfg(test)]
mod tests {
    use super::{Rule, build, says};

    #[test]
    fn a_rule_is_known_again_and_another_one_is_not() {
        let rule = Rule {
            id: "selvedge-b".to_owned(),
            prefix: "deployment/".to_owned(),
            target: "bucket-b".to_owned(),
            role: "arn:aws:iam::000000000000:role/replication".to_owned(),
        };
        let standing = build(&rule, 3).expect("complete");
        assert!(says(&standing, &rule));
        for other in [
            Rule { id: "selvedge-c".to_owned(), ..rule.clone() },
            Rule { prefix: String::new(), ..rule.clone() },
            Rule { target: "bucket-c".to_owned(), ..rule.clone() },
        ] {
            assert!(!says(&standing, &other), "{other:?}");
        }
    }
}

//! DNS at Route 53: its zone, its health checks, its record sets, and the step of a promotion that flips them.

use aws_sdk_route53::Client;
use aws_sdk_route53::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, HealthCheckConfig, HealthCheckType, ResourceRecord, ResourceRecordSet,
    ResourceRecordSetFailover, RrType,
};
use futures_util::future::BoxFuture;

use super::routes::{Flip, RecordSet, RegionRoute, Role, Wanted, answer, epoch_of, home_of, plan};
use super::{Step, StepError};
use crate::clock;

/// Attempts of a flip that somebody else came before.
const FLIPS_MAX: usize = 5;
/// Seconds between two looks of a health checker, and looks that decide: the fast kind.
const CHECK_SECONDS: i32 = 10;
const CHECKS: i32 = 3;

/// Where a region's health is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The region.
    pub region: String,
    /// A host name, or addresses of one family.
    pub targets: Vec<String>,
    /// Port and path of the relays' readiness, e.g. 443 and `/readyz`; `None`: the record sets depend on no health check.
    pub health: Option<(u16, String)>,
}

/// How DNS is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route53Options {
    /// The zone, without the dot at the end.
    pub zone: String,
    /// The name that clients resolve, in the zone.
    pub name: String,
    /// The regions.
    pub regions: Vec<Checked>,
}

/// DNS as a step of a promotion.
pub struct Route53 {
    client: Client,
    options: Route53Options,
    /// The region of this process.
    region: String,
}

impl Route53 {
    /// DNS, on behalf of that region.
    #[must_use]
    pub fn new(client: Client, options: Route53Options, region: String) -> Self {
        Self { client, options, region }
    }

    /// The record sets of the zone.
    ///
    /// # Errors
    /// What the service said.
    pub async fn record_sets(&self) -> Result<Vec<RecordSet>, StepError> {
        let zone = self.zone(false).await?.ok_or_else(|| format!("there is no zone {}", self.options.zone))?;
        self.record_sets_of(&zone).await
    }

    /// What a resolver is told now for the name, by what the health checks of the regions say, and the epoch that told it.
    ///
    /// # Errors
    /// What the service said.
    pub async fn told(&self, is_healthy: impl Fn(&str) -> bool) -> Result<(Vec<String>, Option<u64>), StepError> {
        let present = self.record_sets().await?;
        Ok((answer(&present, &self.options.name, is_healthy).to_vec(), epoch_of(&present, &self.options.name)))
    }

    async fn record_sets_of(&self, zone: &str) -> Result<Vec<RecordSet>, StepError> {
        let mut sets = Vec::new();
        let mut asked = self.client.list_resource_record_sets().hosted_zone_id(zone);
        loop {
            let page = asked.send().await.map_err(failed)?;
            sets.extend(page.resource_record_sets.iter().map(from_service));
            if !page.is_truncated {
                return Ok(sets);
            }
            asked = self
                .client
                .list_resource_record_sets()
                .hosted_zone_id(zone)
                .set_start_record_name(page.next_record_name)
                .set_start_record_type(page.next_record_type)
                .set_start_record_identifier(page.next_record_identifier);
        }
    }

    /// The zone's id; made when it is missing and `make` says so.
    async fn zone(&self, make: bool) -> Result<Option<String>, StepError> {
        let own = format!("{}.", self.options.zone);
        let found = self.client.list_hosted_zones_by_name().dns_name(&own).send().await.map_err(failed)?;
        if let Some(zone) = found.hosted_zones.into_iter().find(|zone| zone.name == own) {
            return Ok(Some(zone.id));
        }
        if !make {
            return Ok(None);
        }
        let reference = format!("selvedge-{}-{}", self.options.zone, clock::wall_ms());
        let made =
            self.client.create_hosted_zone().name(&own).caller_reference(reference).send().await.map_err(failed)?;
        Ok(made.hosted_zone.map(|zone| zone.id))
    }

    /// The health check of a region, by the reference it was made with; made when it is missing and `make` says so.
    async fn health_check(&self, checked: &Checked, make: bool) -> Result<Option<String>, StepError> {
        let Some((port, path)) = &checked.health else { return Ok(None) };
        let reference = format!("selvedge-{}-{}-{port}", self.options.name, checked.region);
        let mut marker = None;
        loop {
            let page = self.client.list_health_checks().set_marker(marker).send().await.map_err(failed)?;
            if let Some(check) = page.health_checks.into_iter().find(|check| check.caller_reference == reference) {
                return Ok(Some(check.id));
            }
            marker = page.next_marker;
            if !page.is_truncated || marker.is_none() {
                break;
            }
        }
        if !make {
            return Ok(None);
        }
        let target = checked.targets.first().cloned().unwrap_or_default();
        let config = HealthCheckConfig::builder()
            .r#type(if *port == 443 { HealthCheckType::Https } else { HealthCheckType::Http })
            .port(i32::from(*port))
            .resource_path(path)
            .request_interval(CHECK_SECONDS)
            .failure_threshold(CHECKS);
        let config = match target.parse::<std::net::IpAddr>() {
            Ok(_) => config.ip_address(target),
            Err(_) => config.fully_qualified_domain_name(target),
        };
        let create = self.client.create_health_check().caller_reference(reference);
        let made = create.health_check_config(config.build().map_err(wrong)?).send().await.map_err(failed)?;
        Ok(made.health_check.map(|check| check.id))
    }

    async fn wanted(&self, epoch: u64, make: bool) -> Result<Wanted, StepError> {
        let mut regions = Vec::with_capacity(self.options.regions.len());
        for checked in &self.options.regions {
            let health_check = self.health_check(checked, make).await?;
            regions.push(RegionRoute {
                region: checked.region.clone(),
                targets: checked.targets.clone(),
                health_check,
            });
        }
        Ok(Wanted { name: self.options.name.clone(), epoch, home: self.region.clone(), regions })
    }

    /// Changes whole or not at all; false when what it deletes is not there any more.
    async fn apply(&self, zone: &str, flip: &Flip) -> Result<bool, StepError> {
        let mut changes = Vec::with_capacity(flip.deletes.len() + flip.creates.len());
        let deletes = flip.deletes.iter().map(|set| (ChangeAction::Delete, set));
        let creates = flip.creates.iter().map(|set| (ChangeAction::Create, set));
        for (action, set) in deletes.chain(creates) {
            let set = to_service(set)?;
            changes.push(Change::builder().action(action).resource_record_set(set).build().map_err(wrong)?);
        }
        let batch = ChangeBatch::builder().set_changes(Some(changes)).build().map_err(wrong)?;
        let change = self.client.change_resource_record_sets().hosted_zone_id(zone).change_batch(batch);
        match change.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_invalid_change_batch()) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Step for Route53 {
    fn name(&self) -> &'static str {
        "route 53"
    }

    fn plan(&self, epoch: u64) -> BoxFuture<'_, Result<Vec<String>, StepError>> {
        Box::pin(async move {
            let present = match self.zone(false).await? {
                Some(zone) => self.record_sets_of(&zone).await?,
                None => Vec::new(),
            };
            let flip = plan(&present, &self.wanted(epoch, false).await?)?;
            let deletes = flip.deletes.iter().map(|set| format!("delete {set}"));
            let creates = flip.creates.iter().map(|set| format!("create {set}"));
            Ok(deletes.chain(creates).collect())
        })
    }

    fn run(&self, epoch: u64) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async move {
            let zone = self.zone(true).await?.ok_or("the zone could not be made")?;
            let wanted = self.wanted(epoch, true).await?;
            for _ in 0..FLIPS_MAX {
                let flip = plan(&self.record_sets_of(&zone).await?, &wanted)?;
                if flip == Flip::default() {
                    return Ok(());
                }
                if self.apply(&zone, &flip).await? {
                    // Read back as resolvers are told it.
                    let present = self.record_sets_of(&zone).await?;
                    let told = (epoch_of(&present, &wanted.name), home_of(&present, &wanted.name));
                    if told == (Some(epoch), Some(&wanted.home)) {
                        return Ok(());
                    }
                    return Err(
                        format!("DNS says {told:?} after it was set to epoch {epoch} and {}", wanted.home).into()
                    );
                }
            }
            Err("somebody else changes the same record sets of DNS all the time".into())
        })
    }
}

fn from_service(set: &ResourceRecordSet) -> RecordSet {
    let role = match (&set.failover, &set.set_identifier) {
        (Some(ResourceRecordSetFailover::Primary), Some(id)) => Some((Role::Primary, id.clone())),
        (Some(ResourceRecordSetFailover::Secondary), Some(id)) => Some((Role::Secondary, id.clone())),
        _ => None,
    };
    RecordSet {
        name: set.name.trim_end_matches('.').to_owned(),
        kind: set.r#type.as_str().to_owned(),
        role,
        health_check: set.health_check_id.clone(),
        ttl: set.ttl.and_then(|ttl| u32::try_from(ttl).ok()).unwrap_or(0),
        values: set.resource_records.iter().flatten().map(|record| record.value.clone()).collect(),
    }
}

fn to_service(set: &RecordSet) -> Result<ResourceRecordSet, StepError> {
    let records = set.values.iter().map(|value| ResourceRecord::builder().value(value).build());
    let records = records.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let (failover, identifier) = match &set.role {
        Some((Role::Primary, id)) => (Some(ResourceRecordSetFailover::Primary), Some(id.clone())),
        Some((Role::Secondary, id)) => (Some(ResourceRecordSetFailover::Secondary), Some(id.clone())),
        None => (None, None),
    };
    ResourceRecordSet::builder()
        .name(format!("{}.", set.name))
        .r#type(RrType::from(set.kind.as_str()))
        .set_failover(failover)
        .set_set_identifier(identifier)
        .set_health_check_id(set.health_check.clone())
        .ttl(i64::from(set.ttl))
        .set_resource_records(Some(records))
        .build()
        .map_err(wrong)
}

fn wrong(error: BuildError) -> StepError {
    error.into()
}

fn failed<E, R>(error: SdkError<E, R>) -> StepError
where
    SdkError<E, R>: std::error::Error + Send + Sync + 'static,
    E: ProvideErrorMetadata,
{
    match error.as_service_error() {
        Some(service) => {
            format!("Route 53: {}: {}", service.code().unwrap_or("error"), service.message().unwrap_or_default()).into()
        }
        None => format!("Route 53: {}", DisplayErrorContext(&error)).into(),
    }
}

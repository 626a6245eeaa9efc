//! The settings of the replicator: flags and environment, checked before anything is asked of a service. A mistake is answered
//! by the flag, the value and the fix.

mod passed_over;
mod rhythm;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use selvedge_protocol::message::ENDPOINTS_MAX;
use selvedge_protocol::{ADDRESSES_MAX, Endpoint, Transport, relays_at};
use selvedge_region::regional::{DynamoDbOptions, PeerArgs, RegionalArgs, RegionalOptions, SettingError};

use crate::failover::FailoverConfig;
use crate::failover::promotion::route53::{Checked, Route53Options};

pub use rhythm::RhythmArgs;

/// `selvedge-replicator`: what happens to a region's log behind the relays' backs.
#[derive(Debug, Parser)]
#[command(
    name = "selvedge-replicator",
    version,
    about = "Persists a region's log, ships it to the other region, and moves the control plane when one is lost."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Persist, ship, clean up and watch over the control plane until told to stop.
    Run(Box<Config>),
    /// Only watch: an observer in a third place, which never takes the control plane itself.
    Observe(Box<ObserveConfig>),
    /// Show who holds the control plane, how far persist and ship have come, and what DNS says.
    Status(Box<StatusConfig>),
    /// Hand the control plane over to a region, as planned; nothing is lost.
    Switchover(Box<OrderConfig>),
    /// Have a region take the control plane whose holder is lost, without waiting for observers to agree.
    Promote(Box<PromoteConfig>),
}

/// Everything `run` can be told.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Name of this region.
    #[arg(long, env = "SELVEDGE_REGION", default_value = "local")]
    pub region: String,
    /// Name of the other region.
    #[arg(long, env = "SELVEDGE_PEER_REGION", value_name = "NAME")]
    pub peer_region: Option<String>,
    /// The region that holds the control plane before anybody took it [default: this one].
    #[arg(long, env = "SELVEDGE_HOME_REGION", value_name = "NAME")]
    pub home_region: Option<String>,
    /// Where health, metrics and the state of the control plane are served.
    #[arg(long, env = "SELVEDGE_REPLICATOR_ADMIN", default_value = "127.0.0.1:4471")]
    pub admin: SocketAddr,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `selvedge_replicator=debug,info`.
    #[arg(long, env = "SELVEDGE_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// This region's services.
    #[command(flatten)]
    pub services: RegionalArgs,
    /// The other region's services.
    #[command(flatten)]
    pub peer: PeerArgs,
    /// ARN of the role by which S3 replicates this region's bucket to the other region's. Without it that is left to the replicator,
    /// which copies what is missing.
    #[arg(long, env = "SELVEDGE_S3_REPLICATION_ROLE", value_name = "ARN")]
    pub s3_replication_role: Option<String>,
    /// The witness.
    #[command(flatten)]
    pub witness: WitnessArgs,
    /// DNS.
    #[command(flatten)]
    pub dns: DnsArgs,
    /// The signed list of endpoints.
    #[command(flatten)]
    pub endpoints: EndpointArgs,
    /// Rhythms.
    #[command(flatten)]
    pub rhythm: RhythmArgs,
}

const WITNESS_TABLE: &str = "selvedge-witness";
const OBSERVERS: usize = 2;
const LEASE_MS: u64 = 6_000;
const AGREE_MS: u64 = 5_000;
const PROMOTION_PAUSE_MS: u64 = 600_000;

/// Where the lease is kept.
#[derive(Debug, Clone, Args)]
pub struct WitnessArgs {
    /// Endpoint of the witness' DynamoDB, in a third place, `http://host:port` [default: AWS, where --witness-aws-region is given].
    #[arg(long, env = "SELVEDGE_WITNESS", value_name = "URL")]
    pub witness: Option<String>,
    /// AWS' name of the third place.
    #[arg(long, env = "SELVEDGE_WITNESS_AWS_REGION", value_name = "NAME")]
    pub witness_aws_region: Option<String>,
    /// The witness' table; made when missing.
    #[arg(long, env = "SELVEDGE_WITNESS_TABLE", default_value = WITNESS_TABLE)]
    pub witness_table: String,
    /// Observers that have to agree before the control plane moves by itself.
    #[arg(long, env = "SELVEDGE_OBSERVERS", default_value_t = OBSERVERS)]
    pub observers: usize,
    /// How long a lease holds, in milliseconds; it is renewed three times as often.
    #[arg(long, env = "SELVEDGE_LEASE_MS", default_value_t = LEASE_MS)]
    pub lease_ms: u64,
    /// How long observers have to agree, in milliseconds.
    #[arg(long, env = "SELVEDGE_AGREE_MS", default_value_t = AGREE_MS)]
    pub agree_ms: u64,
    /// The shortest time between two promotions that nobody ordered, in milliseconds.
    #[arg(long, env = "SELVEDGE_PROMOTION_PAUSE_MS", default_value_t = PROMOTION_PAUSE_MS)]
    pub promotion_pause_ms: u64,
}

/// What DNS is to say.
#[derive(Debug, Clone, Args)]
pub struct DnsArgs {
    /// The zone at Route 53; made when missing. Without it DNS is left alone.
    #[arg(long, env = "SELVEDGE_DNS_ZONE", value_name = "ZONE")]
    pub dns_zone: Option<String>,
    /// The name that clients resolve, in the zone.
    #[arg(long, env = "SELVEDGE_DNS_NAME", value_name = "NAME")]
    pub dns_name: Option<String>,
    /// This region's host name or addresses, separated by commas.
    #[arg(long, env = "SELVEDGE_DNS_TARGET", value_delimiter = ',', value_name = "TARGETS")]
    pub dns_target: Vec<String>,
    /// The other region's host name or addresses, separated by commas.
    #[arg(long, env = "SELVEDGE_PEER_DNS_TARGET", value_delimiter = ',', value_name = "TARGETS")]
    pub peer_dns_target: Vec<String>,
    /// Port and path of the relays' readiness that health checks look at, e.g. 443/readyz.
    #[arg(long, env = "SELVEDGE_DNS_HEALTH", value_name = "PORT/PATH")]
    pub dns_health: Option<String>,
    /// Endpoint of Route 53, `http://host:port` [default: AWS].
    #[arg(long, env = "SELVEDGE_ROUTE53", value_name = "URL")]
    pub route53: Option<String>,
}

/// What the signed list of endpoints is made of.
#[derive(Debug, Clone, Args)]
pub struct EndpointArgs {
    /// File with the private key (P-256, PKCS#8, PEM) that signs the list, the same in every region. Without it none is published.
    #[arg(long, env = "SELVEDGE_ENDPOINTS_KEY", value_name = "FILE")]
    pub endpoints_key: Option<PathBuf>,
    /// URLs of this region's relays as clients reach them, separated by commas, e.g. wss://relay.example/v1/connect; URLs of one host and
    /// port are one relay.
    #[arg(long, env = "SELVEDGE_RELAYS", value_delimiter = ',', value_name = "URLS")]
    pub relays: Vec<String>,
    /// URLs of the other region's relays, separated by commas.
    #[arg(long, env = "SELVEDGE_PEER_RELAYS", value_delimiter = ',', value_name = "URLS")]
    pub peer_relays: Vec<String>,
}

/// What the signed list of endpoints is made of, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointOptions {
    /// File of the private key.
    pub key: PathBuf,
    /// The relays of all regions, this one's first.
    pub relays: Vec<Endpoint>,
}

/// Everything `observe` can be told.
#[derive(Debug, Clone, Args)]
pub struct ObserveConfig {
    /// Name of the place this observer looks from; not a region's.
    #[arg(long, env = "SELVEDGE_OBSERVER", default_value = "observer")]
    pub observer: String,
    /// Where health, metrics and the state of the control plane are served.
    #[arg(long, env = "SELVEDGE_REPLICATOR_ADMIN", default_value = "127.0.0.1:4472")]
    pub admin: SocketAddr,
    /// What is logged.
    #[arg(long, env = "SELVEDGE_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// The witness.
    #[command(flatten)]
    pub witness: WitnessArgs,
}

/// Everything `status` can be told.
#[derive(Debug, Clone, Args)]
pub struct StatusConfig {
    /// As `run` has it.
    #[command(flatten)]
    pub run: Config,
    /// As one JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

/// Everything `switchover` can be told.
#[derive(Debug, Clone, Args)]
pub struct OrderConfig {
    /// The region that is to hold the control plane.
    #[arg(long, value_name = "REGION")]
    pub to: String,
    /// How long to wait until it does, in seconds.
    #[arg(long, default_value_t = 60)]
    pub wait_seconds: u64,
    /// The witness.
    #[command(flatten)]
    pub witness: WitnessArgs,
}

/// Everything `promote` can be told.
#[derive(Debug, Clone, Args)]
pub struct PromoteConfig {
    /// The region that is to take the control plane [default: this one].
    #[arg(long, value_name = "REGION")]
    pub to: Option<String>,
    /// Show what would be done, and change nothing. Only for this region.
    #[arg(long)]
    pub dry_run: bool,
    /// How long to wait until it has, in seconds.
    #[arg(long, default_value_t = 60)]
    pub wait_seconds: u64,
    /// As `run` has it.
    #[command(flatten)]
    pub run: Config,
}

impl Config {
    /// Refuses what cannot be and what would be passed over, before anything is asked of a service.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn check(&self) -> Result<(), SettingError> {
        let known = [Some(self.region.as_str()), self.peer_region.as_deref()];
        for (flag, name) in [("region", known[0]), ("peer-region", known[1]), ("home-region", Some(self.home()))] {
            if name == Some("") {
                return Err(wrong(flag, "(empty)", "is no name", "give the region's name, or leave it out"));
            }
        }
        if !known.contains(&Some(self.home())) {
            let fix = "name one of the two, the same in both regions";
            return Err(wrong("home-region", self.home(), "is neither --region nor --peer-region", fix));
        }
        self.own()?;
        self.other()?;
        self.failover()?;
        self.witness.options()?;
        self.route53()?;
        self.endpoints()?;
        self.rhythm.persist()?;
        self.rhythm.cleanup()?;
        passed_over::check(self)
    }

    /// The home before anybody took the control plane.
    #[must_use]
    pub fn home(&self) -> &str {
        self.home_region.as_deref().unwrap_or(&self.region)
    }

    /// This region's services.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn own(&self) -> Result<RegionalOptions, SettingError> {
        let options = self.services.options(&self.region, self.home())?;
        options.ok_or_else(|| {
            wrong(
                "kafka",
                "(none)",
                "the replicator reads a region's log on Kafka",
                "name the brokers with --kafka or SELVEDGE_KAFKA",
            )
        })
    }

    /// The other region's services, if there is one.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn other(&self) -> Result<Option<RegionalOptions>, SettingError> {
        let name = self.peer_region.as_deref();
        let options = self.peer.options(name.unwrap_or("peer"), self.home())?;
        let Some(options) = options else {
            return match name {
                Some(name) => Err(wrong(
                    "peer-region",
                    name,
                    "no service of that region is named",
                    "give --peer-kafka and the others, or leave --peer-region out",
                )),
                None => Ok(None),
            };
        };
        let name = name.ok_or_else(|| {
            wrong("peer-kafka", &options.kafka.bootstrap, "the other region has no name", "give --peer-region")
        })?;
        if name == self.region {
            return Err(wrong("peer-region", name, "that is this region's own name", "name the other region"));
        }
        let own = self.own()?;
        if own.number == options.number {
            let number = own.number.to_string();
            return Err(wrong(
                "peer-region-number",
                &number,
                "that is this region's own number",
                "give each region a number of its own, the same in every program",
            ));
        }
        if own.kafka.partitions != options.kafka.partitions {
            let number = options.kafka.partitions.to_string();
            return Err(wrong(
                "peer-kafka-partitions",
                &number,
                "the regions' logs have to have as many partitions",
                &format!("give {}", own.kafka.partitions),
            ));
        }
        Ok(Some(options))
    }

    /// What DNS is to say, if it is to say anything.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn route53(&self) -> Result<Option<Route53Options>, SettingError> {
        let dns = &self.dns;
        let Some(zone) = &dns.dns_zone else { return Ok(None) };
        let zone = zone.trim_end_matches('.').to_owned();
        let missing =
            |flag: &str, fix: &str| wrong(flag, "(none)", "--dns-zone is given, and DNS cannot be set without it", fix);
        let name = dns.dns_name.clone().ok_or_else(|| missing("dns-name", "name what clients resolve"))?;
        let name = name.trim_end_matches('.').to_owned();
        if name != zone && !name.ends_with(&format!(".{zone}")) {
            return Err(wrong("dns-name", &name, "is not in the zone", &format!("give a name that ends in .{zone}")));
        }
        let peer = self
            .peer_region
            .clone()
            .ok_or_else(|| missing("peer-region", "DNS fails over between two regions: name the other one"))?;
        for (flag, targets) in [("dns-target", &dns.dns_target), ("peer-dns-target", &dns.peer_dns_target)] {
            if targets.is_empty() {
                return Err(missing(flag, "give the region's host name or its addresses"));
            }
        }
        if let Some(url) = &dns.route53
            && !url.starts_with("http://")
            && !url.starts_with("https://")
        {
            return Err(wrong("route53", url, "is not http://host:port", "correct it, or leave it out for AWS"));
        }
        let health = match &dns.dns_health {
            None => None,
            Some(given) => {
                let parsed =
                    given.split_once('/').and_then(|(port, path)| Some((port.parse().ok()?, format!("/{path}"))));
                Some(parsed.ok_or_else(|| wrong("dns-health", given, "is not PORT/PATH", "give e.g. 443/readyz"))?)
            }
        };
        let checked = |region: &str, targets: &[String]| Checked {
            region: region.to_owned(),
            targets: targets.to_vec(),
            health: health.clone(),
        };
        let regions = vec![checked(&self.region, &dns.dns_target), checked(&peer, &dns.peer_dns_target)];
        Ok(Some(Route53Options { zone, name, regions }))
    }

    /// What the signed list of endpoints is made of, if one is signed.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn endpoints(&self) -> Result<Option<EndpointOptions>, SettingError> {
        let EndpointArgs { endpoints_key, relays, peer_relays } = &self.endpoints;
        let Some(key) = endpoints_key.clone() else { return Ok(None) };
        let peer = self.peer_region.as_deref();
        let mut listed = Vec::new();
        for (flag, region, urls) in [("relays", Some(&*self.region), relays), ("peer-relays", peer, peer_relays)] {
            let Some(region) = region else { continue };
            if urls.is_empty() {
                let fix = "name how clients reach the region's relays, e.g. wss://relay.example/v1/connect";
                return Err(wrong(flag, "(none)", "--endpoints-key is given, and there is nothing to sign", fix));
            }
            if let Some(url) = urls.iter().find(|url| Transport::of_url(url).is_none()) {
                return Err(wrong(
                    flag,
                    url,
                    "is no address of a relay",
                    "begin it with wss://, ws://, https:// or quic://",
                ));
            }
            listed.extend(urls.iter().map(|url| (region, url.as_str())));
        }
        let relays = relays_at(listed);
        if relays.len() > ENDPOINTS_MAX || relays.iter().any(|relay| relay.addresses.len() > ADDRESSES_MAX) {
            let problem = "are more than clients take";
            let fix = format!("name at most {ENDPOINTS_MAX} relays, each by at most {ADDRESSES_MAX} addresses");
            return Err(wrong("relays", &format!("and --peer-relays: {} relays", relays.len()), problem, &fix));
        }
        Ok(Some(EndpointOptions { key, relays }))
    }

    /// How failover works.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn failover(&self) -> Result<FailoverConfig, SettingError> {
        let mut config = self.witness.failover(&self.region)?;
        config.home = self.home() == self.region;
        Ok(config)
    }
}

impl PromoteConfig {
    /// The region that is to take the control plane.
    ///
    /// # Errors
    /// [`SettingError`] where both regions are named and it is neither: an order for nobody would stand.
    pub fn target(&self) -> Result<String, SettingError> {
        let run = &self.run;
        let to = self.to.as_ref().unwrap_or(&run.region);
        match &run.peer_region {
            Some(peer) if to != peer && *to != run.region => {
                Err(wrong("to", to, "is neither --region nor --peer-region", "name one of the two"))
            }
            _ => Ok(to.clone()),
        }
    }
}

impl WitnessArgs {
    /// Where the witness is, if there is one.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn options(&self) -> Result<Option<DynamoDbOptions>, SettingError> {
        let Some(endpoint) = &self.witness else {
            let region = self.witness_aws_region.clone();
            return Ok(region.map(|region| DynamoDbOptions { endpoint: None, region, keys: None }));
        };
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(wrong("witness", endpoint, "is not http://host:port", "correct it"));
        }
        let mut options = DynamoDbOptions::local(endpoint.trim_end_matches('/'));
        if let Some(region) = &self.witness_aws_region {
            options.region.clone_from(region);
        }
        Ok(Some(options))
    }

    /// As [`WitnessArgs::options`], for what cannot be done without.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn required(&self) -> Result<DynamoDbOptions, SettingError> {
        let fix = "give --witness, the DynamoDB endpoint of a third place, or --witness-aws-region";
        self.options()?
            .ok_or_else(|| wrong("witness", "(none)", "nobody can say who holds the control plane without it", fix))
    }

    /// How failover works for a process at that place.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn failover(&self, place: &str) -> Result<FailoverConfig, SettingError> {
        if !(600..=600_000).contains(&self.lease_ms) {
            return Err(wrong(
                "lease-ms",
                &self.lease_ms.to_string(),
                "is out of range",
                "give a number from 600 to 600000",
            ));
        }
        if self.observers == 0 {
            return Err(wrong(
                "observers",
                "0",
                "somebody has to see that the lease has run out",
                "give at least 1; 2 is safe",
            ));
        }
        Ok(FailoverConfig {
            ttl_ms: self.lease_ms,
            margin_ms: self.lease_ms / 6,
            renew_ms: self.lease_ms / 3,
            look_ms: self.lease_ms / 12,
            agree_count: self.observers,
            agree_ms: self.agree_ms,
            promotion_pause_ms: self.promotion_pause_ms,
            ..FailoverConfig::new(place.to_owned(), rand::random::<u64>() | 1)
        })
    }
}

fn wrong(flag: &str, value: &str, problem: &str, fix: &str) -> SettingError {
    SettingError { flag: flag.to_owned(), value: value.to_owned(), problem: problem.to_owned(), fix: fix.to_owned() }
}

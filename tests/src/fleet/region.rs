//! One region's relays and replicator, and the settings that tell them where everything is.

use std::path::Path;

use anyhow::Context;

use super::program::{Program, Spec};
use super::{FleetOptions, Stack};
use crate::link::{Link, Passage};

/// Ports of one region's programs.
const PORTS_A_REGION: u16 = 10;
/// Virtual partitions of the log: few, so that local brokers are quick.
const PARTITIONS: &str = "8";

/// One region's programs.
#[derive(Debug)]
pub struct RegionFleet {
    /// Its name.
    pub name: String,
    /// Its relays.
    pub relays: Vec<Program>,
    /// Its replicator, if it has one.
    pub replicator: Option<Program>,
    /// The relays' addresses.
    pub urls: Vec<String>,
    /// Where the replicator answers operators.
    pub admin: String,
    /// Its settings.
    pub environment: Vec<(String, String)>,
}

impl RegionFleet {
    pub(super) fn describe(
        options: &FleetOptions,
        name: &str,
        number: usize,
        environment: Vec<(String, String)>,
        folder: &Path,
    ) -> Self {
        let first = first_port(options.ports, number);
        let spec = |program: &'static str, what: String, arguments: Vec<String>| Spec {
            log: folder.join(format!("{what}.log")),
            name: what,
            program,
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: environment.clone(),
        };
        let (mut relays, mut urls) = (Vec::new(), Vec::new());
        for relay in 0..options.relays {
            let listen = relay_port(options.ports, number, relay);
            let admin = listen + 1;
            let words = ["serve", "--listen", &format!("127.0.0.1:{listen}"), "--admin", &format!("127.0.0.1:{admin}")];
            let mut arguments: Vec<String> = words.iter().map(ToString::to_string).collect();
            arguments
                .extend(["--data".to_owned(), folder.join(format!("data-{name}{}", relay + 1)).display().to_string()]);
            if options.relays > 1 || options.regions.len() > 1 {
                arguments.extend(["--advertise".to_owned(), advertised(options, number, relay)]);
            }
            arguments.extend(options.relay_flags.iter().cloned());
            relays.push(Program::new(spec("selvedge-relay", format!("relay-{name}{}", relay + 1), arguments)));
            urls.push(format!("http://127.0.0.1:{listen}"));
        }
        let admin = format!("127.0.0.1:{}", first + PORTS_A_REGION - 1);
        let arguments = vec!["run".to_owned(), "--admin".to_owned(), admin.clone()];
        let replicator = options
            .replicators
            .then(|| Program::new(spec("selvedge-replicator", format!("replicator-{name}"), arguments)));
        Self { name: name.to_owned(), relays, replicator, urls, admin: format!("http://{admin}"), environment }
    }

    /// Where its relays answer operators: on the port after the one they serve on.
    #[must_use]
    pub fn admins(&self) -> Vec<String> {
        let admin = |url: &String| {
            let (host, port) = url.rsplit_once(':')?;
            Some(format!("{host}:{}", port.parse::<u16>().ok()?.checked_add(1)?))
        };
        self.urls.iter().filter_map(admin).collect()
    }

    /// Starts what does not run.
    ///
    /// # Errors
    /// When one is not ready in time.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let programs = self.relays.iter_mut().chain(&mut self.replicator);
        futures_util::future::try_join_all(programs.map(Program::start)).await.map(drop)
    }

    /// Kills all of them.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let programs = self.relays.iter_mut().chain(&mut self.replicator);
        futures_util::future::try_join_all(programs.map(Program::kill)).await.map(drop)
    }

    /// Sends all of them a signal.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        self.relays.iter().chain(&self.replicator).try_for_each(|program| program.signal(signal))
    }
}

/// Where relays listen whose fleet's ports begin at `ports`: region by region.
#[must_use]
pub fn relay_ports(ports: u16, regions: usize, relays: u16) -> Vec<u16> {
    let of = |number| (0..relays).map(move |relay| relay_port(ports, number, relay));
    (0..regions).flat_map(of).collect()
}

fn relay_port(ports: u16, number: usize, relay: u16) -> u16 {
    first_port(ports, number) + 2 * relay
}

/// The first of a region's ports.
fn first_port(ports: u16, number: usize) -> u16 {
    // There are two regions at most.
    ports + PORTS_A_REGION * u16::from(number > 0)
}

/// How others than the relay itself name it: by WebTransport and WebSocket. Native QUIC is left out: a relay knows only its own
/// certificates, and these are trusted by nobody who was not told them. A page on this machine asks the relay for them.
pub(super) fn ways(port: u16) -> [String; 2] {
    ["https", "ws"].map(|scheme| format!("{scheme}://127.0.0.1:{port}/v1/connect"))
}

/// What a relay tells its clients of all relays: itself first, then its siblings, then those of the other region.
fn advertised(options: &FleetOptions, number: usize, relay: u16) -> String {
    let of = |number: usize, relay: u16| ways(relay_port(options.ports, number, relay));
    let within = (0..options.relays).flat_map(|next| of(number, (relay + next) % options.relays));
    let others = options.regions.iter().enumerate().filter(|(other, _)| *other != number);
    let far = others.flat_map(|(other, name)| {
        let relays = (0..options.relays).flat_map(move |relay| of(other, relay));
        relays.map(move |url| format!("{name}={url}"))
    });
    within.chain(far).collect::<Vec<String>>().join(",")
}

/// The observer in the third place: two of three have to agree that a region is lost, and a lost region does not.
pub(super) fn observer(options: &FleetOptions, regions: &[RegionFleet], folder: &Path) -> Option<Program> {
    let first = regions.first().filter(|_| regions.len() > 1 && options.replicators)?;
    // Between the first region's relays and its replicator.
    let admin = format!("127.0.0.1:{}", options.ports + PORTS_A_REGION - 2);
    let words = ["observe", "--observer", "third-place", "--admin", &admin];
    Some(Program::new(Spec {
        name: "observer".to_owned(),
        program: "selvedge-replicator",
        arguments: words.iter().map(Into::into).collect(),
        environment: first.environment.iter().filter(|(name, _)| name.contains("WITNESS")).cloned().collect(),
        log: folder.join("observer.log"),
    }))
}

/// Addresses of a region's services.
pub(super) struct Far {
    kafka: String,
    postgres: String,
    redis: String,
    dynamodb: String,
    s3: String,
}

/// The settings of a region's programs.
pub(super) fn environment(
    stack: &Stack,
    options: &FleetOptions,
    name: &str,
    number: usize,
) -> anyhow::Result<Vec<(String, String)>> {
    let of = |service: &str| stack.address(&format!("{}_{service}", name.to_uppercase()));
    let near = Far {
        kafka: of("KAFKA")?,
        postgres: of("POSTGRES")?,
        redis: of("REDIS")?,
        dynamodb: of("DYNAMODB")?,
        s3: stack.address("AWS")?,
    };
    let mut settings = services("SELVEDGE_", &near, options, name, number);
    settings.push(("SELVEDGE_REGION".into(), name.into()));
    settings.push(("SELVEDGE_HOME_REGION".into(), options.regions[0].clone()));
    settings.push(("SELVEDGE_WITNESS".into(), stack.address("WITNESS")?));
    // Drills follow upon each other faster than promotions may.
    settings.push(("SELVEDGE_PROMOTION_PAUSE_MS".into(), "0".into()));
    settings.push(("SELVEDGE_WITNESS_TABLE".into(), format!("{}witness", options.prefix)));
    Ok(settings)
}

/// Opens the way to the other region's services.
pub(super) async fn cross(stack: &Stack, link: &Link, peer: &str, passages: &mut Vec<Passage>) -> anyhow::Result<Far> {
    let of = |service: &str| stack.address(&format!("{}_{service}", peer.to_uppercase()));
    // A broker tells its clients where to connect: at the link's port for who came over the link.
    let (inner, outer) = (of("KAFKA_LINKED")?, of("KAFKA_LINK")?);
    let port =
        outer.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).context("the broker's link has no port")?;
    let kafka = link.tcp(port, &inner).await.with_context(|| format!("the link to Kafka at {outer}"))?;
    passages.push(kafka);
    let mut through = async |address: String| -> anyhow::Result<String> {
        let host = host(&address)?;
        let passage = link.tcp(0, &host).await?;
        let crossed = address.replacen(&host, &passage.address().to_string(), 1);
        passages.push(passage);
        Ok(crossed)
    };
    Ok(Far {
        kafka: outer,
        postgres: through(of("POSTGRES")?).await?,
        redis: through(of("REDIS")?).await?,
        dynamodb: through(of("DYNAMODB")?).await?,
        s3: through(stack.address("AWS")?).await?,
    })
}

/// The settings that name the other region.
pub(super) fn peer_environment(far: &Far, options: &FleetOptions, peer: &str, number: usize) -> Vec<(String, String)> {
    let mut settings = services("SELVEDGE_PEER_", far, options, peer, number);
    settings.push(("SELVEDGE_PEER_REGION".into(), peer.into()));
    settings
}

fn services(prefix: &str, at: &Far, options: &FleetOptions, name: &str, number: usize) -> Vec<(String, String)> {
    let settings = [
        ("KAFKA", at.kafka.as_str()),
        ("KAFKA_PARTITIONS", PARTITIONS),
        ("KAFKA_REPLICAS", "1"),
        ("POSTGRES", &at.postgres),
        ("REDIS", &at.redis),
        ("DYNAMODB", &at.dynamodb),
        ("S3", &at.s3),
        ("S3_BUCKET", &format!("selvedge-{name}")),
        ("REGION_NUMBER", &(number + 1).to_string()),
        ("PREFIX", &options.prefix),
    ];
    settings.map(|(name, value)| (format!("{prefix}{name}"), value.to_owned())).into()
}

/// The `host:port` in an address.
fn host(address: &str) -> anyhow::Result<String> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    anyhow::ensure!(host.contains(':'), "{address} names no port");
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn hosts_are_found_in_addresses() {
        let check = |address: &str, expected: &str| assert_eq!(host(address).unwrap(), expected);
        check("postgres://selvedge@127.0.0.1:4613/selvedge", "127.0.0.1:4613");
        check("http://127.0.0.1:4612", "127.0.0.1:4612");
        check("127.0.0.1:4610", "127.0.0.1:4610");
        assert!(host("http://127.0.0.1/").is_err());
    }
}

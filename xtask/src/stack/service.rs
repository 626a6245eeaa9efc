//! The services of the stack: which there are, where each listens, and what its address is called.

use std::fmt;

/// One of the two regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    A,
    B,
}

impl Region {
    pub(crate) const ALL: [Region; 2] = [Region::A, Region::B];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Region::A => "a",
            Region::B => "b",
        }
    }
}

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Apache Kafka, one broker a region.
    Kafka,
    /// DynamoDB Local, one a region.
    DynamoDb,
    /// PostgreSQL, one cluster a region.
    Postgres,
    /// Redis, one a region.
    Redis,
    /// The emulator of Route 53, S3, Cognito and global tables, for both regions.
    Aws,
    /// The DynamoDB of a third place, for the lease.
    Witness,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] =
        [Kind::Kafka, Kind::DynamoDb, Kind::Postgres, Kind::Redis, Kind::Aws, Kind::Witness];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kafka => "kafka",
            Kind::DynamoDb => "dynamodb",
            Kind::Postgres => "postgres",
            Kind::Redis => "redis",
            Kind::Aws => "aws",
            Kind::Witness => "witness",
        }
    }

    /// Whether each region has its own.
    fn is_regional(self) -> bool {
        !matches!(self, Kind::Aws | Kind::Witness)
    }
}

/// Beside a broker's port: its controller's.
pub(super) const CONTROLLER: u16 = 1;
/// Where it listens to who comes over the link between the regions.
pub(super) const LINKED: u16 = 5;
/// Where it tells those to connect: the link's port, which nobody has who is not that link.
pub(super) const LINK: u16 = 6;

/// One service of one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) kind: Kind,
    /// `None`: shared by both regions.
    pub(crate) region: Option<Region>,
}

impl Service {
    /// Every service, shared ones first.
    pub(crate) fn all() -> Vec<Service> {
        let shared = Kind::ALL.into_iter().filter(|kind| !kind.is_regional());
        let shared = shared.map(|kind| Service { kind, region: None });
        let regional = Region::ALL.into_iter().flat_map(|region| {
            let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_regional());
            kinds.map(move |kind| Service { kind, region: Some(region) })
        });
        shared.chain(regional).collect()
    }

    /// The services of those regions (none named: both) and those kinds (none named: all). Shared ones belong to every region.
    pub(crate) fn select(regions: &[Region], kinds: &[Kind]) -> Vec<Service> {
        let wanted = |service: &Service| {
            (kinds.is_empty() || kinds.contains(&service.kind))
                && (regions.is_empty() || service.region.is_none_or(|region| regions.contains(&region)))
        };
        Service::all().into_iter().filter(wanted).collect()
    }

    /// The port it listens on, in a stack whose ports begin at `base`.
    pub(crate) fn port(self, base: u16) -> u16 {
        let region = match self.region {
            None => 0,
            Some(Region::A) => 10,
            Some(Region::B) => 20,
        };
        let own = match self.kind {
            Kind::Kafka | Kind::Aws => 0,
            Kind::Witness => 1,
            Kind::DynamoDb => 2,
            Kind::Postgres => 3,
            Kind::Redis => 4,
        };
        base + region + own
    }

    /// Every port it listens on, its own first. A broker's link has one more, which somebody has while the regions are linked.
    pub(crate) fn ports(self, base: u16) -> Vec<u16> {
        let port = self.port(base);
        match self.kind {
            Kind::Kafka => vec![port, port + CONTROLLER, port + LINKED],
            _ => vec![port],
        }
    }

    /// Its address as clients take it.
    pub(crate) fn address(self, base: u16) -> String {
        let port = self.port(base);
        match self.kind {
            Kind::Kafka => format!("127.0.0.1:{port}"),
            Kind::DynamoDb | Kind::Aws | Kind::Witness => format!("http://127.0.0.1:{port}"),
            Kind::Postgres => format!("postgres://selvedge@127.0.0.1:{port}/selvedge"),
            Kind::Redis => format!("redis://127.0.0.1:{port}"),
        }
    }

    /// The environment variable that names its address, read and printed: where it is set, the service is not started.
    pub(crate) fn variable(self) -> String {
        format!("SELVEDGE_STACK_{}", self.to_string().to_uppercase().replace('-', "_"))
    }

    /// The variables beside its address: where a link between the regions finds a broker, and where that link has to be.
    pub(crate) fn link_variables(self, base: u16) -> Vec<(String, String)> {
        if self.kind != Kind::Kafka || self.given().is_some() {
            return Vec::new();
        }
        let variable = |name: &str, beside: u16| {
            (format!("{}_{name}", self.variable()), format!("127.0.0.1:{}", self.port(base) + beside))
        };
        vec![variable("LINKED", LINKED), variable("LINK", LINK)]
    }

    /// The address given by the environment.
    pub(crate) fn given(self) -> Option<String> {
        std::env::var(self.variable()).ok().filter(|address| !address.is_empty())
    }
}

/// `a-kafka`, `witness`: also the name of its folder.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.region {
            Some(region) => write!(f, "{}-{}", region.name(), self.kind.name()),
            None => f.write_str(self.kind.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Region, Service};
    use std::collections::BTreeSet;

    #[test]
    fn no_two_services_share_a_port() {
        let all = Service::all();
        assert_eq!(all.len(), 10);
        let link = |service: &Service| (service.kind == Kind::Kafka).then(|| service.port(4600) + super::LINK);
        let ports: Vec<u16> =
            all.iter().flat_map(|service| service.ports(4600).into_iter().chain(link(service))).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len(), "{ports:?}");
        assert!(ports.iter().all(|port| (4600..4630).contains(port)));
    }

    /// While the regions are linked, a broker that was killed starts again.
    #[test]
    fn a_broker_does_not_ask_for_the_port_of_its_link() {
        let kafka = Service { kind: Kind::Kafka, region: Some(Region::A) };
        let told = kafka.link_variables(4600);
        let link =
            told.iter().find(|(name, _)| name.ends_with("_KAFKA_LINK")).expect("it tells where the link has to be");
        assert!(kafka.ports(4600).iter().all(|port| !link.1.ends_with(&format!(":{port}"))), "{link:?}");
    }

    #[test]
    fn services_are_selected_and_named() {
        let names = |regions: &[Region], kinds: &[Kind]| -> Vec<String> {
            Service::select(regions, kinds).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&[Region::A], &[Kind::Kafka, Kind::Aws]), ["aws", "a-kafka"]);
        assert_eq!(names(&[Region::B], &[Kind::Redis]), ["b-redis"]);
        assert_eq!(names(&[], &[Kind::Redis]), ["a-redis", "b-redis"]);
        assert_eq!(Service { kind: Kind::DynamoDb, region: Some(Region::B) }.variable(), "SELVEDGE_STACK_B_DYNAMODB");
    }
}

//! What DNS says: one primary and one secondary record set, and beside them the epoch that set them.
//!
//! ```text
//! edit.example.org                 CNAME or A, failover PRIMARY    -> the home region
//! edit.example.org                 CNAME or A, failover SECONDARY  -> the standby
//! _selvedge-epoch.edit.example.org TXT "epoch=7"
//! ```
//!
//! A flip is one batch of changes, which the service carries out whole or not at all: it deletes the exact record sets that are
//! there, the epoch among them, and creates the new ones. So it is a compare and set: of two that flip at once one is refused.
//! Pure data in, pure data out; the service itself is behind the feature `regional`.

use std::fmt;

/// How long resolvers may keep an answer, in seconds.
pub const TTL_SECONDS: u32 = 60;
const EPOCH_LABEL: &str = "_selvedge-epoch";

/// Which of two record sets is answered while it is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// This one, while its health check passes.
    Primary,
    /// This one, while the primary's does not.
    Secondary,
}

/// A record set as the service keeps it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordSet {
    /// Its name, without the dot at the end.
    pub name: String,
    /// `CNAME`, `A`, `AAAA`, `TXT`.
    pub kind: String,
    /// Its role, with the name that tells it from the other of the same name.
    pub role: Option<(Role, String)>,
    /// The health check it depends on.
    pub health_check: Option<String>,
    /// In seconds.
    pub ttl: u32,
    /// Its values; of `TXT` in quotes.
    pub values: Vec<String>,
}

/// Where one region is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionRoute {
    /// The region's name.
    pub region: String,
    /// A host name, or addresses of one family.
    pub targets: Vec<String>,
    /// The health check of this region.
    pub health_check: Option<String>,
}

/// What DNS is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name that clients resolve, without the dot at the end.
    pub name: String,
    /// The epoch in which it is said.
    pub epoch: u64,
    /// The region that is answered first.
    pub home: String,
    /// The regions, two of them.
    pub regions: Vec<RegionRoute>,
}

/// One batch of changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flip {
    /// Exactly what is there.
    pub deletes: Vec<RecordSet>,
    /// What is to be there.
    pub creates: Vec<RecordSet>,
}

/// Why there is no flip.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// DNS was set in a newer epoch.
    #[error("DNS was set in epoch {present}, which is newer than epoch {epoch}: this process has been overtaken")]
    Fenced {
        /// The epoch that DNS names.
        present: u64,
        /// The caller's.
        epoch: u64,
    },
    /// DNS says something else in this very epoch.
    #[error(
        "DNS was set to another home in epoch {0}, in which this process holds the lease: look who changes it by hand"
    )]
    Contradiction(u64),
    /// What is asked for is none.
    #[error("{0}")]
    Invalid(String),
}

/// The name of the record set that keeps the epoch.
#[must_use]
pub fn epoch_name(name: &str) -> String {
    format!("{EPOCH_LABEL}.{name}")
}

/// The epoch that the record sets name.
#[must_use]
pub fn epoch_of(present: &[RecordSet], name: &str) -> Option<u64> {
    let own = epoch_name(name);
    let set = present.iter().find(|set| set.kind == "TXT" && set.name == own)?;
    set.values.first()?.trim_matches('"').strip_prefix("epoch=")?.parse().ok()
}

/// What to change so that DNS says what is wanted; nothing when it says so already.
///
/// # Errors
/// `Fenced` when DNS was set in a newer epoch, `Contradiction` in this one to another home; `Invalid` when the regions are not
/// two, the home among them, each with a target.
pub fn plan(present: &[RecordSet], wanted: &Wanted) -> Result<Flip, RouteError> {
    let creates = record_sets(wanted)?;
    let own = [wanted.name.clone(), epoch_name(&wanted.name)];
    let is_own =
        |set: &&RecordSet| own.contains(&set.name) && matches!(set.kind.as_str(), "A" | "AAAA" | "CNAME" | "TXT");
    let mut deletes: Vec<RecordSet> = present.iter().filter(is_own).cloned().collect();
    // A `TXT` beside address records under the name itself is somebody else's, e.g. a proof of ownership.
    deletes.retain(|set| set.kind != "TXT" || set.name != wanted.name);
    let (mut there, mut asked) = (deletes.clone(), creates.clone());
    there.sort();
    asked.sort();
    if there == asked {
        return Ok(Flip::default());
    }
    match epoch_of(present, &wanted.name) {
        Some(epoch) if epoch > wanted.epoch => Err(RouteError::Fenced { present: epoch, epoch: wanted.epoch }),
        Some(epoch) if epoch == wanted.epoch && home_of(present, &wanted.name) != Some(&wanted.home) => {
            Err(RouteError::Contradiction(epoch))
        }
        _ => Ok(Flip { deletes, creates }),
    }
}

/// The region whose record set is the primary.
#[must_use]
pub fn home_of<'a>(present: &'a [RecordSet], name: &str) -> Option<&'a String> {
    present.iter().filter(|set| set.name == name).find_map(|set| match &set.role {
        Some((Role::Primary, region)) => Some(region),
        _ => None,
    })
}

/// What a resolver is told for a name: the primary's values while its health check passes, else the secondary's while that
/// one's does, else the primary's, as the service does.
#[must_use]
pub fn answer<'a>(present: &'a [RecordSet], name: &str, is_healthy: impl Fn(&str) -> bool) -> &'a [String] {
    let role =
        |role: Role| present.iter().find(|set| set.name == name && set.role.as_ref().is_some_and(|own| own.0 == role));
    let healthy = |set: &&RecordSet| set.health_check.as_deref().is_none_or(&is_healthy);
    let (primary, secondary) = (role(Role::Primary), role(Role::Secondary));
    let told = primary.filter(healthy).or_else(|| secondary.filter(healthy)).or(primary);
    told.map_or(&[], |set| &set.values)
}

fn record_sets(wanted: &Wanted) -> Result<Vec<RecordSet>, RouteError> {
    let Wanted { name, epoch, home, regions } = wanted;
    let invalid = |why: String| Err(RouteError::Invalid(why));
    if regions.len() != 2 || regions[0].region == regions[1].region {
        return invalid(format!("DNS fails over between two regions, and {} are named", regions.len()));
    }
    if regions.iter().all(|route| route.region != *home) {
        return invalid(format!("the home region {home} is not among the regions that DNS names"));
    }
    let mut sets = Vec::with_capacity(3);
    for route in regions {
        let Some(first) = route.targets.first() else {
            return invalid(format!("region {} has no address for DNS", route.region));
        };
        let kind = kind_of(first);
        if route.targets.iter().any(|target| kind_of(target) != kind) || (kind == "CNAME" && route.targets.len() > 1) {
            return invalid(format!(
                "region {} has one host name or addresses of one family, not {:?}",
                route.region, route.targets
            ));
        }
        let role = if route.region == *home { Role::Primary } else { Role::Secondary };
        sets.push(RecordSet {
            name: name.clone(),
            kind: kind.to_owned(),
            role: Some((role, route.region.clone())),
            health_check: route.health_check.clone(),
            ttl: TTL_SECONDS,
            values: route.targets.clone(),
        });
    }
    if sets[0].kind != sets[1].kind {
        return invalid(
            "both regions have to be named in the same way: by host names, or by addresses of one family".to_owned(),
        );
    }
    sets.push(RecordSet {
        name: epoch_name(name),
        kind: "TXT".to_owned(),
        role: None,
        health_check: None,
        ttl: TTL_SECONDS,
        values: vec![format!("\"epoch={epoch}\"")],
    });
    Ok(sets)
}

fn kind_of(target: &str) -> &'static str {
    match target.parse() {
        Ok(std::net::IpAddr::V4(_)) => "A",
        Ok(std::net::IpAddr::V6(_)) => "AAAA",
        Err(_) => "CNAME",
    }
}

/// A record set on one line, as `promote --dry-run` shows it.
impl fmt::Display for RecordSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.ttl, self.kind)?;
        if let Some((role, region)) = &self.role {
            let role = if *role == Role::Primary { "PRIMARY" } else { "SECONDARY" };
            write!(f, " {role} ({region})")?;
        }
        if let Some(check) = &self.health_check {
            write!(f, " health check {check}")?;
        }
        write!(f, " {}", self.values.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::{RecordSet, RegionRoute, RouteError, Wanted, answer, epoch_of, home_of, plan};

    fn wanted(epoch: u64, home: &str) -> Wanted {
        let route = |region: &str, target: &str| RegionRoute {
            region: region.to_owned(),
            targets: vec![target.to_owned()],
            health_check: Some(format!("check-{region}")),
        };
        Wanted {
            name: "edit.example.org".to_owned(),
            epoch,
            home: home.to_owned(),
            regions: vec![route("a", "a.example.org"), route("b", "b.example.org")],
        }
    }

    /// What is there after the batch, when every deleted set was there exactly so.
    fn apply(present: &mut Vec<RecordSet>, flip: &super::Flip) -> bool {
        if !flip.deletes.iter().all(|set| present.contains(set)) {
            return false;
        }
        present.retain(|set| !flip.deletes.contains(set));
        present.extend(flip.creates.clone());
        true
    }

    #[test]
    fn a_flip_moves_the_primary_and_is_a_compare_and_set() {
        let other = RecordSet {
            name: "edit.example.org".to_owned(),
            kind: "TXT".to_owned(),
            role: None,
            health_check: None,
            ttl: 300,
            values: vec!["\"proof\"".to_owned()],
        };
        let mut present = vec![other.clone()];
        let first = plan(&present, &wanted(1, "a")).unwrap();
        assert_eq!((first.deletes.len(), first.creates.len()), (0, 3));
        assert!(apply(&mut present, &first));
        assert_eq!(plan(&present, &wanted(1, "a")).unwrap(), super::Flip::default(), "it is done already");

        let flip = plan(&present, &wanted(2, "b")).unwrap();
        let rival = plan(&present, &wanted(3, "a")).unwrap();
        assert!(apply(&mut present, &flip));
        assert!(!apply(&mut present, &rival), "what the rival deletes is not there any more");
        assert_eq!(
            (epoch_of(&present, "edit.example.org"), home_of(&present, "edit.example.org").unwrap().as_str()),
            (Some(2), "b")
        );
        assert!(present.contains(&other), "what is not ours stays");
        assert_eq!(plan(&present, &wanted(1, "a")), Err(RouteError::Fenced { present: 2, epoch: 1 }));
        assert_eq!(plan(&present, &wanted(2, "a")), Err(RouteError::Contradiction(2)));
    }

    #[test]
    fn resolvers_are_told_the_healthy_one() {
        let mut present = Vec::new();
        let flip = plan(&present, &wanted(1, "b")).unwrap();
        apply(&mut present, &flip);
        let check = |healthy: &[&str], expected: &str| {
            let told = answer(&present, "edit.example.org", |check| healthy.contains(&check));
            assert_eq!(told, [expected.to_owned()], "{healthy:?}");
        };
        check(&["check-a", "check-b"], "b.example.org");
        check(&["check-a"], "a.example.org");
        check(&["check-b"], "b.example.org");
        check(&[], "b.example.org");
        assert!(answer(&present, "other.example.org", |_| true).is_empty());
    }

    #[test]
    fn what_is_no_route_is_refused_by_what_is_wrong() {
        let check = |wanted: Wanted, part: &str| {
            let error = plan(&[], &wanted).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(wanted(1, "c"), "home region c");
        let mut one = wanted(1, "a");
        one.regions.truncate(1);
        check(one, "between two regions");
        let mut mixed = wanted(1, "a");
        mixed.regions[1].targets = vec!["192.0.2.1".to_owned()];
        check(mixed, "in the same way");
        let mut two = wanted(1, "a");
        two.regions[1].targets.push("c.example.org".to_owned());
        check(two, "region b");
        let mut none = wanted(1, "a");
        none.regions[0].targets.clear();
        check(none, "region a has no address");
    }
}

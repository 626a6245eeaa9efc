//! Settings that stand for something only beside another one: given without it they would be passed over in silence.

use selvedge_region::regional::SettingError;

use super::{AGREE_MS, Config, LEASE_MS, OBSERVERS, PROMOTION_PAUSE_MS, WITNESS_TABLE, wrong};

/// A setting by its flag, with its value where it says something else than its default.
type Given = (&'static str, Option<String>);

/// Refuses the first of them.
pub(super) fn check(config: &Config) -> Result<(), SettingError> {
    let witness = config.witness.witness.is_some() || config.witness.witness_aws_region.is_some();
    let groups: [(&str, bool, Vec<Given>); 4] = [
        ("peer-region", config.peer_region.is_some(), beside_the_peer(config)),
        ("dns-zone", config.dns.dns_zone.is_some(), beside_the_zone(config)),
        ("endpoints-key", config.endpoints.endpoints_key.is_some(), beside_the_key(config)),
        ("witness", witness, beside_the_witness(config)),
    ];
    for (needed, present, given) in groups {
        if present {
            continue;
        }
        if let Some((flag, value)) = given.into_iter().find_map(|(flag, value)| Some((flag, value?))) {
            let problem = format!("says nothing without --{needed}");
            return Err(wrong(flag, &value, &problem, &format!("give --{needed}, too, or leave it out")));
        }
    }
    Ok(())
}

fn beside_the_peer(config: &Config) -> Vec<Given> {
    vec![
        ("s3-replication-role", config.s3_replication_role.clone()),
        ("peer-dns-target", list(&config.dns.peer_dns_target)),
        ("peer-relays", list(&config.endpoints.peer_relays)),
    ]
}

fn beside_the_zone(config: &Config) -> Vec<Given> {
    let dns = &config.dns;
    vec![
        ("dns-name", dns.dns_name.clone()),
        ("dns-target", list(&dns.dns_target)),
        ("peer-dns-target", list(&dns.peer_dns_target)),
        ("dns-health", dns.dns_health.clone()),
        ("route53", dns.route53.clone()),
    ]
}

fn beside_the_key(config: &Config) -> Vec<Given> {
    let endpoints = &config.endpoints;
    vec![("relays", list(&endpoints.relays)), ("peer-relays", list(&endpoints.peer_relays))]
}

fn beside_the_witness(config: &Config) -> Vec<Given> {
    let witness = &config.witness;
    vec![
        ("witness-table", unlike(witness.witness_table.as_str(), WITNESS_TABLE)),
        ("observers", unlike(witness.observers, OBSERVERS)),
        ("lease-ms", unlike(witness.lease_ms, LEASE_MS)),
        ("agree-ms", unlike(witness.agree_ms, AGREE_MS)),
        ("promotion-pause-ms", unlike(witness.promotion_pause_ms, PROMOTION_PAUSE_MS)),
    ]
}

fn list(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| values.join(","))
}

fn unlike<T: PartialEq + ToString>(value: T, default: T) -> Option<String> {
    (value != default).then(|| value.to_string())
}

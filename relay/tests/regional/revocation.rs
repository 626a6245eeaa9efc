//! Decisions reach open sessions without the bus of the region that decided: from another process and from the other region.

use std::time::{Duration, Instant};

use selvedge_engine::SiteId;
use selvedge_protocol::{Channel, CloseCode, Rights, ServerMessage};
use selvedge_region::regional::{RegionalArgs, RegionalRegion};
use selvedge_region::{Control, DocumentKey};
use selvedge_relay::auth::config::SigningAlgorithm;
use tokio::task::JoinHandle;

use crate::harness::Relay;
use crate::harness::raw::{Raw, hello, words};
use crate::issuer::{AUDIENCE, Issuer, Key};
use crate::services_of;

/// A revocation is in force everywhere within this (99 of 100).
const WITHIN: Duration = Duration::from_secs(5);
/// Between two looks for records to carry.
const CARRY: Duration = Duration::from_millis(100);

const BEN: &str = "user:ben";

async fn relay(region: &str, services: &RegionalArgs, issuer: &Issuer) -> Relay {
    let url = issuer.url.clone();
    Relay::start_with(move |config| {
        region.clone_into(&mut config.region);
        if region != "a" {
            config.home_region = Some("a".to_owned());
            config.peer_region = Some("a".to_owned());
        }
        config.services = services.clone();
        config.auth.jwt_issuer = Some(url);
        config.auth.jwt_audience = vec![AUDIENCE.to_owned()];
        config.auth.jwt_algorithm = SigningAlgorithm::Es256;
    })
    .await
}

async fn enter(relay: &Relay, token: &str) -> Raw {
    let mut raw = Raw::connect(&relay.socket()).await;
    let mut first = hello(&[1], None);
    first.token = Some(token.to_owned());
    raw.send(Channel::CONNECTION, first).await;
    raw.expect(|message| matches!(message, ServerMessage::HelloOk(_))).await;
    raw
}

async fn region(name: &str, services: &RegionalArgs) -> RegionalRegion {
    RegionalRegion::open(services.options(name, "a").unwrap().unwrap()).await.unwrap()
}

/// Opens the document once that principal's rights on it are known in the relay's region.
async fn opened(relay: &Relay, token: &str, control: &dyn Control, rights: Rights) -> Raw {
    let document = "t/notes".parse().unwrap();
    let began = Instant::now();
    while control.rights(&document, BEN).await.unwrap() != rights {
        assert!(began.elapsed() < crate::harness::PATIENCE, "the rights never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut ben = enter(relay, token).await;
    assert_eq!(ben.open(1, "notes").await.rights, rights);
    ben
}

async fn closed(raw: &mut Raw) -> (CloseCode, Duration) {
    let began = Instant::now();
    let (_, message) = raw.expect(|message| matches!(message, ServerMessage::Closed(_))).await;
    let ServerMessage::Closed(closed) = message else { unreachable!() };
    (CloseCode(closed.code), began.elapsed())
}

async fn acked(raw: &mut Raw, site: u64) {
    raw.push(1, &words(SiteId::random(site), &["text"])).await;
    raw.expect(|message| matches!(message, ServerMessage::Ack(_))).await;
}

/// Decides about an open document as another process does that tells no bus, and looks at what open sessions hear.
async fn decide(home: &dyn Control, relay: &Relay, here: &dyn Control, key: &Key, issuer: &Issuer) {
    let document = "t/notes".parse().unwrap();
    let token = |subject: &str| key.sign(&issuer.claims(subject, "t"));
    home.set_rights(&document, BEN, Rights::Write).await.unwrap();
    let mut ben = opened(relay, &token("ben"), here, Rights::Write).await;
    acked(&mut ben, 2).await;
    let began = Instant::now();
    home.set_rights(&document, BEN, Rights::Read).await.unwrap();
    let (_, told) = ben.expect(|message| matches!(message, ServerMessage::Rights(_))).await;
    assert!(matches!(told, ServerMessage::Rights(changed) if changed.rights == Rights::Read));
    assert!(began.elapsed() < WITHIN, "a reader after {:?}", began.elapsed());
    ben.push(1, &words(SiteId::random(3), &["more"])).await;
    ben.expect(|message| matches!(message, ServerMessage::Refused(_))).await;
    home.set_rights(&document, BEN, Rights::None).await.unwrap();
    let (code, after) = closed(&mut ben).await;
    assert_eq!(code, CloseCode::FORBIDDEN);
    assert!(after < WITHIN, "revoked after {after:?}");
    home.set_rights(&document, BEN, Rights::Write).await.unwrap();
    let mut ben = opened(relay, &token("ben"), here, Rights::Write).await;
    home.delete(&DocumentKey::new(document, 1), 9).await.unwrap();
    let (code, after) = closed(&mut ben).await;
    assert_eq!(code, CloseCode::DELETED);
    assert!(after < WITHIN, "deleted after {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_takes_effect_although_the_bus_did_not_tell_of_it() {
    let Some(services) = services_of('A', "a_decision_takes_effect_although_the_bus_did_not_tell_of_it") else {
        return;
    };
    let key = Key::elliptic("one");
    let issuer = Issuer::start(&[&key]).await;
    let (relay, other) = (relay("a", &services, &issuer).await, region("a", &services).await);
    let mut ada = enter(&relay, &key.sign(&issuer.claims("ada", "t"))).await;
    assert_eq!(ada.open(1, "notes").await.rights, Rights::Admin);
    acked(&mut ada, 1).await;
    let control = &*other.region().control;
    decide(control, &relay, control, &key, &issuer).await;
    assert!(relay.running.drain().await);
    other.close().await;
}

/// Carries one region's decisions to the other until it is dropped.
struct Carrying(JoinHandle<()>);

impl Carrying {
    fn start(from: &RegionalRegion, to: &RegionalRegion) -> Self {
        let (from, to) = (from.control_log(), to.control_log());
        Self(tokio::spawn(async move {
            let mut next = 0;
            loop {
                let page = from.records(next, 100).await.unwrap();
                to.import(from.log_id(), page.records).await.unwrap();
                next = page.next;
                tokio::time::sleep(CARRY).await;
            }
        }))
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_of_the_home_takes_effect_in_the_other_region() {
    let test = "a_decision_of_the_home_takes_effect_in_the_other_region";
    let (Some(home_services), Some(services)) = (services_of('A', test), services_of('B', test)) else { return };
    let key = Key::elliptic("one");
    let issuer = Issuer::start(&[&key]).await;
    let at_home = relay("a", &home_services, &issuer).await;
    let (home, standby) = (region("a", &home_services).await, region("b", &services).await);
    let _carrying = Carrying::start(&home, &standby);
    let relay = relay("b", &services, &issuer).await;
    let mut ada = enter(&at_home, &key.sign(&issuer.claims("ada", "t"))).await;
    assert_eq!(ada.open(1, "notes").await.rights, Rights::Admin);
    acked(&mut ada, 1).await;
    decide(&*home.region().control, &relay, &*standby.region().control, &key, &issuer).await;
    assert!(relay.running.drain().await && at_home.running.drain().await);
    home.close().await;
    standby.close().await;
}

//! The smallest drill: one relay with a folder of its own is killed and comes back while clients type.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use selvedge_tests::drill::{Case, DrillOptions, Reading, print, run};
use selvedge_tests::fleet::RegionFleet;
use selvedge_tests::history::{Event, Place};

fn nothing<'a>(_: &'a RegionFleet, _: &'a [String]) -> BoxFuture<'a, anyhow::Result<Reading>> {
    async { Ok(Reading::default()) }.boxed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_relay_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = DrillOptions {
        clients: 8,
        documents: 2,
        pause: Duration::from_millis(100),
        before: Duration::from_secs(2),
        away: Duration::from_secs(1),
        after: Duration::from_secs(2),
        ..DrillOptions::default()
    };
    let outcome = run(Case::RelayKilled, &options, None, folder.path(), &nothing).await.unwrap();
    print(Case::RelayKilled, std::slice::from_ref(&outcome));
    assert!(outcome.breaches.is_empty());

    // It was a run that could have shown something.
    let history = &outcome.history;
    let events = |wanted: fn(&Event) -> bool| history.events.iter().filter(|event| wanted(event)).count();
    assert!(events(|event| matches!(event, Event::Typed { .. })) > 100);
    assert!(events(|event| matches!(event, Event::Erased { .. })) > 0);
    assert!(events(|event| matches!(event, Event::Linked { relay: None, .. })) >= 8, "nobody noticed");
    assert_eq!(history.finals.iter().filter(|end| matches!(end.place, Place::Client { .. })).count(), 8);
    assert_eq!(history.finals.iter().filter(|end| matches!(end.place, Place::Relay { .. })).count(), 2);
}

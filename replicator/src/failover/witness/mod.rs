//! The witness: a third place that keeps one lease, what the observers say, and the newest order. One trait, one contract.

#[cfg(feature = "regional")]
mod dynamodb;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use selvedge_region::{Error, Result};

#[cfg(feature = "regional")]
pub use dynamodb::DynamoWitness;

use super::{Lease, Observation, Order, Stamp, View};

/// The witness.
pub trait Witness: Send + Sync {
    /// Everything it knows, as of one moment after the call.
    ///
    /// # Errors
    /// `Unavailable` when it does not answer.
    fn look(&self) -> BoxFuture<'_, Result<View>>;

    /// Writes the lease if it still is what `expected` names (`None`: not there).
    ///
    /// # Errors
    /// `Conflict` when it is not: nothing was written. `Unavailable`: nobody knows.
    fn write<'a>(&'a self, expected: Option<Stamp>, lease: &'a Lease) -> BoxFuture<'a, Result<()>>;

    /// Keeps what one observer says, in place of what it said before.
    fn observe<'a>(&'a self, observation: &'a Observation) -> BoxFuture<'a, Result<()>>;

    /// Gives an order, which replaces the one before; answers its number.
    ///
    /// # Errors
    /// `Conflict` when another order was given meanwhile.
    fn order<'a>(&'a self, to: &'a str) -> BoxFuture<'a, Result<u64>>;
}

/// A witness in memory, for tests and for the simulator.
#[derive(Debug, Default)]
pub struct MemoryWitness {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    lease: Option<Lease>,
    observations: BTreeMap<String, Observation>,
    order: Option<Order>,
    away: bool,
}

impl MemoryWitness {
    /// From now on it does not answer, or it does again.
    pub fn set_away(&self, away: bool) {
        self.locked().away = away;
    }

    fn locked(&self) -> MutexGuard<'_, Kept> {
        // Every change under the lock is whole, so a panic elsewhere leaves nothing half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn there(&self) -> Result<MutexGuard<'_, Kept>> {
        let kept = self.locked();
        if kept.away { Err(Error::Unavailable { what: "witness", source: None }) } else { Ok(kept) }
    }
}

impl Witness for MemoryWitness {
    fn look(&self) -> BoxFuture<'_, Result<View>> {
        Box::pin(async move {
            let kept = self.there()?;
            let observations = kept.observations.values().cloned().collect();
            Ok(View { lease: kept.lease.clone(), observations, order: kept.order.clone() })
        })
    }

    fn write<'a>(&'a self, expected: Option<Stamp>, lease: &'a Lease) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut kept = self.there()?;
            if kept.lease.as_ref().map(Lease::stamp) != expected {
                return Err(Error::Conflict { what: "the lease".to_owned() });
            }
            kept.lease = Some(lease.clone());
            Ok(())
        })
    }

    fn observe<'a>(&'a self, observation: &'a Observation) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.there()?.observations.insert(observation.observer.clone(), observation.clone());
            Ok(())
        })
    }

    fn order<'a>(&'a self, to: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let mut kept = self.there()?;
            let id = kept.order.as_ref().map_or(1, |order| order.id + 1);
            kept.order = Some(Order { id, to: to.to_owned() });
            Ok(id)
        })
    }
}

/// Holds a witness, in which nothing is kept yet, to its contract.
///
/// # Panics
/// Where the contract is broken.
pub async fn contract(witness: &dyn Witness) {
    assert_eq!(witness.look().await.expect("look"), View::default());
    let first = Lease { epoch: 1, region: "a".into(), process: 7, renewal: 1, promoted_ms: 0, order: 0 };
    let conflict = |outcome: Result<()>| assert!(matches!(outcome, Err(Error::Conflict { .. })), "{outcome:?}");
    conflict(witness.write(Some(first.stamp()), &first).await);
    witness.write(None, &first).await.expect("nobody held it");
    conflict(witness.write(None, &first).await);
    let renewed = Lease { renewal: 2, ..first.clone() };
    witness.write(Some(first.stamp()), &renewed).await.expect("a renewal");
    conflict(witness.write(Some(first.stamp()), &renewed).await);
    let taken = Lease { epoch: 2, region: "b".into(), process: u64::MAX, renewal: 3, promoted_ms: 1 << 41, order: 9 };
    witness.write(Some(renewed.stamp()), &taken).await.expect("taken over");
    conflict(witness.write(Some(renewed.stamp()), &Lease { renewal: 3, ..first.clone() }).await);

    let stamp = Some(taken.stamp());
    for (observer, beat, suspects) in [("b/1", 1, None), ("c/1", 5, stamp), ("b/1", u64::MAX, stamp)] {
        witness.observe(&Observation { observer: observer.into(), beat, suspects }).await.expect("observe");
    }
    assert_eq!(witness.order("b").await.expect("order"), 1);
    assert_eq!(witness.order("a").await.expect("order"), 2);
    let mut view = witness.look().await.expect("look");
    view.observations.sort_by(|one, other| one.observer.cmp(&other.observer));
    let said = |observer: &str, beat| Observation { observer: observer.into(), beat, suspects: stamp };
    assert_eq!(view.lease, Some(taken.clone()));
    assert_eq!(view.observations, [said("b/1", u64::MAX), said("c/1", 5)], "the newest of each");
    assert_eq!(view.order, Some(Order { id: 2, to: "a".into() }));

    // Of many that want it at once one has it.
    let wanted = (0..8).map(|process| Lease { epoch: 3, process, renewal: 4, ..taken.clone() });
    let wanted: Vec<Lease> = wanted.collect();
    let tries = wanted.iter().map(|lease| witness.write(stamp, lease));
    let won = futures_util::future::join_all(tries).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
}

#[cfg(test)]
mod tests {
    use super::{MemoryWitness, Witness, contract};

    #[tokio::test]
    async fn the_twin_in_memory_keeps_the_contract() {
        let witness = MemoryWitness::default();
        contract(&witness).await;
        witness.set_away(true);
        assert!(witness.look().await.unwrap_err().retryable());
    }
}

//! Telling the latest of each thing: what is overtaken before it was told is not told at all, so that nothing queues up
//! behind a slow or absent listener.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The newest value of each key that was not told yet. Clones share it.
pub(crate) struct Latest<K, V> {
    values: Arc<Mutex<BTreeMap<K, V>>>,
    news: Arc<Notify>,
}

impl<K, V> Clone for Latest<K, V> {
    fn clone(&self) -> Self {
        Self { values: Arc::clone(&self.values), news: Arc::clone(&self.news) }
    }
}

impl<K: Ord + Clone, V: Clone> Latest<K, V> {
    pub(crate) fn new() -> Self {
        Self { values: Arc::default(), news: Arc::default() }
    }

    pub(crate) fn set(&self, key: K, value: V) {
        self.locked().insert(key, value);
        self.news.notify_one();
    }

    /// Waits for something that was not told yet, and takes it. Safe to drop before it answers.
    pub(crate) async fn next(&self) -> (K, V) {
        loop {
            // What is set after this look wakes the wait below.
            if let Some(newest) = self.take() {
                return newest;
            }
            self.news.notified().await;
        }
    }

    /// Puts back what could not be told, unless something newer has come.
    pub(crate) fn put_back(&self, key: K, value: V) {
        self.locked().entry(key).or_insert(value);
    }

    fn take(&self) -> Option<(K, V)> {
        self.locked().pop_first()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<K, V>> {
        // The map is whole after every step, so a panic elsewhere under the lock leaves nothing half done.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Latest;

    #[tokio::test]
    async fn the_newest_is_told_and_what_failed_is_told_again_unless_it_is_overtaken() {
        let latest = Latest::new();
        for (key, value) in [(1, 10), (2, 20), (1, 11)] {
            latest.set(key, value);
        }
        let (key, value) = latest.next().await;
        assert_eq!((key, value), (1, 11));
        latest.put_back(key, value);
        assert_eq!(latest.next().await, (1, 11));
        latest.set(1, 12);
        latest.put_back(1, 11);
        assert_eq!([latest.next().await, latest.next().await], [(1, 12), (2, 20)]);
    }
}

//! Groups of readers of the log on SQLite. It has one partition, so one member reads and the others stand by.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::PARTITION;
use super::pages::Pages;
use crate::log::{Assignment, LogReader, Reading};
use crate::{Error, Position, Result};

/// Entries of one page that a member is given.
const PAGE_ENTRIES: usize = 1000;

/// Every group that has members.
#[derive(Default)]
pub(super) struct Groups {
    members: Mutex<HashMap<String, VecDeque<u64>>>,
    /// Told when a member leaves.
    left: Notify,
}

impl Groups {
    /// Adds a member; the first one has the partition.
    pub(super) fn join(groups: &Arc<Self>, group: &str, pages: Pages) -> Box<dyn LogReader> {
        let member = rand::random();
        groups.locked().entry(group.to_owned()).or_default().push_back(member);
        Box::new(Member { groups: Arc::clone(groups), group: group.to_owned(), member, pages, at: None })
    }

    pub(super) fn has_members(&self, group: &str) -> bool {
        self.locked().contains_key(group)
    }

    fn is_first(&self, group: &str, member: u64) -> bool {
        self.locked().get(group).and_then(VecDeque::front) == Some(&member)
    }

    fn leave(&self, group: &str, member: u64) {
        let mut groups = self.locked();
        if let Some(members) = groups.get_mut(group) {
            members.retain(|other| *other != member);
            if members.is_empty() {
                groups.remove(group);
            }
        }
        drop(groups);
        self.left.notify_waiters();
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, VecDeque<u64>>> {
        // The map is whole after every step, so a panic elsewhere under the lock leaves nothing half done.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Member {
    groups: Arc<Groups>,
    group: String,
    member: u64,
    pages: Pages,
    /// The offset of the next page; `None` while the partition is another member's.
    at: Option<u64>,
}

impl Member {
    /// Takes the partition over where the group left it.
    async fn take_over(&mut self) -> Result<Reading> {
        let committed = self.pages.progress(&self.group).await?;
        let start = self.pages.bounds(PARTITION).await?.start.offset;
        let from = committed.map_or(start, |committed| committed.max(start));
        self.at = Some(from);
        Ok(Reading::Assigned(vec![Assignment { partition: PARTITION, from, committed }]))
    }

    async fn page(&mut self, at: u64) -> Result<Option<Reading>> {
        let page = match self.pages.read(PARTITION, at, PAGE_ENTRIES).await {
            // Trimmed under the reader's feet: what its group has not read yet is gone, and a new assignment says so.
            Err(Error::Gone { .. }) => return self.take_over().await.map(Some),
            page => page?,
        };
        if page.next.offset == at {
            return Ok(None);
        }
        self.at = Some(page.next.offset);
        Ok(Some(Reading::Page(page)))
    }

    async fn ready(&mut self) -> Result<Option<Reading>> {
        match self.at {
            Some(at) => self.page(at).await,
            None if self.groups.is_first(&self.group, self.member) => self.take_over().await.map(Some),
            None => Ok(None),
        }
    }

    fn read_to(&self, partition: u32, offset: u64) -> Result<u64> {
        match self.at {
            Some(at) if partition == PARTITION => Ok(at),
            _ => Err(Error::Conflict { what: format!("partition {partition} of group {} ({offset})", self.group) }),
        }
    }
}

impl LogReader for Member {
    fn next(&mut self, wait: Duration) -> BoxFuture<'_, Result<Reading>> {
        Box::pin(async move {
            let deadline = Instant::now() + wait;
            let groups = Arc::clone(&self.groups);
            let mut head = self.pages.head.clone();
            loop {
                // Both are armed before the look, so that nothing that happens after it is missed.
                head.borrow_and_update();
                let left = groups.left.notified();
                if let Some(reading) = self.ready().await? {
                    return Ok(reading);
                }
                let news = async {
                    tokio::select! {
                        changed = head.changed() => changed.map_err(|_| Error::Closed { what: super::WHAT }),
                        () = left => Ok(()),
                    }
                };
                match timeout_at(deadline, news).await {
                    Ok(news) => news?,
                    Err(_) => return Ok(Reading::Idle),
                }
            }
        })
    }

    fn rewind(&mut self, partition: u32, offset: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let at = self.read_to(partition, offset)?;
            self.at = Some(at.min(offset));
            Ok(())
        })
    }

    fn commit(&mut self, partition: u32, offset: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let at = self.read_to(partition, offset)?;
            if offset > at {
                let asked = Position { log: self.pages.id, partition, offset };
                return Err(Error::BeyondEnd { asked, end: Position { offset: at, ..asked } });
            }
            self.pages.commit_progress(&self.group, partition, offset).await
        })
    }

    fn leave(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            // Dropping it is leaving.
            drop(self);
            Ok(())
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.groups.leave(&self.group, self.member);
    }
}

//! Reading a log as a member of a group: the log's partitions are shared out among the group's members, each partition to
//! one at a time, and the group keeps one committed offset a partition.
//!
//! `persist` and `ship` read this way. A member is told what is its own, reads pages of it in order, and commits an offset
//! once everything below it is durable elsewhere. Whatever it read and did not commit is read again by the next owner.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::LogPage;
use crate::Result;

/// A partition that has become this member's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub partition: u32,
    /// The offset its first page begins at.
    pub from: u64,
    /// What the group had committed. Below `from`: the log was trimmed before the group read it, and what lay between has to
    /// come from op store and snapshot. `None`: nothing, and reading begins at the earliest record.
    pub committed: Option<u64>,
}

/// What a member of a group meets next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// These partitions are this member's from now on, beside those it has.
    Assigned(Vec<Assignment>),
    /// These partitions are asked back for another member. They stay this member's until it calls [`LogReader::next`] again:
    /// what it commits before then, the next owner does not read again.
    Revoked(Vec<u32>),
    /// These partitions were taken away without notice, because the group had not heard of this member for too long. Nothing
    /// of them can be committed any more.
    Lost(Vec<u32>),
    /// Records of one partition, following on from its page before. [`LogPage::at_end`]: nothing lies behind them now.
    Page(LogPage),
    /// Nothing came in the time given.
    Idle,
}

/// A member of a group. Dropping it leaves the group late: the others wait until it is missed. [`LogReader::leave`] is better.
pub trait LogReader: Send {
    /// Waits, at most `wait`, for what comes next. A member that does not call this for a minute is missed by its group.
    /// Safe to drop before it answers: nothing is passed over.
    ///
    /// # Errors
    /// `Unavailable`: the log cannot be reached; call again. `Closed`: the log is shut down.
    fn next(&mut self, wait: Duration) -> BoxFuture<'_, Result<Reading>>;

    /// Goes back: the next page of the partition begins at `offset`, which this member has read before. For one that failed to
    /// make a page durable.
    ///
    /// # Errors
    /// `Conflict` when the partition is not this member's.
    fn rewind(&mut self, partition: u32, offset: u64) -> BoxFuture<'_, Result<()>>;

    /// Keeps for the group that everything of the partition below `offset` is done with; durable before it answers.
    /// [`super::RegionLog::progress`] tells it to everybody under the group's name.
    ///
    /// # Errors
    /// `Conflict` when the partition is not this member's, or no longer; `BeyondEnd` past what it was given to read;
    /// `Unavailable` while the group shares out anew: call [`LogReader::next`], and commit again.
    fn commit(&mut self, partition: u32, offset: u64) -> BoxFuture<'_, Result<()>>;

    /// Leaves the group, which shares out this member's partitions at once. What was not committed is read again by others.
    fn leave(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

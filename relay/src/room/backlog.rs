//! Announced outboxes wait while `persist` is far behind the log: what they bring was written long ago and is kept where it
//! was written, and a store that fails to keep up is not helped by it. Typing goes on: its ack is the log's.
//!
//! Looked at where it matters only: while a session has credit in use, as often as the log's head.

use selvedge_protocol::message::Credit;

use super::{Room, RoomEffect};

/// What is known of `persist`.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// At the last look it was further behind than may be.
    is_long: bool,
    asking: bool,
}

impl Room {
    /// Finds out how far `persist` is behind, if somebody's credit depends on it.
    pub(super) fn ask_backlog(&mut self) {
        let most = self.setup.config.outbox_credit_bytes;
        let in_use = self.members.values().any(|member| member.credit_due > 0 || member.outbox_left < most);
        if in_use && !self.backlog.asking {
            self.backlog.asking = true;
            self.effects.push_back(RoomEffect::ReadBacklog);
        }
    }

    /// `persist` has this many records of the partition before it; `None`: that could not be found out, and nobody waits
    /// for it.
    pub(super) fn backlog_read(&mut self, records: Option<u64>) {
        self.backlog.asking = false;
        self.backlog.is_long = records.is_some_and(|records| records > self.setup.config.persist_lag_records_max);
        self.give_due_credits();
    }

    /// Gives back what is confirmed: in quarters of all credit, or at once when nothing is under way.
    pub(super) fn give_due_credits(&mut self) {
        if self.backlog.is_long {
            return;
        }
        let due_at = self.setup.config.outbox_credit_bytes / 4;
        let idle = self.queue.is_idle();
        let due =
            self.members.iter_mut().filter(|(_, member)| member.credit_due > due_at || (idle && member.credit_due > 0));
        let credits = due.map(|(&key, member)| {
            let bytes = std::mem::take(&mut member.credit_due);
            member.outbox_left += bytes;
            (key, bytes)
        });
        for (key, bytes) in credits.collect::<Vec<_>>() {
            self.send(key, Credit { bytes });
        }
    }
}

//! The link between two regions, and what can become of it: it is slow, it falls silent, it is cut.
//!
//! Everything that crosses the link goes through a *passage*, a way of TCP or UDP on this machine with a port of its own. All
//! passages of a link share its condition. It needs no privilege, and so every connection ends in it: packets themselves are
//! delayed and lost by [`network`], which needs root.

#[cfg(target_os = "linux")]
pub mod network;
mod passage;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::time::Duration;

use tokio::sync::watch;

pub use passage::Passage;

/// What happens to what crosses the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is passed on, late by [`Condition::delay`].
    Open,
    /// It is kept back, or lost where packets may be; nothing is closed and nobody is told. As a cable pulled out.
    Silent,
    /// Connections are closed, and new ones at once. As a process that ended.
    Cut,
}

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Whether anything passes.
    pub way: Way,
    /// How long it takes, one way.
    pub delay: Duration,
}

/// A link. Its passages end with it.
#[derive(Debug)]
pub struct Link {
    condition: watch::Sender<Condition>,
}

impl Link {
    /// An open link with that delay, one way.
    #[must_use]
    pub fn new(delay: Duration) -> Self {
        Self { condition: watch::Sender::new(Condition { way: Way::Open, delay }) }
    }

    /// Changes what happens from now on.
    pub fn set(&self, way: Way) {
        self.condition.send_modify(|condition| condition.way = way);
    }

    /// How it is now.
    #[must_use]
    pub fn condition(&self) -> Condition {
        *self.condition.borrow()
    }

    /// Opens a passage for TCP to `target` (`host:port`), at that port of this machine; 0: any.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn tcp(&self, port: u16, target: &str) -> std::io::Result<Passage> {
        tcp::open(port, target.to_owned(), self.condition.subscribe()).await
    }

    /// Opens a passage for UDP to `target`, at that port of this machine; 0: any.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn udp(&self, port: u16, target: &str) -> std::io::Result<Passage> {
        udp::open(port, target.to_owned(), self.condition.subscribe()).await
    }
}

/// Waits until the way is another one than `way`; for ever, when the link is gone.
async fn until_not(way: Way, condition: &mut watch::Receiver<Condition>) -> Way {
    let changed = condition.wait_for(|condition| condition.way != way).await.map(|condition| condition.way);
    match changed {
        Ok(way) => way,
        Err(_) => std::future::pending().await,
    }
}

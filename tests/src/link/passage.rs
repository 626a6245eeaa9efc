//! An open passage.

use std::net::SocketAddr;

use tokio::task::JoinHandle;

/// One way across a link; closed when dropped, with every connection in it.
#[derive(Debug)]
pub struct Passage {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Passage {
    pub(super) fn new(address: SocketAddr, task: JoinHandle<()>) -> Self {
        Self { address, task }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.task.abort();
    }
}

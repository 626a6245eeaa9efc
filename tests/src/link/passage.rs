//! An open passage.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How long the port of a passage that was dropped may stay taken: its task ends when it is next looked at.
const FREED_WITHIN: Duration = Duration::from_secs(5);

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

/// Binds a passage's socket, and waits for the port where another passage had it a moment ago.
pub(super) async fn bound<T, F: Future<Output = io::Result<T>>>(bind: impl Fn() -> F) -> io::Result<T> {
    let begin = Instant::now();
    loop {
        match bind().await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && begin.elapsed() < FREED_WITHIN => {
                sleep(Duration::from_millis(20)).await;
            }
            bound => return bound,
        }
    }
}

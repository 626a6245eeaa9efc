//! A member of a group of the log's readers, on a task of its own: what it reads comes by a bounded channel, what it is to
//! commit goes by another, so that a slow read delays no commit and a slow reader no answer.

use std::time::Duration;

use selvedge_region::{Error, LogReader, Reading, RegionLog, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Readings on their way; when that many are, the reader waits.
const READINGS_MAX: usize = 4;
/// How long one look at the log waits for news; a commit waits as long.
const LOOK: Duration = Duration::from_millis(100);
/// Pause after pages were refused or the log did not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// What the reader tells.
pub(crate) enum Told {
    /// What came next. After [`Reading::Revoked`] nothing more is read until [`Order::Proceed`].
    Reading(Reading),
    /// A commit's outcome.
    Committed { partition: u32, offset: u64, outcome: Result<()> },
    /// Whether it went back.
    Rewound { partition: u32, outcome: Result<()> },
    /// The log did not answer; it is asked again.
    Trouble(Error),
    /// The log cannot be read any more.
    Ended(Error),
}

/// What the reader is told to do.
pub(crate) enum Order {
    Commit {
        partition: u32,
        offset: u64,
    },
    Rewind {
        partition: u32,
        offset: u64,
    },
    /// Give up what was asked back.
    Proceed,
}

/// A running reader. Dropping it leaves the group late.
pub(crate) struct Readings {
    told: mpsc::Receiver<Told>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Readings {
    /// Joins the group.
    pub(crate) async fn join(log: &dyn RegionLog, group: &str) -> Result<Self> {
        let reader = log.join(group).await?;
        let (telling, told) = mpsc::channel(READINGS_MAX);
        // Bounded by the machine that orders: it has one commit and one rewind a partition open at a time.
        let (orders, ordered) = mpsc::unbounded_channel();
        let actor = Actor { reader, telling, ordered, held: false, pause: None };
        Ok(Self { told, orders, task: tokio::spawn(actor.run()) })
    }

    /// The next thing told. Safe to drop before it answers.
    pub(crate) async fn told(&mut self) -> Told {
        let ended = || Told::Ended(Error::Closed { what: "log" });
        self.told.recv().await.unwrap_or_else(ended)
    }

    pub(crate) fn order(&self, order: Order) {
        // A reader that ended has said so.
        let _ = self.orders.send(order);
    }

    /// Leaves the group, so that the others have its partitions at once.
    pub(crate) async fn leave(self) {
        let Self { told, orders, task } = self;
        drop((told, orders));
        if let Err(error) = task.await {
            tracing::error!(%error, "a reader of the log ended by a fault");
        }
    }
}

struct Actor {
    reader: Box<dyn LogReader>,
    telling: mpsc::Sender<Told>,
    ordered: mpsc::UnboundedReceiver<Order>,
    /// Something was asked back, and is ours until [`Order::Proceed`].
    held: bool,
    pause: Option<tokio::time::Instant>,
}

impl Actor {
    async fn run(mut self) {
        while let Some(told) = self.step().await {
            let ended = matches!(told, Told::Ended(_));
            if self.telling.send(told).await.is_err() || ended {
                break;
            }
        }
        if let Err(error) = self.reader.leave().await {
            tracing::warn!(%error, "the group of readers was left untidily");
        }
    }

    /// One order or one reading; `None` when nobody listens any more. A look is never broken off: what it has begun to read
    /// would be read again, and a commit can wait for a look.
    async fn step(&mut self) -> Option<Told> {
        loop {
            let waiting = self.held || self.pause.is_some();
            let order = if waiting { self.order().await? } else { self.ordered.try_recv().ok() };
            match order {
                Some(Order::Proceed) => self.held = false,
                Some(Order::Commit { partition, offset }) => {
                    let outcome = self.reader.commit(partition, offset).await;
                    return Some(Told::Committed { partition, offset, outcome });
                }
                Some(Order::Rewind { partition, offset }) => {
                    self.pause = Some(tokio::time::Instant::now() + PAUSE);
                    let outcome = self.reader.rewind(partition, offset).await;
                    return Some(Told::Rewound { partition, outcome });
                }
                // Whoever listened has gone.
                None if self.ordered.is_closed() => return None,
                None => {
                    let reading = self.reader.next(LOOK).await;
                    if let Some(told) = self.heard(reading) {
                        return Some(told);
                    }
                }
            }
        }
    }

    /// The next order, or none when the pause is over; the outer `None`: there will be none any more.
    async fn order(&mut self) -> Option<Option<Order>> {
        let pause = self.pause;
        let over = async {
            match pause {
                Some(pause) if !self.held => tokio::time::sleep_until(pause).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            order = self.ordered.recv() => order.map(Some),
            () = over => {
                self.pause = None;
                Some(None)
            }
        }
    }

    fn heard(&mut self, reading: Result<Reading>) -> Option<Told> {
        match reading {
            Ok(Reading::Idle) => None,
            Ok(reading) => {
                self.held = matches!(reading, Reading::Revoked(_));
                Some(Told::Reading(reading))
            }
            Err(error) if error.retryable() => {
                self.pause = Some(tokio::time::Instant::now() + PAUSE);
                Some(Told::Trouble(error))
            }
            Err(error) => Some(Told::Ended(error)),
        }
    }
}

//! A room's ear on the bus: a subscription that is opened again whenever it is lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rand::RngExt;
use selvedge_protocol::DocumentId;
use selvedge_region::{Bus, BusMessage, Error, Heard, Subscription};

/// First and longest pause before a lost subscription is opened again. Half of it is drawn, so that the rooms of a process do
/// not come all at once.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A room that opens waits so long for the bus, then goes on without: what it misses it reads from the log.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// What the ear hears next.
#[derive(Debug)]
pub(crate) enum Hears {
    /// A message.
    Message(Arc<BusMessage>),
    /// Something may have been missed: the log has to be read.
    Missed,
}

/// See the module.
pub(crate) struct Hearing {
    bus: Arc<dyn Bus>,
    document: DocumentId,
    state: State,
    pause: Duration,
}

enum State {
    Open(Box<dyn Subscription>),
    Opening(BoxFuture<'static, Result<Box<dyn Subscription>, Error>>),
}

impl Hearing {
    /// Subscribes to a document. Answers at once when the bus does, and soon when it does not.
    pub(crate) async fn open(bus: Arc<dyn Bus>, document: DocumentId) -> Self {
        let state = State::Opening(subscribe(Arc::clone(&bus), document.clone(), Duration::ZERO));
        let mut hearing = Hearing { bus, document, state, pause: PAUSE_MIN };
        if tokio::time::timeout(FIRST_WITHIN, hearing.opened()).await.is_err() {
            tracing::warn!(document = %hearing.document, "no bus yet; the log is read instead");
        }
        hearing
    }

    /// Waits for what is heard next. Safe to drop before it answers.
    pub(crate) async fn next(&mut self) -> Hears {
        match &mut self.state {
            State::Open(subscription) => match subscription.heard().await {
                Ok(Heard::Message(message)) => Hears::Message(message),
                Ok(Heard::Lagged(_)) => Hears::Missed,
                Err(error) => {
                    tracing::warn!(document = %self.document, %error, "the bus is lost; the log is read instead");
                    self.reopen();
                    Hears::Missed
                }
            },
            State::Opening(_) => {
                self.opened().await;
                Hears::Missed
            }
        }
    }

    /// Waits until the subscription stands.
    async fn opened(&mut self) {
        while let State::Opening(opening) = &mut self.state {
            match opening.await {
                Ok(subscription) => {
                    self.state = State::Open(subscription);
                    self.pause = PAUSE_MIN;
                }
                Err(error) => {
                    tracing::debug!(document = %self.document, %error, "the bus does not answer");
                    self.reopen();
                }
            }
        }
    }

    fn reopen(&mut self) {
        let after = self.pause / 2 + self.pause.mul_f64(rand::rng().random_range(0.0..0.5));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.state = State::Opening(subscribe(Arc::clone(&self.bus), self.document.clone(), after));
    }
}

fn subscribe(
    bus: Arc<dyn Bus>,
    document: DocumentId,
    after: Duration,
) -> BoxFuture<'static, Result<Box<dyn Subscription>, Error>> {
    async move {
        tokio::time::sleep(after).await;
        bus.subscribe(&document).await
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use selvedge_region::Result;

    use super::*;

    /// A bus whose subscriptions answer as the test says, one list a subscription.
    #[derive(Default)]
    struct Script(Mutex<Vec<Result<Vec<Result<Heard>>>>>);

    struct Scripted(std::vec::IntoIter<Result<Heard>>);

    impl Subscription for Scripted {
        fn heard(&mut self) -> BoxFuture<'_, Result<Heard>> {
            match self.0.next() {
                Some(heard) => async move { heard }.boxed(),
                None => std::future::pending().boxed(),
            }
        }
    }

    impl Bus for Script {
        fn publish<'a>(&'a self, _: &'a DocumentId, _: Arc<BusMessage>) -> BoxFuture<'a, Result<()>> {
            async { Ok(()) }.boxed()
        }

        fn subscribe<'a>(&'a self, _: &'a DocumentId) -> BoxFuture<'a, Result<Box<dyn Subscription>>> {
            let next = self.0.lock().unwrap().pop();
            match next {
                Some(answer) => {
                    async move { answer.map(|heard| Box::new(Scripted(heard.into_iter())) as Box<dyn Subscription>) }
                        .boxed()
                }
                None => std::future::pending().boxed(),
            }
        }

        fn recent<'a>(
            &'a self,
            _: &'a DocumentId,
            _: selvedge_protocol::Position,
        ) -> BoxFuture<'a, Result<Vec<Arc<BusMessage>>>> {
            async { Err(Error::Evicted { what: "everything".to_owned() }) }.boxed()
        }

        fn lock<'a>(&'a self, _: &'a str, _: u64, _: u64) -> BoxFuture<'a, Result<bool>> {
            async { Ok(true) }.boxed()
        }

        fn unlock<'a>(&'a self, _: &'a str, _: u64) -> BoxFuture<'a, Result<()>> {
            async { Ok(()) }.boxed()
        }
    }

    fn lost() -> Error {
        Error::Unavailable { what: "bus", source: None }
    }

    fn deleted(generation: u64) -> Result<Heard> {
        Ok(Heard::Message(Arc::new(BusMessage::Deleted { generation })))
    }

    fn is_message(heard: &Hears, generation: u64) -> bool {
        matches!(heard, Hears::Message(message) if **message == BusMessage::Deleted { generation })
    }

    #[tokio::test]
    async fn a_lost_subscription_comes_back_and_says_that_something_was_missed() {
        let script = Script(Mutex::new(vec![
            Ok(vec![Ok(Heard::Lagged(3)), deleted(2)]),
            Err(lost()),
            Err(lost()),
            Ok(vec![deleted(1), Err(lost())]),
        ]));
        let mut hearing = Hearing::open(Arc::new(script), "t/d".parse().unwrap()).await;
        assert!(is_message(&hearing.next().await, 1));
        assert!(matches!(hearing.next().await, Hears::Missed), "it is lost");
        assert!(matches!(hearing.next().await, Hears::Missed), "it is back");
        assert!(matches!(hearing.next().await, Hears::Missed), "it was too slow");
        assert!(is_message(&hearing.next().await, 2));
    }

    #[tokio::test]
    async fn a_room_does_not_wait_for_a_bus_that_is_away() {
        // It answers although the bus never does.
        let mut hearing = Hearing::open(Arc::new(Script::default()), "t/d".parse().unwrap()).await;
        assert!(hearing.next().now_or_never().is_none(), "nothing was heard, and nothing missed");
    }
}

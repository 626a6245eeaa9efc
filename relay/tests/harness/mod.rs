//! What the tests of the relay share: a relay in a folder of its own, and clients that are the protocol's own machine.
#![allow(dead_code, unreachable_pub, reason = "every suite uses a part")]

pub mod http;
pub mod process;
pub mod quic;
pub mod raw;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use selvedge_protocol::client::{Client, ClientConfig, Effect, ReplicaConfig};
use selvedge_protocol::{AckLevel, Channel, CloseCode, DocumentId, Endpoint, Instant};
use selvedge_relay::{Config, Running, run};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::tungstenite::Message;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A relay inside the test.
pub struct Relay {
    pub running: Running,
    pub folder: TempDir,
}

impl Relay {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let running = run(config(&folder, change)).await.unwrap();
        Relay { running, folder }
    }

    pub async fn restart_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let Relay { running, folder } = self;
        running.drain().await;
        let running = run(config(&folder, change)).await.unwrap();
        Relay { running, folder }
    }

    pub fn socket(&self) -> String {
        format!("ws://{}/v1/connect", self.running.address)
    }

    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.address)
    }
}

fn config(folder: &TempDir, change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config { data: folder.path().join("data"), drain_ms: 2_000, ..Config::default() };
    config.listen.listen = "127.0.0.1:0".parse().unwrap();
    config.listen.admin = "127.0.0.1:0".parse().unwrap();
    change(&mut config);
    config
}

type Work = Box<dyn FnOnce(&mut Client, Instant) + Send>;

/// A client with one connection.
pub struct Peer {
    work: mpsc::UnboundedSender<Work>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    pub fn start(url: &str, seed: u64) -> Self {
        Self::start_as(url, seed, None)
    }

    pub fn start_as(url: &str, seed: u64, token: Option<&str>) -> Self {
        let config = ClientConfig {
            endpoints: vec![Endpoint::websocket(url)],
            token: token.map(str::to_owned),
            seed,
            client: "test".to_owned(),
            online: true,
            ..ClientConfig::default()
        };
        let (work, todo) = mpsc::unbounded_channel();
        Peer { work, task: tokio::spawn(drive(config, todo)) }
    }

    /// Does something with the client, in its task.
    pub async fn with<R: Send + 'static>(&self, work: impl FnOnce(&mut Client, Instant) -> R + Send + 'static) -> R {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |client, now| drop(answer.send(work(client, now))));
        assert!(self.work.send(work).is_ok(), "the client's task has ended");
        answered.await.unwrap()
    }

    pub async fn open(&self, document: &str, site_seed: u64) -> Channel {
        let document: DocumentId = document.parse().unwrap();
        self.with(move |client, now| client.open(ReplicaConfig::new(document, "anonymous", site_seed), now).unwrap())
            .await
    }

    pub async fn edit(&self, channel: Channel, at: usize, delete: usize, text: &str) {
        let text = text.to_owned();
        self.with(move |client, now| client.edit(channel, at, delete, &text, now).unwrap()).await;
    }

    pub async fn text(&self, channel: Channel) -> String {
        self.with(move |client, _| client.replica(channel).unwrap().document().text()).await
    }

    /// Waits until the client's text is this.
    pub async fn wait_text(&self, channel: Channel, expected: &str) {
        let began = std::time::Instant::now();
        loop {
            let text = self.text(channel).await;
            if text == expected {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "expected {expected:?}, the text is {text:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until everything is in the region's log.
    pub async fn wait_saved(&self, channel: Channel) {
        self.wait(move |client| {
            client.replica(channel).is_some_and(|replica| replica.saved(Instant(0)).is_saved(AckLevel::Region))
        })
        .await;
    }

    pub async fn wait(&self, done: impl Fn(&Client) -> bool + Clone + Send + 'static) {
        let began = std::time::Instant::now();
        loop {
            let check = done.clone();
            if self.with(move |client, _| check(client)).await {
                return;
            }
            if began.elapsed() >= PATIENCE {
                let told = self.with(|client, now| describe(client, now)).await;
                panic!("it never happened: {told}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Where a client stands, for a failing test.
fn describe(client: &Client, now: Instant) -> String {
    let replicas = client.replicas().map(|(channel, replica)| {
        let (status, saved) = (client.status(channel), replica.saved(now));
        format!("{channel:?} {status:?} rights {:?} refused {:?} {saved:?}", replica.rights(), replica.refused())
    });
    format!("link {:?}; {}", client.link(), replicas.collect::<Vec<_>>().join("; "))
}

enum Happening {
    Opened(u64),
    Failed(u64),
    Received(u64, Vec<u8>),
    Closed(u64, CloseCode, String),
}

async fn drive(config: ClientConfig, mut todo: mpsc::UnboundedReceiver<Work>) {
    let start = std::time::Instant::now();
    let now = || Instant(start.elapsed().as_millis() as u64);
    let mut client = Client::new(config, now());
    let (happen, mut happenings) = mpsc::channel::<Happening>(1024);
    let mut sockets: JoinSet<()> = JoinSet::new();
    let mut current: Option<(u64, mpsc::UnboundedSender<Message>)> = None;
    loop {
        while let Some(effect) = client.poll_effect() {
            match effect {
                Effect::Connect { attempt, url, .. } => {
                    let (out, outgoing) = mpsc::unbounded_channel();
                    current = Some((attempt, out));
                    sockets.spawn(socket(attempt, url, outgoing, happen.clone()));
                }
                Effect::Send { attempt, bytes } => {
                    if let Some((mine, out)) = &current
                        && *mine == attempt
                    {
                        let _ = out.send(Message::Binary(bytes.into()));
                    }
                }
                Effect::Disconnect { attempt, .. } => current = current.filter(|(mine, _)| *mine != attempt),
                _ => {}
            }
        }
        let sleep = client.deadline().map(|at| Duration::from_millis(at.since(now())));
        tokio::select! {
            work = todo.recv() => match work {
                Some(work) => work(&mut client, now()),
                None => return,
            },
            happening = happenings.recv() => match happening.unwrap() {
                Happening::Opened(attempt) => client.connect_opened(attempt, now()),
                Happening::Failed(attempt) => client.connect_failed(attempt, now()),
                Happening::Received(attempt, bytes) => client.received(attempt, &bytes, now()),
                Happening::Closed(attempt, code, reason) => client.closed(attempt, code, &reason, now()),
            },
            () = tokio::time::sleep(sleep.unwrap_or(Duration::from_secs(3600))) => {}
            Some(_) = sockets.join_next() => {}
        }
        client.tick(now());
    }
}

async fn socket(
    attempt: u64,
    url: String,
    mut outgoing: mpsc::UnboundedReceiver<Message>,
    happen: mpsc::Sender<Happening>,
) {
    let Ok((mut socket, _)) = tokio_tungstenite::connect_async(&url).await else {
        let _ = happen.send(Happening::Failed(attempt)).await;
        return;
    };
    let _ = happen.send(Happening::Opened(attempt)).await;
    let mut end = (CloseCode::ABNORMAL, String::new());
    loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                Some(message) => if socket.send(message).await.is_err() { break },
                None => { let _ = socket.close(None).await; return },
            },
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    let _ = happen.send(Happening::Received(attempt, bytes.to_vec())).await;
                }
                Some(Ok(Message::Close(frame))) => {
                    if let Some(frame) = frame {
                        end = (CloseCode(frame.code.into()), frame.reason.to_string());
                    }
                    break;
                }
                Some(Ok(_)) => {}
                _ => break,
            },
        }
    }
    let _ = happen.send(Happening::Closed(attempt, end.0, end.1)).await;
}

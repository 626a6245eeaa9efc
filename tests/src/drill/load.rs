//! Many typists.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use selvedge_client::{AckLevel, ClientOptions, Doc, Handle, OpenOptions, VersionVector};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Recorder;
use super::typist::{Stage, Typist};
use crate::history::{Event, Final, Place, Writer};

/// How long a client may take to open its document.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// How long a client may take to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks at whether a client was told the list of endpoints.
const LIST_LOOK: Duration = Duration::from_millis(50);

/// How many type, where and how fast.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The regions' names, and for each the addresses its clients are given, in turn; several relays are parted by commas.
    /// Clients are shared out over the regions in turn.
    pub regions: Vec<(String, Vec<String>)>,
    /// How many clients.
    pub clients: u32,
    /// How many documents they share.
    pub documents: u32,
    /// Common beginning of the documents' names.
    pub prefix: String,
    /// From one mark of a client to its next, about.
    pub pause: Duration,
    /// How often a client looks at what it was told; an ack's instant is as exact as this.
    pub look: Duration,
    /// The public key by which clients verify lists of endpoints; none: they believe relays.
    pub trust: Option<String>,
    /// What chance is made of.
    pub seed: u64,
}

/// Typists at work.
pub struct Load {
    clients: Vec<Client>,
    typists: Vec<JoinHandle<()>>,
    stage: watch::Sender<Stage>,
    writers: Vec<Writer>,
    /// Whether clients believe signed lists of endpoints alone.
    trusts: bool,
}

/// One client's connection and document.
struct Client {
    handle: Handle,
    doc: Arc<Doc>,
}

impl Load {
    /// Connects and opens all clients, then lets them type.
    ///
    /// # Errors
    /// When one cannot open its document in time.
    pub async fn start(options: &LoadOptions, recorder: &Recorder) -> anyhow::Result<Self> {
        let (mut writers, mut opening) = (Vec::new(), Vec::new());
        for client in 0..options.clients {
            let (region, relays) = &options.regions[client as usize % options.regions.len()];
            // Counted by rounds of the regions, or as many documents as regions would leave each to one region's clients.
            let round = client / options.regions.len() as u32;
            let document = format!("{}{}", options.prefix, round % options.documents);
            writers.push(Writer { document: format!("default/{document}"), region: region.clone() });
            // A region's clients begin at all its relays.
            let first = client as usize / options.regions.len() % relays.len();
            opening.push(open(client, relays[first].clone(), document, options.trust.clone()));
        }
        let opened = tokio::time::timeout(OPEN_WITHIN, futures_util::future::try_join_all(opening)).await;
        let clients = opened.context("the clients could not open their documents in time")??;
        let stage = watch::Sender::new(Stage::Typing);
        let start = |(number, client): (usize, &Client)| {
            let (handle, doc) = (client.handle.clone(), Arc::clone(&client.doc));
            let typist = Typist::new(number as u32, options.seed, handle, doc, recorder.clone());
            tokio::spawn(typist.run(options.pause, options.look, stage.subscribe()))
        };
        let typists = clients.iter().enumerate().map(start).collect();
        Ok(Self { clients, typists, stage, writers, trusts: options.trust.is_some() })
    }

    /// Who types.
    #[must_use]
    pub fn writers(&self) -> &[Writer] {
        &self.writers
    }

    /// Waits until something of everybody's has come as high as it can: to the other region, where there is one; and until everybody
    /// knows where that is, where clients believe signed lists alone.
    ///
    /// # Errors
    /// When that takes longer than `time`.
    pub async fn linked(&self, time: Duration) -> anyhow::Result<()> {
        let all = self.clients.iter().map(|client| client.doc.when_saved(AckLevel::Replicated));
        let saved = tokio::time::timeout(time, futures_util::future::try_join_all(all)).await;
        saved.map_err(|_| anyhow!("{}", unsettled(&self.clients, time)))?.context("a client's text is not saved")?;
        let listed = tokio::time::timeout(time, async {
            while self.trusts && self.clients.iter().any(|client| client.handle.endpoints().is_none()) {
                tokio::time::sleep(LIST_LOOK).await;
            }
        });
        listed.await.context("a client has not been told the signed list of endpoints")
    }

    /// Stops the typing, waits until everybody has everything at the highest level, and answers what each client has: also
    /// when that did not come about within `time`, with the reason.
    pub async fn rest(self, time: Duration, recorder: &Recorder) -> (Vec<Final>, anyhow::Result<()>) {
        self.stage.send_replace(Stage::Listening);
        let settled = match tokio::time::timeout(time, settle(&self.clients)).await {
            Ok(settled) => settled,
            Err(_) => Err(anyhow!("{}", unsettled(&self.clients, time))),
        };
        if settled.is_ok() {
            recorder.note(|at| Event::Quiet { at });
        }
        self.stage.send_replace(Stage::Stopped);
        for typist in self.typists {
            if let Err(error) = typist.await {
                return (Vec::new(), Err(anyhow::Error::new(error).context("a client broke off")));
            }
        }
        let finals = self.clients.iter().zip(&self.writers).enumerate().map(final_of).collect();
        for client in self.clients {
            // What cannot be closed politely was judged already.
            let _ = tokio::time::timeout(CLOSE_WITHIN, client.close()).await;
        }
        (finals, settled)
    }
}

impl Client {
    async fn close(self) {
        if let Some(doc) = Arc::into_inner(self.doc) {
            // Closing cannot fail; what was not saved was judged.
            let _ = doc.close().await;
        }
        self.handle.close().await;
    }
}

async fn open(client: u32, url: String, document: String, trust: Option<String>) -> anyhow::Result<Client> {
    let options = ClientOptions { trust: trust.into_iter().collect(), ..ClientOptions::default() };
    let handle = Handle::connect(&url, options)?;
    let doc = handle.open(&document, OpenOptions::default()).await?;
    doc.when_synced().await.with_context(|| format!("client {client} at {url}"))?;
    Ok(Client { handle, doc: Arc::new(doc) })
}

/// Waits until everything is saved as high as it can be and everybody has it.
async fn settle(clients: &[Client]) -> anyhow::Result<()> {
    for (number, client) in clients.iter().enumerate() {
        let saved = client.doc.when_saved(AckLevel::Replicated).await;
        saved.with_context(|| format!("client {number}: its text is not saved"))?;
    }
    for (number, client) in clients.iter().enumerate() {
        let mut all = VersionVector::new();
        clients
            .iter()
            .filter(|other| other.doc.id() == client.doc.id())
            .for_each(|other| all.join(&other.doc.vector()));
        let covers = client.doc.when_covers(&all).await;
        covers.with_context(|| format!("client {number}: not everything reaches it"))?;
    }
    Ok(())
}

/// Whom it waits for.
fn unsettled(clients: &[Client], time: Duration) -> String {
    let lagging = clients.iter().enumerate().filter_map(|(number, client)| {
        let saved = client.doc.saved()?;
        let pending = saved.pending(saved.highest).ops;
        (pending > 0).then(|| format!("client {number} ({}, {pending} operations)", client.doc.status().name()))
    });
    let lagging: Vec<String> = lagging.collect();
    format!("no rest within {} s; not saved: {}", time.as_secs(), lagging.join(", "))
}

fn final_of((number, (client, writer)): (usize, (&Client, &Writer))) -> Final {
    let vector = client.doc.vector().iter().map(|(site, counter)| (site.to_string(), counter)).collect();
    Final {
        place: Place::Client { client: number as u32 },
        document: writer.document.clone(),
        text: client.doc.text(),
        vector: Some(vector),
    }
}

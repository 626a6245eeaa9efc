//! Plays a recording through real clients, one per person, over a real relay.
//!
//! Each client makes its own person's transactions at the recorded causal point: before each one it lets in exactly those
//! transactions of the others that are in the recorded past, and holds the rest back. Between these points everybody writes
//! and sends as freely as the people did.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures_util::future::BoxFuture;
use selvedge_client::{AckLevel, ClientOptions, Doc, Handle, OpenOptions, VersionVector};
use selvedge_engine::{Bias, Document, SiteId};
use selvedge_protocol::DEFAULT_TENANT;
use tokio::sync::watch;

use super::trace::{Trace, Transaction};
use crate::fleet;

/// How long any one step may take to happen at the other side.
const STEP_WITHIN: Duration = Duration::from_secs(60);
/// How long the end may take: everything that is on its way.
const END_WITHIN: Duration = Duration::from_secs(300);
/// After so many transactions a writer lets others have the processor.
const BREATH: usize = 64;

/// How a replay ended. Getting here means that all replicas and the relay agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// From the first transaction until all agreed.
    pub elapsed: Duration,
    /// Scalars of the final text.
    pub length: usize,
    /// Where the text differs from the recording's, if it does.
    pub difference: Option<Difference>,
}

/// Where a recording's own merge order is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The first transaction known to differ: it did not fit the text before it, or its text stands where the recording's
    /// end has another.
    pub transaction: Option<usize>,
    /// The first scalar that differs.
    pub at: usize,
    /// Our text from there, a little of it.
    pub ours: String,
    /// The recording's.
    pub recorded: String,
}

/// Where a replay takes place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Venue {
    /// The address that each person's client is given, in turn.
    pub addresses: Vec<String>,
    /// The relays that are asked for the text in the end, `http://host:port`.
    pub relays: Vec<String>,
}

impl Venue {
    /// One relay for everybody.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self { addresses: vec![url.to_owned()], relays: vec![url.to_owned()] }
    }
}

/// Plays `trace` into the document `name`; `step` is called after every transaction.
///
/// # Errors
/// When a step does not happen in time, and when replicas or relay do not agree in the end.
pub fn play<'a>(
    trace: &'a Trace,
    venue: &'a Venue,
    name: &'a str,
    step: &'a (dyn Fn() + Sync),
) -> BoxFuture<'a, anyhow::Result<Outcome>> {
    Box::pin(async move {
        // A recording of one person has a second client all the same, which watches.
        let mut people = Vec::new();
        for number in 0..trace.agents.max(2) {
            let address = &venue.addresses[number % venue.addresses.len()];
            people.push(Person::join(address, name).await.with_context(|| format!("client {number}"))?);
        }
        let board = Board::new(trace, &people).await?;
        let began = Instant::now();
        let acts = (0..trace.agents).map(|agent| act(trace, agent, &people[agent].doc, &board, step));
        futures_util::future::try_join_all(acts).await?;
        let text = agree(&people, venue, name).await?;
        let outcome = Outcome {
            elapsed: began.elapsed(),
            length: text.chars().count(),
            difference: people[0]
                .doc
                .transact(|transaction| Ok(difference(&text, transaction.document()?, trace, &board)))?,
        };
        for person in people {
            person.doc.close().await?;
            person.handle.close().await;
        }
        Ok(outcome)
    })
}

struct Person {
    handle: Handle,
    doc: Doc,
}

impl Person {
    async fn join(address: &str, name: &str) -> anyhow::Result<Self> {
        let handle = Handle::connect(address, ClientOptions::default())?;
        let doc = handle.open(name, OpenOptions::default()).await?;
        within(STEP_WITHIN, doc.when_synced(), || "the document was not opened".to_owned()).await?;
        Ok(Self { handle, doc })
    }
}

/// Who has come how far, and which of a writer's counters ends which of its transactions.
struct Board {
    agents: Vec<Column>,
    misfit: Mutex<Option<usize>>,
}

struct Column {
    site: watch::Sender<Option<SiteId>>,
    /// The counter after so many transactions; the first is that of the starting text.
    marks: Mutex<Vec<u64>>,
    made: watch::Sender<usize>,
}

impl Board {
    /// Puts the starting text into the document, and holds everything else back from everybody who writes.
    async fn new(trace: &Trace, people: &[Person]) -> anyhow::Result<Self> {
        let column =
            || Column { site: watch::Sender::new(None), marks: Mutex::new(vec![0]), made: watch::Sender::new(0) };
        let board = Self { agents: (0..trace.agents).map(|_| column()).collect(), misfit: Mutex::new(None) };
        if !trace.start.is_empty() {
            people[0].doc.replace(0, 0, &trace.start)?;
            let vector = people[0].doc.vector();
            let site = people[0].doc.with_document(Document::site).context("the first client has no site")?;
            board.agents[0].site.send_replace(Some(site));
            *lock(&board.agents[0].marks) = vec![vector.get(site)];
            for person in people {
                let covers = person.doc.when_covers(&vector);
                within(STEP_WITHIN, covers, || "the starting text did not arrive".to_owned()).await?;
            }
        }
        for person in &people[..trace.agents] {
            person.doc.hold_remote(Some(person.doc.vector()));
        }
        Ok(board)
    }

    /// Waits until an agent has made so many transactions; answers its site and the counter that ends the last of them.
    async fn mark(&self, agent: usize, count: usize) -> anyhow::Result<(SiteId, u64)> {
        let column = &self.agents[agent];
        let late = || format!("agent {agent} did not come to its transaction {count}");
        let mut made = column.made.subscribe();
        let reached = async { made.wait_for(|made| *made >= count).await.map(|_| ()) };
        within(STEP_WITHIN, reached, late).await?;
        let site = column.site.borrow().with_context(late)?;
        Ok((site, lock(&column.marks)[count]))
    }

    /// The recording's number of the transaction that wrote a dot.
    fn author(&self, trace: &Trace, site: SiteId, counter: u64) -> Option<usize> {
        let agent = self.agents.iter().position(|column| *column.site.borrow() == Some(site))?;
        let number = lock(&self.agents[agent].marks).partition_point(|mark| *mark < counter).checked_sub(1)?;
        let own = trace.transactions.iter().enumerate().filter(|(_, transaction)| transaction.agent == agent);
        own.map(|(index, _)| index).nth(number)
    }
}

/// Makes one agent's transactions.
async fn act(trace: &Trace, agent: usize, doc: &Doc, board: &Board, step: &(dyn Fn() + Sync)) -> anyhow::Result<()> {
    let mut seen = vec![0; trace.agents];
    let mut held = doc.vector();
    let own = trace.transactions.iter().enumerate().filter(|(_, transaction)| transaction.agent == agent);
    for (number, (index, transaction)) in own.enumerate() {
        let context = || format!("transaction {index}");
        see(transaction, agent, doc, board, &mut seen, &mut held).await.with_context(context)?;
        let (site, counter, fits) = make(doc, transaction).with_context(context)?;
        if trace.agents > 1 {
            // Others let in whole deltas up to some transaction: each ends where one does.
            let _ = doc.vector();
        }
        if !fits {
            let mut misfit = lock(&board.misfit);
            *misfit = Some(misfit.map_or(index, |earlier| earlier.min(index)));
        }
        let column = &board.agents[agent];
        column.site.send_if_modified(|known| known.replace(site) != Some(site));
        lock(&column.marks).push(counter);
        column.made.send_replace(number + 1);
        step();
        if number % BREATH == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Lets in what is in the transaction's past, waits for it, and checks that nothing else came.
async fn see(
    transaction: &Transaction,
    agent: usize,
    doc: &Doc,
    board: &Board,
    seen: &mut [usize],
    held: &mut VersionVector,
) -> anyhow::Result<()> {
    let mut moved = false;
    for (other, count) in transaction.past.iter().enumerate() {
        if other != agent && *count > seen[other] {
            let (site, counter) = board.mark(other, *count).await?;
            held.advance(site, counter);
            seen[other] = *count;
            moved = true;
        }
    }
    if !moved {
        return Ok(());
    }
    doc.hold_remote(Some(held.clone()));
    within(STEP_WITHIN, doc.when_covers(held), || "its past did not arrive".to_owned()).await?;
    let vector = doc.vector();
    let own = doc.with_document(Document::site);
    let beyond = vector.iter().find(|&(site, counter)| Some(site) != own && counter != held.get(site));
    ensure!(beyond.is_none(), "the client has more than its past: {beyond:?}");
    Ok(())
}

/// Makes a transaction; answers the site, the counter it ends with, and whether it fitted. Where it did not, the recording's
/// merge order is not ours, and it is made as near as it can be.
fn make(doc: &Doc, transaction: &Transaction) -> anyhow::Result<(SiteId, u64, bool)> {
    let made = doc.transact(|edits| {
        let mut fits = true;
        for patch in &transaction.patches {
            let document = edits.document()?;
            let length = document.len_scalars();
            let (at, end) = (patch.at.min(length), patch.at.saturating_add(patch.delete).min(length));
            fits &= at == patch.at && end - at == patch.delete;
            let (from, to) = (document.scalar_to_utf16(at), document.scalar_to_utf16(end));
            edits.replace(from, to - from, &patch.insert)?;
        }
        let document = edits.document()?;
        Ok(document.site().map(|site| (site, document.vector().get(site), fits)))
    })?;
    match made {
        Some(made) => Ok(made),
        // It changed nothing, and neither did any before it.
        None => Ok((SiteId::random(0), 0, true)),
    }
}

/// Lifts all holds, and waits until everybody and every relay have the same text.
async fn agree(people: &[Person], venue: &Venue, name: &str) -> anyhow::Result<String> {
    let mut all = VersionVector::new();
    for person in people {
        person.doc.hold_remote(None);
        let saved = person.doc.when_saved(AckLevel::Replicated);
        within(END_WITHIN, saved, || "not everything was acknowledged at the highest level".to_owned()).await?;
        all.join(&person.doc.vector());
    }
    let mut texts = Vec::new();
    for person in people {
        let covers = person.doc.when_covers(&all);
        within(END_WITHIN, covers, || "a client did not get everything".to_owned()).await?;
        texts.push(person.doc.text());
    }
    for (number, text) in texts.iter().enumerate() {
        if *text != texts[0] {
            bail!("client {number} and client 0 have the same operations and other texts{}", place(text, &texts[0]));
        }
    }
    for relay in &venue.relays {
        let stored = fleet::get(relay, &format!("/v1/docs/{DEFAULT_TENANT}/{name}/text")).await?;
        if stored != texts[0] {
            bail!("the text of the relay at {relay} is not the clients'{}", place(&stored, &texts[0]));
        }
    }
    Ok(texts.swap_remove(0))
}

fn place(left: &str, right: &str) -> String {
    let at = common(left, right);
    let from = |text: &str| text.chars().skip(at).take(30).collect::<String>();
    format!(": from character {at}, {:?} and {:?}", from(left), from(right))
}

fn common(left: &str, right: &str) -> usize {
    left.chars().zip(right.chars()).take_while(|(left, right)| left == right).count()
}

/// Where our text is not the recording's, and by which transaction.
fn difference(text: &str, document: &Document, trace: &Trace, board: &Board) -> Option<Difference> {
    let misfit = *lock(&board.misfit);
    if text == trace.end && misfit.is_none() {
        return None;
    }
    let at = common(text, &trace.end);
    let rest = |text: &str| text.chars().skip(at).collect::<Vec<_>>();
    let (ours, recorded) = (rest(text), rest(&trace.end));
    let same_end = ours.iter().rev().zip(recorded.iter().rev()).take_while(|(left, right)| left == right).count();
    let authors = (at..at + ours.len().saturating_sub(same_end).max(1)).filter_map(|scalar| {
        let anchor = document.anchor_at(document.scalar_to_utf16(scalar), Bias::After);
        let dot = anchor.dot()?;
        board.author(trace, dot.site, dot.counter)
    });
    let shown = |text: &[char]| text.iter().take(30).collect::<String>();
    Some(Difference { transaction: authors.chain(misfit).min(), at, ours: shown(&ours), recorded: shown(&recorded) })
}

async fn within<T, E: Into<anyhow::Error>>(
    time: Duration,
    happens: impl Future<Output = Result<T, E>>,
    what: impl FnOnce() -> String,
) -> anyhow::Result<T> {
    match tokio::time::timeout(time, happens).await {
        Ok(happened) => happened.map_err(Into::into),
        Err(_) => bail!("{} within {} s", what(), time.as_secs()),
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

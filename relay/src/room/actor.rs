//! The task that owns a room: executes its effects on the region, and hands it what comes back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use selvedge_engine::{Delta, Document, SiteKind, StateDiff, VersionVector};
use selvedge_protocol::message::{Closed, SiteLease};
use selvedge_protocol::tag::TagKeys;
use selvedge_protocol::{AckLevel, CloseCode, DocumentId, Position, Rights, ServerMessage};
use selvedge_region::fold::{PERSIST_READER, materialise};
use selvedge_region::{
    BusMessage, DocumentKey, EntryContent, Error, LogPage, LogRecord, NewDocument, REPLICATED_READER, Region,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::event::{Failure, Loaded, Materialised, Outgoing, PROOF_BYTES_MAX, PushedDelta, TailEntry, TailPage};
use super::health::LogHealth;
use super::hearing::{Hearing, Hears};
use super::registry::Registry;
use super::{Join, Room, RoomConfig, RoomEffect, RoomEvent, RoomSetup, SessionKey};
use crate::clock::{Clock, wall_ms};
use crate::metrics::Metrics;
use crate::session::Fault;
use crate::session::outbound::Outbound;

/// Events that wait for a room at most; a session that finds it full waits, and with it its own socket alone.
const MAILBOX: usize = 256;
/// Events taken at once before what follows from them is done.
const EVENTS_AT_ONCE: usize = 64;
/// Records in one page of the log.
const PAGE_RECORDS: usize = 1_000;
/// Who opens a document waits so long for a site; then it writes on one that it draws itself.
const LEASED_WITHIN: Duration = Duration::from_secs(2);
/// Who asks for the rebase token waits so long for the bus; then this room's own order has to do.
const TOKEN_WITHIN: Duration = Duration::from_secs(1);
/// Messages that may wait for a server-side author.
const AUTHOR_MESSAGES: usize = 4_096;

/// What every room of this process stands on.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) region: Region,
    pub(crate) config: RoomConfig,
    pub(crate) restored: bool,
    /// The highest level that this deployment acknowledges.
    pub(crate) highest: AckLevel,
    /// The region's number; 0: a data folder, which is alone.
    pub(crate) number: u8,
    /// Keys of broadcast tags, where they are given.
    pub(crate) tags: Option<Arc<TagKeys>>,
    /// Whether a document that is not there is made by whoever opens it.
    pub(crate) open_creates: bool,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log_health: Arc<LogHealth>,
}

/// The way to a room. While one is held the room stays in memory.
#[derive(Clone, Debug)]
pub struct RoomHandle {
    mailbox: mpsc::Sender<Letter>,
}

#[derive(Debug)]
pub(crate) enum Letter {
    Event(RoomEvent),
    Join(Box<Join>, Sink),
    /// A principal's rights on the document, as they are in force.
    Rights(String, Rights),
}

/// Where a session's messages go.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    /// A connection.
    Socket(Arc<Outbound>),
    /// A server-side author.
    Author(mpsc::Sender<ServerMessage>),
}

impl RoomHandle {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Letter>) {
        let (mailbox, letters) = mpsc::channel(MAILBOX);
        (RoomHandle { mailbox }, letters)
    }

    /// Hands the room an event; waits while its mailbox is full. `false`: the room is gone.
    pub(crate) async fn tell(&self, event: RoomEvent) -> bool {
        self.mailbox.send(Letter::Event(event)).await.is_ok()
    }

    /// Hands the room a principal's rights as they are in force.
    pub(crate) async fn rights_set(&self, principal: String, rights: Rights) -> bool {
        self.mailbox.send(Letter::Rights(principal, rights)).await.is_ok()
    }

    /// Subscribes a session whose messages go to `sink`.
    pub(crate) async fn join(&self, join: Join, sink: Sink) -> bool {
        self.mailbox.send(Letter::Join(Box::new(join), sink)).await.is_ok()
    }

    /// Subscribes a server-side author.
    pub(crate) async fn join_author(&self, join: Join) -> mpsc::Receiver<ServerMessage> {
        let (sink, messages) = mpsc::channel(AUTHOR_MESSAGES);
        self.join(join, Sink::Author(sink)).await;
        messages
    }
}

/// A room with its shell.
pub(crate) struct Actor {
    document: DocumentId,
    room: Room,
    ground: Arc<Ground>,
    registry: Arc<Registry>,
    letters: mpsc::Receiver<Letter>,
    me: RoomHandleWeak,
    sinks: HashMap<SessionKey, Sink>,
    tasks: JoinSet<RoomEvent>,
    shutdown: watch::Receiver<bool>,
    /// The registry knows it no more: what comes next for the document finds another room.
    retired: bool,
}

/// A handle that does not keep the room in memory.
type RoomHandleWeak = mpsc::WeakSender<Letter>;

impl Actor {
    pub(crate) fn new(
        document: DocumentId,
        ground: Arc<Ground>,
        registry: Arc<Registry>,
        handle: &RoomHandle,
        letters: mpsc::Receiver<Letter>,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let setup = RoomSetup {
            config: ground.config.clone(),
            document: document.clone(),
            highest: ground.highest,
            restored: ground.restored,
            tags: ground.tags.clone(),
        };
        Actor {
            room: Room::new(setup, ground.clock.now()),
            document,
            ground,
            registry,
            letters,
            me: handle.mailbox.downgrade(),
            sinks: HashMap::new(),
            tasks: JoinSet::new(),
            shutdown,
            retired: false,
        }
    }

    /// Runs until the room has been idle for long, or the process shuts down and nothing is under way any more.
    pub(crate) async fn run(mut self) {
        self.ground.metrics.rooms.inc();
        tracing::debug!(document = %self.document, "room opened");
        let mut hearing = Hearing::open(Arc::clone(&self.ground.region.bus), self.document.clone()).await;
        while self.turn(&mut hearing).await {}
        self.ground.metrics.rooms.dec();
        tracing::debug!(document = %self.document, "room closed");
    }

    async fn turn(&mut self, hearing: &mut Hearing) -> bool {
        let clock = self.ground.clock;
        let deadline = self.room.deadline();
        let stopping = *self.shutdown.borrow();
        if stopping && self.room.is_idle() && self.tasks.is_empty() && self.letters.is_empty() {
            self.retire();
            return false;
        }
        tokio::select! {
            Some(done) = self.tasks.join_next() => match done {
                Ok(event) => self.room.handle(event, clock.now()),
                Err(error) => tracing::error!(document = %self.document, %error, "a task of the room ended badly"),
            },
            letter = self.letters.recv() => match letter {
                Some(letter) => self.letters_from(letter),
                None => return false,
            },
            heard = hearing.next() => self.heard(heard),
            () = clock.until(deadline) => self.room.tick(clock.now()),
            _ = self.shutdown.changed(), if !stopping => {}
        }
        let counts = self.room.take_counts();
        self.ground.metrics.count_room(&counts);
        while let Some(effect) = self.room.poll_effect() {
            if matches!(effect, RoomEffect::Unload) {
                if self.retired {
                    continue;
                }
                if self.tasks.is_empty() && self.registry.forget_idle(&self.document, &self.letters) {
                    return false;
                }
            } else {
                self.execute(effect);
            }
        }
        if self.room.is_deleted() {
            // The document may be created again: its next generation is another room's, for whoever comes from now on.
            self.retire();
            self.letters.close();
        }
        true
    }

    fn retire(&mut self) {
        if !std::mem::replace(&mut self.retired, true) {
            self.registry.forget(&self.document);
        }
    }

    fn letters_from(&mut self, first: Letter) {
        self.open_letter(first);
        for _ in 1..EVENTS_AT_ONCE {
            let Ok(next) = self.letters.try_recv() else { return };
            self.open_letter(next);
        }
    }

    fn open_letter(&mut self, letter: Letter) {
        let now = self.ground.clock.now();
        match letter {
            Letter::Event(event) => {
                if let RoomEvent::Leave { key } = &event {
                    self.sinks.remove(key);
                }
                self.room.handle(event, now);
            }
            Letter::Join(join, sink) => {
                self.sinks.insert(join.key, sink);
                self.room.handle(RoomEvent::Join(join), now);
            }
            Letter::Rights(principal, rights) => self.rights_set(&principal, rights),
        }
    }

    fn heard(&mut self, heard: Hears) {
        let now = self.ground.clock.now();
        let event = match heard {
            Hears::Message(message) => match &*message {
                BusMessage::Logged { position, record } => {
                    RoomEvent::Heard { position: *position, generation: record.generation, delta: record.delta.clone() }
                }
                BusMessage::Tentative { record } => {
                    RoomEvent::HeardTentative { generation: record.generation, delta: record.delta.clone() }
                }
                BusMessage::Presence { session, data, user, .. } => {
                    RoomEvent::HeardPresence { session: *session, data: data.clone(), user: user.clone() }
                }
                BusMessage::Rights { principal, rights } => return self.rights_set(principal, *rights),
                BusMessage::Deleted { generation } => RoomEvent::Deleted { generation: *generation },
                BusMessage::Replicated { watermark } => RoomEvent::Replicated { watermark: *watermark },
            },
            Hears::Missed => RoomEvent::BusLagged,
        };
        self.room.handle(event, now);
    }

    /// The sessions of this principal hear what was set: they know what their token grants beside it.
    fn rights_set(&self, principal: &str, rights: Rights) {
        for key in self.room.sessions_of(principal) {
            if let Some(Sink::Socket(outbound)) = self.sinks.get(&key) {
                outbound.push_rights(key.channel, rights);
            }
        }
    }

    fn execute(&mut self, effect: RoomEffect) {
        let ground = Arc::clone(&self.ground);
        let document = self.document.clone();
        let key = DocumentKey::new(document.clone(), self.room.generation().unwrap_or(0));
        match effect {
            RoomEffect::Load { creator } => {
                self.blocking(async move { RoomEvent::Loaded(load(&ground, document, creator).await.map(Box::new)) })
            }
            RoomEffect::Append { append, records } => {
                self.tasks.spawn(async move {
                    let began = tokio::time::Instant::now();
                    let appended = ground.region.log.append(records).await;
                    ground.metrics.append_seconds.observe(began.elapsed().as_secs_f64());
                    if appended.is_ok() {
                        ground.log_health.taken();
                    }
                    let outcome = appended.map_err(|error| {
                        ground.log_health.refused(&error, ground.clock.now());
                        tracing::warn!(%document, error = &error as &dyn std::error::Error, "an append failed and is repeated");
                        Failure::Retry
                    });
                    RoomEvent::Appended { append, outcome }
                });
            }
            RoomEffect::Publish { records } => self.publish(records),
            RoomEffect::PublishTentative { records } => {
                for record in records {
                    self.tell_bus(BusMessage::Tentative { record: Arc::new(record) });
                }
            }
            RoomEffect::PublishPresence { session, data, user } => {
                let message = BusMessage::Presence { relay: self.registry.relay(), session, data, user };
                self.tell_bus(message);
            }
            RoomEffect::TakeToken { key: session, for_ms } => {
                self.tasks.spawn(async move {
                    let name = rebase_token(&document);
                    let taking = ground.region.bus.lock(&name, session.session, for_ms);
                    let taken = match tokio::time::timeout(TOKEN_WITHIN, taking).await {
                        Ok(Ok(taken)) => taken,
                        Ok(Err(error)) => {
                            tracing::debug!(%document, %error, "the bus does not say who rebases");
                            true
                        }
                        Err(_) => true,
                    };
                    RoomEvent::TokenTaken { key: session, taken }
                });
            }
            RoomEffect::GiveToken { key: session } => {
                let bus = Arc::clone(&ground.region.bus);
                self.registry.spawn(async move {
                    if let Err(error) = bus.unlock(&rebase_token(&document), session.session).await {
                        tracing::debug!(%document, %error, "a rebase token was not given back and ends by time");
                    }
                });
            }
            RoomEffect::Bind { site, principal } => {
                self.tasks.spawn(async move {
                    let outcome = bind(&ground, &key, site, &principal).await;
                    RoomEvent::Bound { site, outcome }
                });
            }
            RoomEffect::Lease { key: session, principal, logged } => {
                self.tasks.spawn(async move {
                    let leasing = ground.region.control.lease_site(&key, &principal, &logged);
                    let lease = match tokio::time::timeout(LEASED_WITHIN, leasing).await {
                        Ok(Ok(lease)) => Some(SiteLease { site: lease.site, next_counter: lease.next_counter }),
                        Ok(Err(error)) => {
                            tracing::warn!(%document, %error, "no site could be leased");
                            None
                        }
                        // One that is leased late is nobody's: an entry less in a vector is not worth the wait.
                        Err(_) => {
                            tracing::warn!(%document, "no site was leased in time");
                            None
                        }
                    };
                    RoomEvent::Leased { key: session, lease }
                });
            }
            RoomEffect::Release { site, principal, counter } => {
                let control = Arc::clone(&ground.region.control);
                self.registry.spawn(async move {
                    if let Err(error) = control.release_site(&key, site, &principal, counter).await {
                        tracing::debug!(%document, %error, "a site was not given back");
                    }
                });
            }
            RoomEffect::ReadTail { request, from } => {
                self.tasks.spawn(async move {
                    let outcome = read_tail(&ground, &key, from).await;
                    RoomEvent::Tail { request, outcome }
                });
            }
            RoomEffect::ReadWatermark => {
                self.tasks.spawn(async move { RoomEvent::Watermark(read_watermark(&ground, &key.document).await) });
            }
            RoomEffect::ReadBacklog => {
                self.tasks.spawn(async move { RoomEvent::Backlog(read_backlog(&ground, &key.document).await) });
            }
            RoomEffect::Materialise { request, since, beyond } => self.blocking(async move {
                let outcome = diffs(&ground, &key, &since, beyond).await;
                RoomEvent::Materialised { request, outcome }
            }),
            RoomEffect::Absorb { key: session, bytes } => self.blocking(async move {
                let outcome = absorb(&ground, &key, &bytes).await;
                RoomEvent::Absorbed { key: session, outcome }
            }),
            RoomEffect::Send { key, message } => self.send(key, message),
            RoomEffect::Watch { key } => self.watch(key),
            RoomEffect::Close { key, closed } => self.close(key, closed),
            RoomEffect::CloseSession { key, code } => {
                if let Some(Sink::Socket(outbound)) = self.sinks.remove(&key) {
                    outbound.close(Fault::new(code, code.sentence()));
                }
            }
            RoomEffect::Unload => {}
        }
    }

    /// Folding takes the processor for milliseconds: it runs where that holds nobody up.
    fn blocking(&mut self, work: impl Future<Output = RoomEvent> + Send + 'static) {
        let runtime = tokio::runtime::Handle::current();
        self.tasks.spawn_blocking(move || runtime.block_on(work));
    }

    fn send(&mut self, key: SessionKey, message: Outgoing) {
        let now = self.ground.clock.now();
        match self.sinks.get(&key) {
            Some(Sink::Socket(outbound)) => {
                let congested = outbound.push(key.channel, message, now);
                if congested {
                    self.room.handle(RoomEvent::Congested { key }, now);
                }
            }
            Some(Sink::Author(author)) => {
                if let Outgoing::Message(message) = message
                    && author.try_send(*message).is_err()
                {
                    self.sinks.remove(&key);
                }
            }
            None => {}
        }
    }

    fn watch(&mut self, key: SessionKey) {
        match (self.sinks.get(&key), self.me.upgrade()) {
            (Some(Sink::Socket(outbound)), Some(mailbox)) => outbound.watch(RoomHandle { mailbox }, key),
            _ => self.room.handle(RoomEvent::Drained { key }, self.ground.clock.now()),
        }
    }

    fn close(&mut self, key: SessionKey, closed: Closed) {
        self.ground.metrics.refuse(CloseCode(closed.code));
        match self.sinks.remove(&key) {
            Some(Sink::Socket(outbound)) => outbound.push_closed(key.channel, closed.into(), self.ground.clock.now()),
            // An author that reads nothing any more has gone.
            Some(Sink::Author(author)) => drop(author.try_send(closed.into())),
            None => {}
        }
    }

    fn publish(&self, records: Vec<(Position, LogRecord)>) {
        let (bus, document) = (Arc::clone(&self.ground.region.bus), self.document.clone());
        self.registry.spawn(async move {
            for (position, record) in records {
                let message = Arc::new(BusMessage::Logged { position, record: Arc::new(record) });
                if let Err(error) = bus.publish(&document, message).await {
                    tracing::debug!(%document, %error, "the bus did not take a record");
                }
            }
        });
    }

    fn tell_bus(&self, message: BusMessage) {
        let (bus, document) = (Arc::clone(&self.ground.region.bus), self.document.clone());
        self.registry.spawn(async move {
            if let Err(error) = bus.publish(&document, Arc::new(message)).await {
                tracing::debug!(%document, %error, "the bus did not take a message");
            }
        });
    }
}

/// The bus's lock for a document's rebase token.
fn rebase_token(document: &DocumentId) -> String {
    format!("rebase:{document}")
}

/// Finds or makes the document, and folds it.
async fn load(ground: &Ground, document: DocumentId, creator: String) -> Result<Loaded, Failure> {
    let control = &ground.region.control;
    let info = match control.document(&document).await.map_err(|error| failure(&document, &error))? {
        Some(info) => info,
        None if ground.open_creates => {
            let new = NewDocument { document: document.clone(), creator, now_ms: wall_ms() };
            match control.create(new).await {
                Ok(info) => info,
                Err(Error::Exists { .. }) => {
                    let found = control.document(&document).await.map_err(|error| failure(&document, &error))?;
                    found.ok_or(Failure::Retry)?
                }
                Err(error) => return Err(failure(&document, &error)),
            }
        }
        None => return Err(Failure::Missing),
    };
    if info.deleted_ms.is_some() {
        return Err(Failure::Deleted);
    }
    let key = DocumentKey::new(document, info.generation);
    let fold = materialise(&ground.region, &key).await.map_err(|error| failure(&key.document, &error))?;
    let start =
        Position { log: ground.region.log.log_id(), partition: ground.region.log.partition(&key.document), offset: 0 };
    Ok(Loaded {
        generation: info.generation,
        vector: fold.vector().clone(),
        position: fold.position().unwrap_or(start),
        read_to: fold.read_to(),
        text_bytes: fold.document().len_bytes() as u64,
    })
}

fn failure(document: &DocumentId, error: &Error) -> Failure {
    tracing::warn!(%document, error = error as &dyn std::error::Error, "a part of the region failed");
    match error {
        Error::Gone { .. } | Error::BeyondEnd { .. } => Failure::Gone,
        Error::NotFound { .. } => Failure::Missing,
        Error::SiteTaken { .. } => Failure::Foreign,
        Error::Invalid(_) => Failure::Invalid,
        _ => Failure::Retry,
    }
}

/// Binds a site. One leased here is bound by its lease already; only after a restore may it be unknown. Of one that another
/// region leased this one may not have heard yet: its writer has come here because that region is lost.
async fn bind(
    ground: &Ground,
    key: &DocumentKey,
    site: selvedge_engine::SiteId,
    principal: &str,
) -> Result<(), Failure> {
    let control = &ground.region.control;
    let own = matches!(site.kind(), SiteKind::Leased { region, .. } if ground.number == 0 || region == ground.number);
    if own && !ground.restored {
        let owner = control.site_owner(key, site).await.map_err(|error| failure(&key.document, &error))?;
        return if owner.as_deref() == Some(principal) { Ok(()) } else { Err(Failure::Foreign) };
    }
    control.bind_site(key, site, principal).await.map_err(|error| failure(&key.document, &error))
}

async fn read_tail(ground: &Ground, key: &DocumentKey, from: Position) -> Result<TailPage, Failure> {
    let page = ground.region.log.tail(&key.document, Some(from), PAGE_RECORDS).await;
    Ok(tail_page(page.map_err(|error| failure(&key.document, &error))?, key.generation))
}

fn tail_page(page: LogPage, generation: u64) -> TailPage {
    let entries = page.entries.into_iter().filter_map(|entry| match entry.content {
        EntryContent::Record(record) if record.generation == generation => {
            Some(TailEntry { position: entry.position, delta: record.delta })
        }
        _ => None,
    });
    TailPage { entries: entries.collect(), next: page.next, at_end: page.at_end }
}

/// How far the other region has the document's partition.
async fn read_watermark(ground: &Ground, document: &DocumentId) -> Option<Position> {
    let log = &ground.region.log;
    let partition = log.partition(document);
    match log.progress(REPLICATED_READER, partition).await {
        Ok(offset) => offset.map(|offset| Position { log: log.log_id(), partition, offset }),
        Err(error) => {
            tracing::warn!(
                %document,
                error = &error as &dyn std::error::Error,
                "how far the other region is cannot be read; it is asked for again"
            );
            None
        }
    }
}

/// How many records of the document's partition `persist` has before it; one that never began has no say.
async fn read_backlog(ground: &Ground, document: &DocumentId) -> Option<u64> {
    let log = &ground.region.log;
    let partition = log.partition(document);
    let progress = log.progress(PERSIST_READER, partition).await;
    match (progress, log.bounds(partition).await) {
        (Ok(progress), Ok(bounds)) => progress.map(|progress| bounds.end.offset.saturating_sub(progress)),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(
                %document,
                error = &error as &dyn std::error::Error,
                "how far persist is behind cannot be read; it is asked for again"
            );
            None
        }
    }
}

/// State diffs against each vector, and the log's records from `from` on.
async fn diffs(
    ground: &Ground,
    key: &DocumentKey,
    since: &[VersionVector],
    from: Option<Position>,
) -> Result<Materialised, Failure> {
    let fold = materialise(&ground.region, key).await.map_err(|error| failure(&key.document, &error))?;
    let document = fold.document();
    let mut made: Vec<(&VersionVector, Arc<[u8]>)> = Vec::new();
    let diffs = since.iter().map(|since| match made.iter().find(|(known, _)| *known == since) {
        Some((_, diff)) => Arc::clone(diff),
        None => {
            let diff: Arc<[u8]> = document.state_diff(since).encode().into();
            made.push((since, Arc::clone(&diff)));
            diff
        }
    });
    let diffs = diffs.collect();
    let beyond = match from {
        Some(from) => latest(ground, key, from).await?,
        None => Vec::new(),
    };
    Ok(Materialised { vector: fold.vector().clone(), text_bytes: document.len_bytes() as u64, diffs, beyond })
}

/// The log's latest records from a position on, or from where it begins.
async fn latest(ground: &Ground, key: &DocumentKey, from: Position) -> Result<Vec<TailEntry>, Failure> {
    let (mut entries, mut bytes) = (VecDeque::new(), 0);
    let mut next = Some(from);
    loop {
        let page = match ground.region.log.tail(&key.document, next, PAGE_RECORDS).await {
            // What was trimmed is in the other region.
            Err(Error::Gone { .. }) if next.is_some() => {
                next = None;
                continue;
            }
            page => tail_page(page.map_err(|error| failure(&key.document, &error))?, key.generation),
        };
        for entry in page.entries {
            bytes += entry.delta.len();
            entries.push_back(entry);
        }
        while bytes > PROOF_BYTES_MAX {
            bytes -= entries.pop_front().map_or(bytes, |entry: TailEntry| entry.delta.len());
        }
        if page.at_end {
            return Ok(entries.into());
        }
        next = Some(page.next);
    }
}

/// Turns an uploaded state into deltas: what the merged document has beyond the log, counter by counter.
async fn absorb(ground: &Ground, key: &DocumentKey, bytes: &[u8]) -> Result<Vec<PushedDelta>, Failure> {
    let fold = materialise(&ground.region, key).await.map_err(|error| failure(&key.document, &error))?;
    let before: Document = fold.into_document();
    let mut document = before.clone();
    let diff = StateDiff::decode(bytes).map_err(|_| Failure::Invalid)?;
    document.apply_state(&diff).map_err(|_| Failure::Invalid)?;
    let deltas: Vec<Delta> = document.deltas_since(&before);
    Ok(deltas
        .into_iter()
        .map(|delta| PushedDelta { bytes: delta.encode(), delta: Arc::new(delta), announced: false, tag: None })
        .collect())
}

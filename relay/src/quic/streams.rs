//! Frames on streams: one stream for the connection and one for each document, all opened by the client; presence in datagrams.
//!
//! What is read waits in QUIC's own windows: nothing is read on before the session has taken what came. So a connection holds, beside
//! them, one unfinished frame for each stream that began one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::{BoxStream, SelectAll, unfold};
use selvedge_protocol::streams::StreamFrames;
use selvedge_protocol::{Channel, CloseCode, Frame, ServerMessage};
use tokio::time::Instant;
use web_transport_quinn::{RecvStream, SendStream, Session, SessionError, WebTransportError, WriteError};

use crate::listen::conversation::{Inbound, Incoming, Outlet};
use crate::session::Fault;
use crate::session::outbound::Batch;

/// Bytes read from a stream at once.
const READ_BYTES: usize = 16 * 1024;
/// How long what was written last may take to arrive before the close follows it.
const DELIVERY: Duration = Duration::from_millis(1_000);
/// How long a presence that may be lost waits for a newer one before it is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(300);
/// Presences that wait to be repeated, at most; more go by the stream at once.
const UNREPEATED_MAX: usize = 256;
/// How long the close itself may take.
const CLOSING: Duration = Duration::from_millis(500);

/// The two sides of a connection. `message_bytes_max`: of frames handed on together.
pub(super) fn split(session: Session, message_bytes_max: usize) -> (Reading, Writing) {
    let answers = Answers::default();
    let reading = Reading {
        session: session.clone(),
        message_bytes_max,
        streams: SelectAll::new(),
        answers: answers.clone(),
        ending: false,
    };
    (reading, Writing { session, answers, sent: Unrepeated::default() })
}

/// Where answers go: the server's side of each stream, by channel. Bounded by the streams a client may open.
#[derive(Clone, Default)]
struct Answers {
    /// `None`: the writer has it at the moment.
    streams: Arc<Mutex<HashMap<Channel, Option<SendStream>>>>,
}

impl Answers {
    /// A stream has begun; `false` if the channel has one.
    fn begin(&self, channel: Channel, stream: SendStream) -> bool {
        let mut streams = self.lock();
        let free = !streams.contains_key(&channel);
        if free {
            streams.insert(channel, Some(stream));
        }
        free
    }

    fn lend(&self, channel: Channel) -> Option<SendStream> {
        self.lock().get_mut(&channel)?.take()
    }

    /// After [`Answers::end`] the stream is let go, which finishes it.
    fn give_back(&self, channel: Channel, stream: SendStream) {
        if let Some(place) = self.lock().get_mut(&channel) {
            *place = Some(stream);
        }
    }

    fn end(&self, channel: Channel) {
        self.lock().remove(&channel);
    }

    fn end_all(&self) -> Vec<SendStream> {
        self.lock().drain().filter_map(|(_, stream)| stream).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Channel, Option<SendStream>>> {
        self.streams.lock().expect("no code panics with this lock held")
    }
}

/// What one stream tells.
enum Told {
    /// Whole frames of its channel; with the first ones comes where answers go.
    Frames { channel: Channel, frames: Vec<u8>, answers: Option<SendStream> },
    /// The client has ended it; without a channel if it never began.
    Ended(Option<Channel>),
    /// It carries what no stream may.
    Broken(Option<Channel>, Fault),
}

/// The side that is read.
pub(super) struct Reading {
    session: Session,
    message_bytes_max: usize,
    streams: SelectAll<BoxStream<'static, Told>>,
    answers: Answers,
    /// The control stream has ended: what the others brought before is still taken.
    ending: bool,
}

impl Inbound for Reading {
    async fn next(&mut self) -> Incoming {
        loop {
            if self.ending && self.streams.is_empty() {
                return Incoming::Gone;
            }
            let incoming = tokio::select! {
                // What came before the end of the connection is taken first.
                biased;
                Some(told) = self.streams.next() => self.take(told),
                accepted = self.session.accept_bi() => match accepted {
                    Ok((answers, stream)) => {
                        self.streams.push(told(answers, stream, self.message_bytes_max));
                        None
                    }
                    Err(error) => Some(gone(&error)),
                },
                stray = self.session.accept_uni() => Some(match stray {
                    Ok(_) => Incoming::Fault(malformed("Streams are bidirectional.")),
                    Err(error) => gone(&error),
                }),
                datagram = self.session.read_datagram() => match datagram {
                    Ok(bytes) => Some(Incoming::Datagram(bytes.into())),
                    // Of another session of HTTP/3: there is none.
                    Err(SessionError::WebTransportError(WebTransportError::UnknownSession)) => None,
                    Err(error) => Some(gone(&error)),
                },
            };
            if let Some(incoming) = incoming {
                return incoming;
            }
        }
    }
}

impl Reading {
    fn take(&mut self, told: Told) -> Option<Incoming> {
        match told {
            Told::Frames { channel, frames, answers } => {
                if let Some(answers) = answers
                    && !self.answers.begin(channel, answers)
                {
                    return Some(Incoming::Fault(malformed("Two streams carry one channel.")));
                }
                Some(match channel {
                    Channel::CONNECTION => Incoming::Bytes(frames),
                    channel => Incoming::Document { channel, frames },
                })
            }
            Told::Ended(None) => None,
            Told::Ended(Some(Channel::CONNECTION)) => {
                self.ending = true;
                None
            }
            Told::Ended(Some(channel)) => {
                self.answers.end(channel);
                Some(Incoming::Left(channel))
            }
            Told::Broken(None | Some(Channel::CONNECTION), fault) => Some(Incoming::Fault(fault)),
            Told::Broken(Some(channel), fault) => Some(Incoming::Broken { channel, fault }),
        }
    }
}

fn gone(error: &SessionError) -> Incoming {
    tracing::debug!(%error, "the connection ended");
    Incoming::Gone
}

fn malformed(reason: &str) -> Fault {
    Fault::new(CloseCode::MALFORMED, reason)
}

/// One stream's frames, from the first to its end.
fn told(answers: SendStream, stream: RecvStream, message_bytes_max: usize) -> BoxStream<'static, Told> {
    let frames = StreamFrames::new();
    let carried = Carried { stream, frames, answers: Some(answers), message_bytes_max, over: false };
    let next = async |mut carried: Carried| match carried.over {
        true => None,
        false => Some((carried.next().await, carried)),
    };
    Box::pin(unfold(carried, next))
}

struct Carried {
    stream: RecvStream,
    frames: StreamFrames,
    /// Until the first frame says whose they are.
    answers: Option<SendStream>,
    message_bytes_max: usize,
    over: bool,
}

impl Carried {
    async fn next(&mut self) -> Told {
        loop {
            match self.frames.next(self.message_bytes_max) {
                Ok(None) => {}
                Ok(Some(frames)) => {
                    let channel = self.frames.channel().unwrap_or(Channel::CONNECTION);
                    return Told::Frames { channel, frames, answers: self.answers.take() };
                }
                Err(error) => return self.broken(error.into()),
            }
            match self.stream.read_chunk(READ_BYTES, true).await {
                Ok(Some(chunk)) => self.frames.take(&chunk.bytes),
                Ok(None) if self.frames.is_cut() => return self.broken(malformed("A stream ends within a frame.")),
                Ok(None) | Err(_) => {
                    self.over = true;
                    return Told::Ended(self.frames.channel());
                }
            }
        }
    }

    fn broken(&mut self, fault: Fault) -> Told {
        self.over = true;
        // It may have ended already.
        let _ = self.stream.stop(u32::from(fault.code.0));
        Told::Broken(self.frames.channel(), fault)
    }
}

/// The side that is written.
pub(super) struct Writing {
    session: Session,
    answers: Answers,
    sent: Unrepeated,
}

impl Outlet for Writing {
    const APART: bool = true;

    async fn send(&mut self, batch: Batch) -> bool {
        if batch.presence
            && batch.bytes.len() <= self.session.max_datagram_size()
            && self.sent.takes(&batch)
            && self.session.send_datagram(batch.bytes.clone().into()).is_ok()
        {
            return true;
        }
        // Whoever has left a document is not told more of it.
        let Some(mut stream) = self.answers.lend(batch.channel) else { return self.session.close_reason().is_none() };
        match stream.write_all(&batch.bytes).await {
            Ok(()) if batch.last => {
                let _ = stream.finish();
                self.answers.end(batch.channel);
                true
            }
            Ok(()) => {
                self.answers.give_back(batch.channel, stream);
                true
            }
            Err(WriteError::Stopped(_) | WriteError::InvalidStopped(_)) => {
                self.answers.end(batch.channel);
                batch.channel != Channel::CONNECTION
            }
            Err(_) => false,
        }
    }

    async fn repeat(&mut self) -> Batch {
        self.sent.due().await
    }

    async fn close(&mut self, fault: Fault) {
        let mut streams = self.answers.end_all();
        for stream in &mut streams {
            let _ = stream.finish();
        }
        // A close overtakes what is still under way: it waits until that has arrived, or a while.
        let _ = tokio::time::timeout(DELIVERY, join_all(streams.iter().map(SendStream::stopped))).await;
        self.session.close(u32::from(fault.code.0), fault.reason.as_bytes());
        let _ = tokio::time::timeout(CLOSING, self.session.closed()).await;
    }
}

/// Presence that went by datagram and may be lost: the latest of each session goes once more, by the stream, when no other
/// came for a while.
#[derive(Default)]
struct Unrepeated {
    latest: HashMap<(Channel, u64), (Instant, Vec<u8>)>,
}

impl Unrepeated {
    /// Whether this presence may go by datagram. One that says that somebody is gone may not be lost.
    fn takes(&mut self, batch: &Batch) -> bool {
        let presence = Frame::parse(&batch.bytes).ok().and_then(|(frame, _)| ServerMessage::decode(&frame).ok()?);
        let Some(ServerMessage::Presence(presence)) = presence else { return false };
        let key = (batch.channel, presence.session);
        if presence.data.is_none() || (self.latest.len() >= UNREPEATED_MAX && !self.latest.contains_key(&key)) {
            self.latest.remove(&key);
            return false;
        }
        self.latest.insert(key, (Instant::now() + REPEAT_AFTER, batch.bytes.clone()));
        true
    }

    /// Waits for what is to be repeated next.
    async fn due(&mut self) -> Batch {
        let Some((&key, &(at, _))) = self.latest.iter().min_by_key(|(_, (at, _))| *at) else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(at).await;
        let bytes = self.latest.remove(&key).map_or_else(Vec::new, |(_, bytes)| bytes);
        Batch { channel: key.0, bytes, presence: false, last: false }
    }
}

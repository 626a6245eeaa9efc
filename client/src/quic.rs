//! One QUIC connection: a stream for the connection and one for each document, presence in datagrams.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_ok};
use futures_util::stream::{BoxStream, SelectAll, unfold};
use futures_util::{FutureExt, StreamExt};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, IdleTimeout, RecvStream, SendStream, TransportConfig, WriteError};
use rustls::ClientConfig;
use selvedge_protocol::message::kind;
use selvedge_protocol::streams::{StreamFrames, by_channel};
use selvedge_protocol::{Channel, ClientMessage, CloseCode, Frame, Frames};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::core::Shared;
use crate::socket::Outgoing;
use crate::url::host_and_port;

/// Our protocol among those of QUIC.
const ALPN: &[u8] = b"selvedge/1";
/// How long one address of a host is tried before its next is tried beside it.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// How long a connection may be silent; the machine pings more often.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes read from a stream at once, and handed to the machine together unless one frame is larger.
const READ_BYTES: usize = 64 * 1024;
/// How long a presence that may be lost waits for a newer one before it is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(300);
/// How long what was written last may take to arrive before the close follows it.
const DELIVERY: Duration = Duration::from_millis(700);
/// How long the close itself may take.
const CLOSING: Duration = Duration::from_millis(200);

/// What a stream of the relay's answers tells.
enum Told {
    Frames(Vec<u8>),
    /// It carries what no stream may.
    Broken(String),
    Ended(Option<Channel>),
}

/// What reader and writer tell each other.
struct Streams {
    begun: mpsc::UnboundedReceiver<RecvStream>,
    ended: mpsc::UnboundedSender<Channel>,
}

/// Connects and serves the connection until its end; what happens is told to the machine.
pub(crate) async fn run(
    shared: Arc<Shared>,
    attempt: u64,
    url: String,
    tls: Arc<ClientConfig>,
    waiting: mpsc::UnboundedReceiver<Outgoing>,
) {
    let (endpoint, connection) = match connect(&url, &tls).await {
        Ok(connected) => connected,
        Err(error) => {
            tracing::debug!(attempt, url, error, "no connection");
            shared.act(|state, now| state.client.connect_failed(attempt, now));
            return;
        }
    };
    shared.act(|state, now| state.client.connect_opened(attempt, now));
    // As many as the connection has documents.
    let (begin, begun) = mpsc::unbounded_channel();
    let (end, ended) = mpsc::unbounded_channel();
    let mut writer =
        Writer { connection: connection.clone(), begin, streams: HashMap::new(), unrepeated: HashMap::new() };
    let (code, reason) = tokio::select! {
        end = read(&shared, attempt, &connection, Streams { begun, ended: end }) => end,
        () = writer.run(waiting, ended) => (CloseCode::ABNORMAL, String::new()),
    };
    shared.act(|state, now| state.client.closed(attempt, code, &reason, now));
    drop((writer, connection));
    let _ = tokio::time::timeout(CLOSING, endpoint.wait_idle()).await;
}

/// Tries every address of the host, the next beside the former when that takes long.
async fn connect(url: &str, tls: &Arc<ClientConfig>) -> Result<(Endpoint, Connection), String> {
    let (host, port) = host_and_port(url).ok_or_else(|| "the address names no host and port".to_owned())?;
    let config = config(tls)?;
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| error.to_string())?;
    let attempts = found.enumerate().map(|(place, address)| {
        let config = config.clone();
        let wait = NEXT_ADDRESS_AFTER * u32::try_from(place).unwrap_or(u32::MAX);
        async move {
            tokio::time::sleep(wait).await;
            to_address(address, host, config).await
        }
        .boxed()
    });
    let attempts: Vec<_> = attempts.collect();
    if attempts.is_empty() {
        return Err("the host has no address".to_owned());
    }
    select_ok(attempts).await.map(|(connected, _)| connected)
}

async fn to_address(
    address: SocketAddr,
    host: &str,
    config: quinn::ClientConfig,
) -> Result<(Endpoint, Connection), String> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = Endpoint::client(any).map_err(|error| error.to_string())?;
    let connecting = endpoint.connect_with(config, address, host).map_err(|error| error.to_string())?;
    let connection = connecting.await.map_err(|error| error.to_string())?;
    Ok((endpoint, connection))
}

fn config(tls: &Arc<ClientConfig>) -> Result<quinn::ClientConfig, String> {
    let mut tls = ClientConfig::clone(tls);
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(IdleTimeout::try_from(IDLE).ok());
    transport.max_concurrent_bidi_streams(0_u32.into());
    transport.max_concurrent_uni_streams(0_u32.into());
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Hands frames to the machine until the connection ends; answers how it ended.
async fn read(shared: &Shared, attempt: u64, connection: &Connection, streams: Streams) -> (CloseCode, String) {
    let Streams { mut begun, ended } = streams;
    let mut answers: SelectAll<BoxStream<'static, Told>> = SelectAll::new();
    loop {
        // What came before the end of the connection is read first.
        let told = tokio::select! {
            biased;
            Some(stream) = begun.recv() => {
                answers.push(told(stream));
                continue;
            }
            Some(told) = answers.next() => told,
            datagram = connection.read_datagram() => match datagram {
                Ok(bytes) => Told::Frames(bytes.into()),
                Err(error) => return end_of(&error),
            },
        };
        match told {
            Told::Frames(frames) => shared.act(|state, now| state.client.received(attempt, &frames, now)),
            Told::Broken(reason) => return (CloseCode::ABNORMAL, reason),
            Told::Ended(Some(channel)) => {
                // Nobody listens when the writer is at its own end.
                let _ = ended.send(channel);
            }
            Told::Ended(None) => {}
        }
    }
}

/// How a connection's end is told to the machine.
fn end_of(error: &ConnectionError) -> (CloseCode, String) {
    tracing::debug!(%error, "connection lost");
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = u16::try_from(close.error_code.into_inner()).ok().filter(|code| *code >= 1000);
            (code.map_or(CloseCode::ABNORMAL, CloseCode), String::from_utf8_lossy(&close.reason).into_owned())
        }
        other => (CloseCode::ABNORMAL, other.to_string()),
    }
}

/// The frames of one stream, from the first to its end.
fn told(stream: RecvStream) -> BoxStream<'static, Told> {
    let next = async |state: Option<(RecvStream, StreamFrames)>| {
        let (mut stream, mut frames) = state?;
        let told = loop {
            match frames.next(READ_BYTES) {
                Ok(None) => {}
                Ok(Some(whole)) => break Told::Frames(whole),
                Err(error) => return Some((Told::Broken(error.to_string()), None)),
            }
            match stream.read_chunk(READ_BYTES, true).await {
                Ok(Some(chunk)) => frames.take(&chunk.bytes),
                Ok(None) | Err(_) => return Some((Told::Ended(frames.channel()), None)),
            }
        };
        Some((told, Some((stream, frames))))
    };
    Box::pin(unfold(Some((stream, StreamFrames::new())), next))
}

/// The side that is written.
struct Writer {
    connection: Connection,
    begin: mpsc::UnboundedSender<RecvStream>,
    streams: HashMap<Channel, SendStream>,
    /// Presence that went by datagram and may be lost, by document: repeated by the stream when no newer one came.
    unrepeated: HashMap<Channel, (Instant, Vec<u8>)>,
}

impl Writer {
    /// Writes what waits until a close was written or the connection is lost.
    async fn run(
        &mut self,
        mut waiting: mpsc::UnboundedReceiver<Outgoing>,
        mut ended: mpsc::UnboundedReceiver<Channel>,
    ) {
        loop {
            let due = self.unrepeated.iter().map(|(channel, (at, _))| (*at, *channel)).min();
            let repeat = async {
                match due {
                    Some((at, channel)) => {
                        tokio::time::sleep_until(at).await;
                        channel
                    }
                    None => std::future::pending().await,
                }
            };
            let going = tokio::select! {
                next = waiting.recv() => match next {
                    Some(Outgoing::Message(bytes)) => self.message(&bytes).await,
                    Some(Outgoing::Close(code)) => {
                        self.close(code).await;
                        false
                    }
                    None => false,
                },
                Some(channel) = ended.recv() => {
                    self.forget(channel);
                    true
                }
                channel = repeat => match self.unrepeated.remove(&channel) {
                    Some((_, frame)) => self.by_stream(channel, &frame).await,
                    None => true,
                },
            };
            if !going {
                return;
            }
        }
    }

    /// Sends a message's frames, each by its channel's stream. `false`: the connection is lost.
    async fn message(&mut self, bytes: &[u8]) -> bool {
        for (channel, piece) in by_channel(bytes) {
            let going = match channel {
                Channel::CONNECTION => self.by_stream(channel, piece).await,
                channel => self.document(channel, piece).await,
            };
            if !going {
                return false;
            }
        }
        true
    }

    async fn document(&mut self, channel: Channel, piece: &[u8]) -> bool {
        let (mut reliable, mut leaves) = (Vec::new(), false);
        for frame in Frames::new(piece).flatten() {
            leaves |= frame.kind == kind::BYE;
            let mut bytes = Vec::new();
            if frame.write(&mut bytes).is_ok() && !(frame.kind == kind::PRESENCE && self.by_datagram(&frame, &bytes)) {
                reliable.append(&mut bytes);
            }
        }
        let going = reliable.is_empty() || self.by_stream(channel, &reliable).await;
        if leaves {
            self.forget(channel);
        }
        going
    }

    /// Sends a presence as a datagram, if it may be lost, fits, and its document has a stream.
    fn by_datagram(&mut self, frame: &Frame<'_>, bytes: &[u8]) -> bool {
        let shows = matches!(ClientMessage::decode(frame), Ok(Some(ClientMessage::Presence(presence))) if presence.data.is_some());
        let fits = self.connection.max_datagram_size().is_some_and(|most| bytes.len() <= most);
        let sent = shows
            && fits
            && self.streams.contains_key(&frame.channel)
            && self.connection.send_datagram(bytes.to_vec().into()).is_ok();
        self.unrepeated.remove(&frame.channel);
        if sent {
            self.unrepeated.insert(frame.channel, (Instant::now() + REPEAT_AFTER, bytes.to_vec()));
        }
        sent
    }

    async fn by_stream(&mut self, channel: Channel, bytes: &[u8]) -> bool {
        if !self.streams.contains_key(&channel) {
            let Ok((send, answers)) = self.connection.open_bi().await else { return false };
            self.streams.insert(channel, send);
            // The reader lives as long as this writer.
            let _ = self.begin.send(answers);
        }
        let Some(stream) = self.streams.get_mut(&channel) else { return false };
        match stream.write_all(bytes).await {
            Ok(()) => true,
            // The relay reads no more of this document: its `closed` says why.
            Err(WriteError::Stopped(_) | WriteError::ClosedStream) => channel != Channel::CONNECTION,
            Err(_) => false,
        }
    }

    fn forget(&mut self, channel: Channel) {
        self.unrepeated.remove(&channel);
        if let Some(mut stream) = self.streams.remove(&channel) {
            // It may be over already.
            let _ = stream.finish();
        }
    }

    async fn close(&mut self, code: CloseCode) {
        let mut streams: Vec<SendStream> = self.streams.drain().map(|(_, stream)| stream).collect();
        for stream in &mut streams {
            let _ = stream.finish();
        }
        // A close overtakes what is still under way: it waits until that has arrived, or a while.
        let _ = tokio::time::timeout(DELIVERY, join_all(streams.iter().map(SendStream::stopped))).await;
        self.connection.close(code.0.into(), b"");
    }
}

//! One connection, or an attempt at one: a task that carries it, by WebSocket or by QUIC. What follows the connection itself is a
//! WebSocket: one side that reads and one that writes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use selvedge_protocol::{Address, CloseCode, Transport};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use crate::core::Shared;
use crate::{quic, tls};

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Many connections in one process are a use of this client, and each reads into a buffer of its own.
const READ_BUFFER_BYTES: usize = 4096;
/// What may wait for the network inside a socket. The machine sends less than this beyond what is acknowledged.
const WRITE_BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// Longest message of a server: several chunks of 64 KiB.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// How long a close may take to be sent.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What a connection is to send.
pub(crate) enum Outgoing {
    /// Whole frames.
    Message(Vec<u8>),
    /// A close; nothing comes after it.
    Close(CloseCode),
}

/// A connection, or an attempt at one. Dropping it cuts it.
pub(crate) struct Socket {
    /// Bounded by the machine's push window; see [`WRITE_BUFFER_BYTES_MAX`].
    outgoing: mpsc::UnboundedSender<Outgoing>,
    task: JoinHandle<()>,
}

impl Socket {
    /// Begins to connect; what happens is told to the machine under that attempt's number.
    pub(crate) fn open(shared: Arc<Shared>, attempt: u64, address: Address) -> Self {
        let (outgoing, waiting) = mpsc::unbounded_channel();
        let Address { transport, url, certificates } = address;
        let task = match transport {
            Transport::Quic => {
                let tls = tls::accepting(&shared.tls, certificates);
                tokio::spawn(quic::run(shared, attempt, url, tls, waiting))
            }
            // The machine is not told of WebTransport, which is for browsers.
            Transport::WebSocket | Transport::WebTransport => tokio::spawn(run(shared, attempt, url, waiting)),
        };
        Self { outgoing, task }
    }

    /// Sends a message after those before it. On a connection that was lost it goes nowhere.
    pub(crate) fn send(&self, bytes: Vec<u8>) {
        let _ = self.outgoing.send(Outgoing::Message(bytes));
    }

    /// Whether the connection is over.
    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Sends what waits and a close with that code, then cuts the connection.
    pub(crate) async fn close(mut self, code: CloseCode) {
        let _ = self.outgoing.send(Outgoing::Close(code));
        let _ = tokio::time::timeout(CLOSE_WITHIN, &mut self.task).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(shared: Arc<Shared>, attempt: u64, url: String, waiting: mpsc::UnboundedReceiver<Outgoing>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let tls = Connector::Rustls(Arc::clone(&shared.tls));
    let stream = match connect_async_tls_with_config(&url, Some(config), true, Some(tls)).await {
        Ok((stream, _)) => stream,
        Err(error) => {
            tracing::debug!(attempt, url, %error, "no connection");
            shared.act(|state, now| state.client.connect_failed(attempt, now));
            return;
        }
    };
    shared.act(|state, now| state.client.connect_opened(attempt, now));
    let (sink, stream) = stream.split();
    let (code, reason) = tokio::select! {
        end = read(&shared, attempt, stream) => end,
        () = write(sink, waiting) => (CloseCode::ABNORMAL, String::new()),
    };
    shared.act(|state, now| state.client.closed(attempt, code, &reason, now));
}

/// Hands messages to the machine until the connection ends; answers how it ended.
async fn read(shared: &Shared, attempt: u64, mut stream: SplitStream<Stream>) -> (CloseCode, String) {
    loop {
        match stream.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                shared.act(|state, now| state.client.received(attempt, &bytes, now));
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                return (CloseCode(frame.code.into()), frame.reason.as_str().to_owned());
            }
            Some(Ok(Message::Close(None))) | None => return (CloseCode::ABNORMAL, String::new()),
            // The protocol has no text; pings are answered by the socket itself.
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(attempt, %error, "connection lost");
                return (CloseCode::ABNORMAL, error.to_string());
            }
        }
    }
}

/// Writes what waits, flushing whenever nothing does, until a close was written or the connection is lost.
async fn write(mut sink: SplitSink<Stream, Message>, mut waiting: mpsc::UnboundedReceiver<Outgoing>) {
    while let Some(next) = waiting.recv().await {
        let sent = match next {
            Outgoing::Message(bytes) => sink.feed(Message::Binary(bytes.into())).await,
            Outgoing::Close(code) => {
                let frame = CloseFrame { code: code.0.into(), reason: "".into() };
                // It is over either way.
                let _ = sink.send(Message::Close(Some(frame))).await;
                return;
            }
        };
        if sent.is_err() || (waiting.is_empty() && sink.flush().await.is_err()) {
            return;
        }
    }
}

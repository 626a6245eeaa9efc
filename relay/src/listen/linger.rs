//! How a TCP connection ends: written out, then read off for a while, then closed.
//!
//! A socket closed with unread bytes makes the system answer with a reset, and a reset takes away what the peer has not read
//! yet: the close frame, or the answer, that says why. So a connection let go by its server is not closed at once: its
//! writing side is shut, and what the peer still sends is read and thrown away until its end, bounded in time and bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// How long a peer may take to end.
const LINGER: Duration = Duration::from_secs(2);
/// How much of what it still sends is read off, in bytes.
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes read off at once.
const READ_BYTES: usize = 16 * 1024;

/// A TCP stream that its listener reads off when it is dropped.
#[derive(Debug)]
pub(crate) struct Lingering {
    /// `None` only while it is dropped.
    stream: Option<TcpStream>,
    /// To the listener. Full, or closed with the listener: the stream is closed at once.
    ending: mpsc::Sender<TcpStream>,
}

impl Lingering {
    pub(crate) fn new(stream: TcpStream, ending: mpsc::Sender<TcpStream>) -> Self {
        Lingering { stream: Some(stream), ending }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(self.get_mut().stream.as_mut().expect("the stream is taken out by drop alone"))
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            let _ = self.ending.try_send(stream);
        }
    }
}

/// Says goodbye on a stream nobody uses any more.
pub(crate) async fn linger(mut stream: TcpStream) {
    let read_off = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut buffer = vec![0; READ_BYTES];
        let mut left = LINGER_BYTES_MAX;
        while let Ok(read @ 1..) = stream.read(&mut buffer).await
            && read < left
        {
            left -= read;
        }
    };
    // A peer that takes longer has had its chance.
    let _ = tokio::time::timeout(LINGER, read_off).await;
}

impl AsyncRead for Lingering {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

//! One WebSocket: messages of whole frames at `/v1/connect`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use selvedge_protocol::CloseCode;

use super::address::{Place, counted_address};
use super::conversation::{Inbound, Incoming, Outlet, converse};
use crate::app::App;
use crate::auth::origin_allowed;
use crate::metrics::Carrier;
use crate::session::Fault;
use crate::session::outbound::Batch;

/// Longest reason in a close frame.
const REASON_BYTES_MAX: usize = 120;

/// `GET /v1/connect`.
pub(crate) async fn connect(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let listen = &app.config.listen;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    // One frame more than allowed, so that the session itself sees what is too large and says so.
    let message_max = size(app.config.limits.message_bytes_max + app.config.limits.frame_bytes_max);
    let forwarded = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let address = counted_address(peer.ip(), forwarded, &listen.trusted_proxy);
    let page_allowed = app.auth.host_allowed(&headers, listen) && origin_allowed(&headers, &listen.allow_origin);
    let admission = app.admit(address, page_allowed);
    upgrade
        .read_buffer_size(size(listen.websocket_read_bytes))
        .write_buffer_size(0)
        .max_write_buffer_size(size(listen.websocket_write_bytes_max))
        .max_message_size(message_max)
        .max_frame_size(message_max)
        .on_upgrade(move |socket| serve(app, socket, admission))
}

async fn serve(app: Arc<App>, socket: WebSocket, admission: Result<Place, Fault>) {
    let (sink, stream) = socket.split();
    converse(app, Carrier::WebSocket, Reading { stream }, Writing { sink }, admission).await;
}

struct Writing {
    sink: SplitSink<WebSocket, Message>,
}

impl Outlet for Writing {
    const APART: bool = false;

    async fn send(&mut self, batch: Batch) -> bool {
        self.sink.send(Message::Binary(batch.bytes.into())).await.is_ok()
    }

    async fn close(&mut self, fault: Fault) {
        let mut reason = fault.reason;
        while reason.len() > REASON_BYTES_MAX {
            reason.pop();
        }
        let frame = CloseFrame { code: fault.code.0, reason: Utf8Bytes::from(reason) };
        let _ = self.sink.send(Message::Close(Some(frame))).await;
        let _ = self.sink.close().await;
    }
}

struct Reading {
    stream: SplitStream<WebSocket>,
}

impl Inbound for Reading {
    async fn next(&mut self) -> Incoming {
        match self.stream.next().await {
            Some(Ok(Message::Binary(bytes))) => Incoming::Bytes(bytes.into()),
            Some(Ok(Message::Text(_))) => {
                Incoming::Fault(Fault::new(CloseCode::MALFORMED, "Messages are binary, not text."))
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Incoming::Alive,
            Some(Ok(Message::Close(_))) => {
                // Reading on writes the answer to the close.
                let _ = self.stream.next().await;
                Incoming::Gone
            }
            None => Incoming::Gone,
            Some(Err(error)) => broken(&error.to_string()),
        }
    }
}

/// The WebSocket itself is at fault, or gone.
fn broken(error: &str) -> Incoming {
    tracing::debug!(error, "the socket failed");
    let code = if error.contains("too long") || error.contains("too big") {
        CloseCode::TOO_LARGE
    } else if error.contains("protocol") || error.contains("UTF-8") {
        CloseCode::MALFORMED
    } else {
        return Incoming::Gone;
    };
    Incoming::Fault(Fault::new(code, code.sentence()))
}

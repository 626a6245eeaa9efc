//! From a first packet to a conversation: who may shake hands, and what they speak.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming, VarInt};
use selvedge_protocol::CloseCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use web_transport_quinn::{Request, Session};

use super::streams::split;
use super::{ALPN_H3, ALPN_SELVEDGE};
use crate::app::App;
use crate::auth::page_allowed;
use crate::listen::address::Place;
use crate::listen::conversation::converse;
use crate::metrics::Carrier;

/// Where WebTransport connects, as WebSocket does.
const CONNECT_PATH: &str = "/v1/connect";
/// How long the last packets of closed connections may take.
const LAST_PACKETS: Duration = Duration::from_millis(300);

/// Serves until told to stop; connections still open then are closed.
pub(crate) async fn serve(endpoint: Endpoint, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let most = usize::try_from(app.config.quic.quic_handshakes_max).unwrap_or(Semaphore::MAX_PERMITS);
    let handshakes = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => {
                    if let Some(admitted) = admit(incoming, &app, &handshakes, connections.len()) {
                        connections.spawn(connection(admitted, Arc::clone(&app)));
                    }
                }
                None => break,
            },
            Some(_) = connections.join_next() => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
    endpoint.close(VarInt::from(CloseCode::DRAINING.0), CloseCode::DRAINING.sentence().as_bytes());
    while connections.join_next().await.is_some() {}
    let _ = tokio::time::timeout(LAST_PACKETS, endpoint.wait_idle()).await;
}

/// Somebody who may shake hands.
struct Admitted {
    incoming: Incoming,
    place: Place,
    handshake: OwnedSemaphorePermit,
}

/// Decides over a first packet without keeping anything of whom it refuses.
fn admit(incoming: Incoming, app: &App, handshakes: &Arc<Semaphore>, open: usize) -> Option<Admitted> {
    let address = incoming.remote_address().ip();
    let config = &app.config.quic;
    let under_way = config.quic_handshakes_max.saturating_sub(handshakes.available_permits() as u64);
    let crowded = under_way >= config.quic_retry_above || app.is_crowded(address);
    if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
        app.metrics.quic_retries.inc();
        // The packet is answered or, if it cannot be, dropped.
        let _ = incoming.retry();
        return None;
    }
    let refuse = |incoming: Incoming, code: CloseCode| {
        app.metrics.refuse(code);
        incoming.refuse();
        None
    };
    if open as u64 >= app.config.listen.connections_max {
        return refuse(incoming, CloseCode::DRAINING);
    }
    let Ok(handshake) = Arc::clone(handshakes).try_acquire_owned() else {
        return refuse(incoming, CloseCode::DRAINING);
    };
    match app.enter(address) {
        Some(place) => Some(Admitted { incoming, place, handshake }),
        None => refuse(incoming, CloseCode::RATE_LIMITED),
    }
}

async fn connection(admitted: Admitted, app: Arc<App>) {
    let Admitted { incoming, place, handshake } = admitted;
    let peer = incoming.remote_address();
    let patience = Duration::from_millis(app.config.listen.handshake_ms);
    let established = match tokio::time::timeout(patience, establish(incoming, &app)).await {
        Ok(Ok(established)) => established,
        Ok(Err(error)) => return tracing::debug!(%peer, error, "a QUIC handshake failed"),
        Err(_) => return tracing::debug!(%peer, "a QUIC handshake took too long"),
    };
    drop((place, handshake));
    let Established { session, carrier, page_allowed } = established;
    let admission = app.admit(peer.ip(), page_allowed);
    let message_bytes_max = usize::try_from(app.config.limits.message_bytes_max).unwrap_or(usize::MAX);
    let (reading, writing) = split(session.clone(), message_bytes_max);
    converse(app, carrier, reading, writing, admission).await;
    // Whatever was not closed by then, by either side, is closed now.
    Connection::close(&session, VarInt::from_u32(0), b"");
}

struct Established {
    session: Session,
    carrier: Carrier,
    page_allowed: bool,
}

async fn establish(incoming: Incoming, app: &App) -> Result<Established, String> {
    let connection = incoming.accept().map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())?;
    match protocol(&connection).as_deref() {
        Some(ALPN_H3) => web_transport(connection, app).await,
        Some(ALPN_SELVEDGE) => {
            let session = Session::raw(connection);
            Ok(Established { session, carrier: Carrier::Quic, page_allowed: true })
        }
        _ => Err("no protocol was agreed".to_owned()),
    }
}

fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    let data = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    data.protocol
}

async fn web_transport(connection: Connection, app: &App) -> Result<Established, String> {
    let request = Request::accept(connection).await.map_err(|error| error.to_string())?;
    if request.url.path() != CONNECT_PATH {
        let _ = request.reject(StatusCode::NOT_FOUND).await;
        return Err("WebTransport to a path that is not there".to_owned());
    }
    let mut headers: HeaderMap = request.headers.clone();
    if let Ok(authority) = request.url.authority().parse() {
        headers.insert(header::HOST, authority);
    }
    // As with WebSocket: refused by a close that the page can read, not by a status that it cannot.
    let page_allowed = app.auth.host_allowed(&headers, &app.config.listen)
        && page_allowed(&headers, &app.config.listen.allow_origin, app.port);
    let session = request.ok().await.map_err(|error| error.to_string())?;
    Ok(Established { session, carrier: Carrier::WebTransport, page_allowed })
}

//! The HTTP listener: heads bounded in time and size, connections bounded in number and owned by one task.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use super::ListenConfig;
use super::address::{Place, Waiting};
use super::linger::{Lingering, linger};

/// Pause after the system refused to accept, e.g. for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are read off at their end at a time, and as many that wait for it; more are closed at once.
const LINGERING_MAX: usize = 256;

/// Serves until told to stop; then no new connection is taken and those open finish the answer they are at.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    config: ListenConfig,
    tls: Option<TlsAcceptor>,
    waiting: Arc<Waiting>,
    stopped: watch::Receiver<bool>,
) {
    let mut stop = stopped.clone();
    let mut connections = JoinSet::new();
    let (ending, mut ended) = mpsc::channel(LINGERING_MAX);
    let mut lingering = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Above the limit a connection is closed at once: nothing has been said that could be answered.
                    if connections.len() as u64 <= config.connections_max
                        && let Some(place) = waiting.enter(peer.ip())
                    {
                        let _ = stream.set_nodelay(true);
                        let stream = Lingering::new(stream, ending.clone());
                        let reception = Reception {
                            peer,
                            place,
                            router: router.clone(),
                            config: config.clone(),
                            stopped: stopped.clone(),
                        };
                        connections.spawn(receive(stream, tls.clone(), reception));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            Some(stream) = ended.recv(), if lingering.len() < LINGERING_MAX => {
                lingering.spawn(linger(stream));
            }
            Some(_) = lingering.join_next() => {}
            () = told(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    while let Ok(stream) = ended.try_recv() {
        lingering.spawn(linger(stream));
    }
    while lingering.join_next().await.is_some() {}
}

/// What a connection is received with.
struct Reception {
    peer: SocketAddr,
    place: Place,
    router: Router,
    config: ListenConfig,
    stopped: watch::Receiver<bool>,
}

async fn receive(stream: Lingering, tls: Option<TlsAcceptor>, reception: Reception) {
    let Some(tls) = tls else { return connection(stream, reception).await };
    let patience = Duration::from_millis(reception.config.handshake_ms);
    match tokio::time::timeout(patience, tls.accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, reception).await,
        Ok(Err(error)) => tracing::debug!(peer = %reception.peer, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(peer = %reception.peer, "a TLS handshake took too long"),
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, reception: Reception) {
    let Reception { peer, place, router, config, mut stopped } = reception;
    // Given back as soon as a whole head has come: from there on the request, or the session, has limits of its own.
    let place = Mutex::new(Some(place));
    let service = service_fn(|request: hyper::Request<Incoming>| {
        drop(place.lock().expect("no code panics with this lock held").take());
        answer(router.clone(), peer, request)
    });
    let bytes_max = usize::try_from(config.http_head_bytes_max).unwrap_or(usize::MAX).max(8 * 1024);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.http_head_ms))
        .max_buf_size(bytes_max)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = told(&mut stopped) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an HTTP connection ended early");
    }
}

async fn answer(
    mut router: Router,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.call(request).await
}

/// Waits until the listener is to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // Without a sender nobody can say it any more: that is an end too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

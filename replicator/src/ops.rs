//! What operators and orchestrators ask of the process: health, readiness, metrics, and who holds the control plane.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock;
use crate::failover::Standing;

/// Who holds the control plane, as this process sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ControlState {
    /// The place this process looks from.
    pub region: String,
    /// The epoch.
    pub epoch: u64,
    /// The region that holds the lease; nothing when it has run out.
    pub holder: Option<String>,
    /// How long the lease still holds, in milliseconds, as far as can be seen.
    pub lease_ms: u64,
    /// Age of the oldest own record that was read and is not in the other region yet, in milliseconds; nothing while that
    /// region is not reached.
    pub lag_ms: Option<u64>,
    /// Whether this process decides.
    pub deciding: bool,
    /// Steps of this process' newest promotion that are done.
    pub done: Vec<&'static str>,
    /// The step it is at, and what stands in its way.
    pub doing: Option<(&'static str, Option<String>)>,
}

impl ControlState {
    /// How it stands at that place now.
    #[must_use]
    pub fn of(region: &str, standing: &Standing, ttl_ms: u64, lag_ms: Option<u64>) -> Self {
        let lease_ms = ttl_ms.saturating_sub(clock::now().since(standing.seen));
        let lease = standing.lease.as_ref();
        let holds = lease.filter(|_| lease_ms > 0);
        Self {
            region: region.to_owned(),
            epoch: lease.map_or(0, |lease| lease.epoch),
            holder: holds.map(|lease| lease.region.clone()),
            lease_ms: if holds.is_some() { lease_ms } else { 0 },
            lag_ms,
            deciding: standing.deciding.is_some(),
            done: standing.promotion.done.clone(),
            doing: standing.promotion.doing.map(|doing| (doing, standing.promotion.trouble.clone())),
        }
    }
}

/// What is served.
pub struct Served {
    /// The place this process looks from.
    pub region: String,
    /// Everything that is counted.
    pub registry: Registry,
    /// Who holds the control plane; without a witness the region's own word.
    pub standing: watch::Receiver<Standing>,
    /// How long a lease holds, in milliseconds.
    pub ttl_ms: u64,
    /// As [`ControlState::lag_ms`].
    pub lag_ms: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    /// Whether everything was opened.
    pub ready: watch::Receiver<bool>,
}

/// The server, running.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(address: SocketAddr, served: Served) -> anyhow::Result<Self> {
        let fix = "give another address with --admin";
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("--admin {address} cannot be had\n  fix: {fix}"))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/v1/control", get(control))
            .with_state(Arc::new(served));
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
            // Dropped is told, too.
            let _ = stopped.await;
        });
        Ok(Self { address, stop, task: tokio::spawn(async move { serving.await }) })
    }

    /// Answers what was asked, and ends.
    pub async fn stop(self) {
        drop(self.stop);
        if let Ok(Err(error)) = self.task.await {
            tracing::warn!(%error, "the admin server ended badly");
        }
    }
}

async fn readyz(State(served): State<Arc<Served>>) -> impl IntoResponse {
    if *served.ready.borrow() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "opening") }
}

async fn metrics(State(served): State<Arc<Served>>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &served.registry) {
        Ok(()) => Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

async fn control(State(served): State<Arc<Served>>) -> impl IntoResponse {
    let standing = served.standing.borrow().clone();
    Json(ControlState::of(&served.region, &standing, served.ttl_ms, (served.lag_ms)()))
}

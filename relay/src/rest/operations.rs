//! Health, readiness, metrics, and what clients probe.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use selvedge_protocol::Transport;
use serde_json::json;

use crate::app::App;

/// Routes that the admin address has too.
pub(crate) fn operations() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/relays", get(relays))
        .route("/v1/probe", get(probe))
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.not_ready() {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.render()).into_response()
}

async fn relays(State(app): State<Arc<App>>) -> Response {
    let connections = app.sessions.len();
    let load = connections as f64 / app.config.listen.connections_max.max(1) as f64;
    let endpoints = app.endpoints(None);
    let relays: Vec<_> = endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses.iter().map(move |address| (endpoint, address)))
        .filter(|(_, address)| address.transport == Transport::WebSocket)
        .map(|(endpoint, address)| json!({ "url": address.url, "region": endpoint.region, "transport": "websocket" }))
        .collect();
    let own = json!({ "connections": connections, "load": load, "ready": app.not_ready().is_none() });
    ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "relays": relays, "self": own }))).into_response()
}

async fn probe(State(app): State<Arc<App>>) -> Response {
    let status = if app.not_ready().is_none() { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")]).into_response()
}

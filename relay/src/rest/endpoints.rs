//! What a page must know before it connects: which relays there are, by which transports, with which certificates.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use selvedge_protocol::{Endpoint, EndpointList, Transport};
use serde_json::{Value, json};

use crate::app::App;

/// `GET /v1/endpoints`: the list of hello-ok, and the signed list where there is one: `signed`, a compact JWS, with what it says in
/// `list` for people. Who needs to rely on it verifies `signed` and reads the list there. `certificates` are SHA-256, hexadecimal, of the only ones to accept; none: the
/// certificate is one that clients trust.
pub(super) async fn endpoints(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(without_port);
    let endpoints: Vec<Value> = app.endpoints(host).iter().map(describe).collect();
    let mut answer = json!({ "endpoints": endpoints });
    if let Some(listed) = app.listing.newest() {
        answer["signed"] = json!(listed.signed);
        answer["list"] = described(&listed.list);
    }
    ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

/// A list as JSON.
fn described(list: &EndpointList) -> Value {
    let endpoints: Vec<Value> = list.endpoints.iter().map(describe).collect();
    json!({ "epoch": list.epoch, "issue": list.issue, "home": list.home, "endpoints": endpoints })
}

/// An endpoint as JSON.
fn describe(endpoint: &Endpoint) -> Value {
    let addresses = endpoint.addresses.iter().map(|address| {
        let certificates: Vec<String> = address.certificates.iter().map(hex::encode).collect();
        json!({ "transport": word(address.transport), "url": address.url, "certificates": certificates })
    });
    json!({ "relay": endpoint.relay, "region": endpoint.region, "addresses": addresses.collect::<Vec<_>>() })
}

fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::WebSocket => "websocket",
        Transport::WebTransport => "webtransport",
        Transport::Quic => "quic",
    }
}

/// The host of a `Host` field.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

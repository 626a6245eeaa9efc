//! The page that the relay serves: right types, caches, and headers that keep strangers' code out.

use std::path::Path;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tower_http::services::{ServeDir, ServeFile};

/// Scripts of this origin alone; connections to relays, which may be elsewhere, and to those of the reader's own machine by plain HTTP,
/// too, to ask which certificates they show; WebAssembly may be compiled; styles may be set by editors.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; \
    connect-src 'self' ws: wss: https: http://127.0.0.1:*; worker-src 'self' blob:; manifest-src 'self'; object-src 'none'; base-uri 'self'; \
    form-action 'self'; frame-ancestors 'none'";

/// Files of `folder`; any other path that a browser navigates to is its index.html.
pub(crate) fn pages(folder: &Path) -> Router {
    let index = folder.join("index.html");
    let files = ServeDir::new(folder).precompressed_br().precompressed_gzip().fallback(ServeFile::new(index));
    Router::new().fallback_service(files).layer(from_fn(cache))
}

/// What is served where no page is configured.
pub(crate) async fn nothing_here() -> Response {
    let text = "This is a Selvedge relay. It serves no page: start it with --web DIR, or connect to /v1/connect.\n";
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Hashed files never change; the rest is asked for each time. A missing file is not the index.
async fn cache(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let file = path.rsplit('/').next().unwrap_or_default().to_owned();
    let is_file = file.contains('.');
    let mut response = next.run(request).await;
    let type_is_html = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/html"));
    if is_file && type_is_html && !file.ends_with(".html") {
        return (StatusCode::NOT_FOUND, "There is no such file.\n").into_response();
    }
    let forever = path.contains("/assets/") && !type_is_html;
    let value = if forever { "public, max-age=31536000, immutable" } else { "no-cache" };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
    response
}

/// Adds to every answer what browsers need to be told.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

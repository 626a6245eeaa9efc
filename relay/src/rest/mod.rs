//! Documents over HTTP, for back ends, tools and health checks. Errors are `{error: {code, message, retryable, requestId}}`.

mod access;
mod author;
mod diff;
mod documents;
mod endpoints;
mod error;
mod operations;
mod text;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::app::App;
use crate::auth::origin_allowed;
use crate::listen::ListenConfig;
use error::ApiError;
pub(crate) use operations::operations;

/// Routes of documents.
pub(crate) fn documents(app: &Arc<App>) -> Router<Arc<App>> {
    let body_max = usize::try_from(app.config.listen.http_body_bytes_max).unwrap_or(usize::MAX);
    Router::new()
        .route("/v1/endpoints", get(endpoints::endpoints))
        .route("/v1/docs", get(documents::list).post(documents::create))
        .route("/v1/docs/{tenant}/{name}", get(documents::stats).delete(documents::delete))
        .route("/v1/docs/{tenant}/{name}/text", get(text::read).put(text::replace))
        .route("/v1/docs/{tenant}/{name}/edits", post(text::edit))
        .route("/v1/docs/{tenant}/{name}/rights", get(access::list))
        .route("/v1/docs/{tenant}/{name}/rights/{principal}", put(access::set))
        .route("/v1/docs/{tenant}/{name}/tickets", post(access::ticket))
        .layer(from_fn_with_state(Arc::clone(app), access::authenticate))
        .route("/v1/{*rest}", any(async || ApiError::new(StatusCode::NOT_FOUND, "not_found", "There is no such path.")))
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "The path does not take this method.")
        })
        .layer(DefaultBodyLimit::max(body_max))
        .layer(cors(&app.config.listen))
        .layer(from_fn_with_state(Arc::clone(app), guard))
}

/// Counts answers.
pub(crate) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    app.metrics.rest_requests.inc();
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let code = u32::from(status.as_u16());
        app.metrics.rest_errors.get_or_create(&crate::metrics::CodeLabel { code }).inc();
    }
    response
}

/// In open mode a page of a stranger must not reach this machine's documents, neither by a plain request nor by a name of its own
/// that it lets point here.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let listen = &app.config.listen;
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let strange = !host_allowed(request.headers(), listen)
        || (changes && !origin_allowed(request.headers(), &listen.allow_origin));
    if app.auth.is_open() && strange {
        return ApiError::forbidden(
            "Pages of this origin may not use this relay; --allow-origin names those that may.",
        )
        .into_response();
    }
    next.run(request).await
}

/// Whether the name the client used is this machine's or one the operator named.
pub(crate) fn host_allowed(headers: &HeaderMap, listen: &ListenConfig) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare == "localhost" || bare.ends_with(".localhost") || bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    let mut named = listen.allow_origin.iter().chain(&listen.advertise);
    named.any(|url| {
        let authority =
            url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).split('/').next().unwrap_or_default();
        authority == "*" || authority == host || authority.split(':').next() == Some(bare)
    })
}

fn cors(listen: &ListenConfig) -> CorsLayer {
    let allowed = listen.allow_origin.clone();
    let origin = AllowOrigin::predicate(move |origin, _| {
        let origin = origin.to_str().unwrap_or_default();
        allowed.iter().any(|allowed| allowed == "*" || allowed.trim_end_matches('/') == origin)
    });
    CorsLayer::new().allow_origin(origin).allow_methods(Any).allow_headers(Any).expose_headers([header::ETAG])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_or_of_the_operator_are_served() {
        let listen = ListenConfig { allow_origin: vec!["https://app.example".into()], ..ListenConfig::default() };
        let check = |host: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            assert_eq!(host_allowed(&headers, &listen), expected, "{host}");
        };
        check("127.0.0.1:4400", true);
        check("[::1]:4400", true);
        check("localhost:4400", true);
        check("localhost", true);
        check("app.example", true);
        check("app.example:443", true);
        check("evil.example:4400", false);
    }
}

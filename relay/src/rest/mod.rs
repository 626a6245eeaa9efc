//! Documents over HTTP, for back ends, tools and health checks.

mod error;
mod operations;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::listen::ListenConfig;
pub(crate) use operations::operations;

/// Routes of documents.
pub(crate) fn documents(_config: &ListenConfig) -> Router<Arc<App>> {
    Router::new()
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

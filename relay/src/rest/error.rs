//! Errors of the REST side: one shape, a stable code, a sentence, whether to try again.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use selvedge_protocol::CloseCode;
use selvedge_region::Error;
use serde_json::json;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request refused.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, code, message: message.into() }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn no_document() -> Self {
        Self::new(StatusCode::NOT_FOUND, "doc_not_found", "There is no such document, or no access to it.")
    }

    pub(crate) fn deleted() -> Self {
        Self::new(StatusCode::GONE, "doc_deleted", "The document was deleted.")
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// What a room's refusal means over HTTP.
    pub(crate) fn from_close(code: CloseCode, message: &str) -> Self {
        let (status, name) = match code {
            CloseCode::FORBIDDEN => return Self::no_document(),
            CloseCode::TOKEN => return Self::new(StatusCode::UNAUTHORIZED, "token", message),
            CloseCode::DELETED => return Self::deleted(),
            CloseCode::TOO_LARGE => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            CloseCode::CONFLICT => (StatusCode::CONFLICT, "conflict"),
            CloseCode::RATE_LIMITED => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            CloseCode::DRAINING | CloseCode::TOO_SLOW => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            CloseCode::MALFORMED => (StatusCode::BAD_REQUEST, "malformed"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self::new(status, name, message)
    }

    fn retryable(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match &error {
            Error::NotFound { .. } => Self::no_document(),
            Error::Gone { .. } => Self::deleted(),
            Error::Invalid(message) => Self::bad_request("invalid", message.clone()),
            Error::NotHome { .. } | Error::Fenced { .. } => {
                Self::new(StatusCode::MISDIRECTED_REQUEST, "not_home", error.to_string())
            }
            Error::Conflict { .. } => Self::new(StatusCode::CONFLICT, "conflict", error.to_string()),
            _ if error.retryable() => {
                tracing::warn!(%error, "a part of the region is not available");
                Self::unavailable("The relay's storage is not available at the moment.")
            }
            _ => {
                tracing::error!(error = &error as &dyn std::error::Error, "a part of the region failed");
                Self::internal("The relay's storage failed.")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let request = format!("{:016x}", rand::random::<u64>());
        tracing::debug!(request, status = self.status.as_u16(), code = self.code, "request refused");
        let retryable = self.retryable();
        let ApiError { status, code, message } = self;
        let body = json!({
            "error": { "code": code, "message": message, "retryable": retryable, "requestId": request }
        });
        let mut response = (status, Json(body)).into_response();
        if let Ok(value) = HeaderValue::from_str(&request) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if retryable {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

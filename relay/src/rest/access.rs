//! Who asks over HTTP, what they may do, and who decides it: rights and tickets.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use selvedge_protocol::{DocumentId, Rights};
use selvedge_region::{AuditEntry, BusMessage};
use serde::Deserialize;
use serde_json::json;

use super::documents::{author_of, document_id, existing, json_body};
use super::error::ApiError;
use crate::app::App;
use crate::auth::{Access, Caller, rights};
use crate::clock::wall_ms;
use crate::session::Fault;

/// Puts who asks into the request: the bearer of its token.
pub(super) async fn authenticate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    match app.auth.identify(token.map(|(_, token)| token.trim()), wall_ms()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(fault) => {
            app.metrics.refuse_token(fault);
            let Fault { code, reason, .. } = fault.into();
            ApiError::from_close(code, &reason).into_response()
        }
    }
}

/// What somebody may do with a document.
pub(super) async fn access_to(app: &App, caller: &Caller, document: &DocumentId) -> Result<Rights, ApiError> {
    let control = &app.registry.ground().region.control;
    match app.auth.access(&**control, caller, document, false, wall_ms()).await {
        Access::Granted(rights) | Access::Blind(rights) => Ok(rights),
        Access::Deleted => Err(ApiError::deleted()),
        Access::Unknown => Err(ApiError::unavailable("What you may do here cannot be looked up at the moment.")),
    }
}

/// Whether somebody may do as much as `least`; answers what they may.
///
/// # Errors
/// 404 to whoever may do nothing with it, as to whoever asks for what is not there; 403 to whoever may do less.
pub(super) async fn allowed(
    app: &App,
    caller: &Caller,
    document: &DocumentId,
    least: Rights,
) -> Result<Rights, ApiError> {
    match access_to(app, caller, document).await? {
        Rights::None => Err(ApiError::no_document()),
        rights if rights < least => Err(ApiError::forbidden(format!(
            "That takes the right to {}; yours is to {}.",
            least.name(),
            rights.name()
        ))),
        rights => Ok(rights),
    }
}

/// Whether somebody may make this document.
pub(super) fn may_create(caller: &Caller, document: &DocumentId) -> Result<(), ApiError> {
    let may = caller.granted(document).may_write() || (caller.at_home(document) && caller.ticket.is_none());
    if may { Ok(()) } else { Err(ApiError::forbidden("Documents are made in the tenant of one's token.")) }
}

/// `GET .../rights`: who may do what by the control plane.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((tenant, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let document = document_id(&tenant, &name)?;
    allowed(&app, &caller, &document, Rights::Admin).await?;
    let set = app.registry.ground().region.control.rights_of(&document).await?;
    let set: Vec<_> =
        set.iter().map(|(principal, rights)| json!({ "principal": principal, "rights": rights.name() })).collect();
    Ok(Json(json!({ "rights": set })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    rights: String,
}

/// `PUT .../rights/{principal} {rights}`: open sessions hear it at once, here and at the region's other relays; where the bus is
/// away and in the other region when the decision is there.
pub(super) async fn set(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path((tenant, name, principal)): Path<(String, String, String)>,
    received: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    let document = document_id(&tenant, &name)?;
    let Set { rights: word } = json_body(received)?;
    let Some(given) = rights(&word) else {
        return Err(ApiError::bad_request("bad_rights", "Rights are none, read, write or admin."));
    };
    if !crate::auth::is_principal(&principal) {
        return Err(ApiError::bad_request("bad_principal", "A principal is 1 to 256 printable characters."));
    }
    let by = author_of(&app, &caller, &headers)?;
    allowed(&app, &caller, &document, Rights::Admin).await?;
    existing(&app, &document).await?;
    let region = &app.registry.ground().region;
    region.control.set_rights(&document, &principal, given).await?;
    let entry = AuditEntry {
        at_ms: wall_ms(),
        principal: by,
        action: "rights.set".to_owned(),
        document: Some(document.clone()),
        detail: format!("{principal} {}", given.name()),
    };
    announce(&app, &document, BusMessage::Rights { principal, rights: given }).await;
    region.control.audit(entry).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells open rooms of a decision that is in force. They hear of it without the bus, too, only later: it fails nobody's request.
pub(super) async fn announce(app: &App, document: &DocumentId, decision: BusMessage) {
    let published = app.registry.ground().region.bus.publish(document, Arc::new(decision)).await;
    if let Err(error) = published {
        tracing::warn!(%document, %error, "a decision was not told by the bus: relays find it themselves");
    }
}

/// `POST .../tickets`: a ticket for five minutes with the rights the caller has. With a ticket for a token it is renewed.
pub(super) async fn ticket(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((tenant, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let document = document_id(&tenant, &name)?;
    let Some(tickets) = app.auth.tickets() else {
        return Err(ApiError::bad_request("open", "This relay asks nobody for tokens, and makes no tickets."));
    };
    let control = &app.registry.ground().region.control;
    let access = app.auth.access(&**control, &caller, &document, false, wall_ms()).await;
    let blind = matches!(access, Access::Blind(_));
    if blind && caller.ticket.is_none() || access == Access::Unknown {
        return Err(ApiError::unavailable("What you may do here cannot be looked up at the moment."));
    }
    let rights = match access {
        Access::Blind(rights) => rights,
        _ => allowed(&app, &caller, &document, Rights::Read).await?,
    };
    let made = tickets.issue(&caller, &document, rights, blind, wall_ms()).map_err(|_| {
        ApiError::unavailable("Rights were last looked up too long ago, and cannot be looked up at the moment.")
    })?;
    app.metrics.tickets.inc();
    let answer = json!({ "ticket": made.token, "rights": made.rights.name(), "expiresMs": made.expires_ms });
    Ok(Json(answer).into_response())
}

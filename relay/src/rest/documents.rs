//! Creating, listing, describing and deleting documents.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use selvedge_engine::{Delta, SiteId, seed_delta};
use selvedge_protocol::{DocumentId, Rights};
use selvedge_region::control::DocumentQuery;
use selvedge_region::{AuditEntry, BusMessage, DocumentInfo, DocumentKey, Error, NewDocument};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::access::{access_to, allowed, announce, may_create};
use super::author::Author;
use super::error::ApiError;
use super::text::{fold, version};
use crate::app::App;
use crate::auth::Caller;
use crate::clock::wall_ms;

/// Documents in one page of a list, at most.
const PAGE_MAX: usize = 1_000;
const PAGE: usize = 100;
/// Header that names who writes.
const AUTHOR_HEADER: &str = "selvedge-author";
const AUTHOR_BYTES_MAX: usize = 128;

/// Who writes: who the token says; in open mode who the request says.
pub(super) fn author_of(app: &App, caller: &Caller, headers: &HeaderMap) -> Result<String, ApiError> {
    if !app.auth.is_open() {
        return Ok(caller.identity.principal.clone());
    }
    let Some(name) = headers.get(AUTHOR_HEADER) else { return Ok("author:rest".to_owned()) };
    let name = name.to_str().ok().filter(|name| !name.is_empty() && name.len() <= AUTHOR_BYTES_MAX);
    let name = name
        .ok_or_else(|| ApiError::bad_request("bad_author", "Selvedge-Author is not 1 to 128 printable characters."))?;
    Ok(format!("author:{name}"))
}

/// The document a path names.
pub(super) fn document_id(tenant: &str, name: &str) -> Result<DocumentId, ApiError> {
    DocumentId::new(tenant, name).map_err(|error| ApiError::bad_request("bad_id", format!("{error}.")))
}

/// The document, if it is there.
pub(super) async fn existing(app: &App, document: &DocumentId) -> Result<DocumentInfo, ApiError> {
    let found = app.registry.ground().region.control.document(document).await?;
    let info = found.ok_or_else(ApiError::no_document)?;
    if info.deleted_ms.is_some() { Err(ApiError::deleted()) } else { Ok(info) }
}

/// The body, or why it did not come.
pub(super) fn body(body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large("The body is larger than --http-body-bytes-max allows."),
        _ => ApiError::bad_request("bad_body", "The body could not be read."),
    })
}

/// The body as JSON.
pub(super) fn json_body<T: DeserializeOwned>(received: Result<Bytes, BytesRejection>) -> Result<T, ApiError> {
    let bytes = body(received)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::bad_request("bad_json", format!("The body is not as expected: {error}.")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    id: Option<String>,
    text: Option<String>,
}

/// `POST /v1/docs {id?, text?}`: creates, with its text exactly once however often the request is repeated.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    received: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let Create { id, text } = json_body(received)?;
    let creator = author_of(&app, &caller, &headers)?;
    let id = id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let document = DocumentId::parse(&id, &caller.identity.tenant)
        .map_err(|error| ApiError::bad_request("bad_id", format!("{error}.")))?;
    may_create(&caller, &document)?;
    let text = text.unwrap_or_default();
    if text.len() as u64 > app.config.room.document_bytes_max {
        return Err(ApiError::too_large("The text is larger than --document-bytes-max allows."));
    }
    let new = NewDocument { document: document.clone(), creator: creator.clone(), now_ms: wall_ms() };
    let (info, status) = match app.registry.ground().region.control.create(new).await {
        Ok(info) => (info, StatusCode::CREATED),
        // Somebody repeats a request whose answer was lost: what is missing of it is done, and nothing twice.
        Err(Error::Exists { .. }) => (repeated(&app, &document, &creator, &text).await?, StatusCode::OK),
        Err(error) => return Err(error.into()),
    };
    if !text.is_empty() {
        let deltas = seed_delta(document.as_str(), info.generation, &text);
        let author = Author::join(&app, &document, &creator, Rights::Admin, true).await?;
        author.write(deltas).await?;
    }
    let created = status == StatusCode::CREATED;
    let answer = json!({ "id": document.as_str(), "generation": info.generation, "created": created });
    Ok((status, Json(answer)).into_response())
}

/// Whether a creation of what is there is the same creation again.
async fn repeated(app: &Arc<App>, document: &DocumentId, creator: &str, text: &str) -> Result<DocumentInfo, ApiError> {
    let info = existing(app, document).await?;
    let exists = || ApiError::new(StatusCode::CONFLICT, "doc_exists", "There is a document of this id already.");
    if info.creator != creator || text.is_empty() {
        return Err(exists());
    }
    let key = DocumentKey::new(document.clone(), info.generation);
    let has = fold(app, &key).await?.vector().clone();
    let site = SiteId::seed_of(document.as_str(), info.generation, text);
    let whole = seed_delta(document.as_str(), info.generation, text).last().map_or(0, Delta::last);
    let only_the_seed = has.iter().all(|(other, _)| other == site);
    if only_the_seed || has.get(site) == whole { Ok(info) } else { Err(exists()) }
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    tenant: Option<String>,
    prefix: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// `GET /v1/docs?prefix&cursor&limit`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ListQuery>,
) -> Result<Response, ApiError> {
    let tenant = query.tenant.unwrap_or_else(|| caller.identity.tenant.clone());
    let after = query.cursor.map(|cursor| DocumentId::parse(&cursor, &tenant)).transpose();
    let after = after.map_err(|error| ApiError::bad_request("bad_cursor", format!("{error}.")))?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let asked = DocumentQuery { tenant, prefix: query.prefix.unwrap_or_default(), after, limit };
    let page = app.registry.ground().region.control.list(&asked).await?;
    let mut documents = Vec::new();
    for info in &page.documents {
        if access_to(&app, &caller, &info.document).await? > Rights::None {
            documents.push(describe(info));
        }
    }
    let next = page.next.map(|next| next.to_string());
    Ok(Json(json!({ "documents": documents, "cursor": next })).into_response())
}

fn describe(info: &DocumentInfo) -> serde_json::Value {
    json!({
        "id": info.document.as_str(),
        "generation": info.generation,
        "creator": info.creator,
        "createdMs": info.created_ms,
    })
}

/// `GET /v1/docs/{tenant}/{name}`.
pub(super) async fn stats(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((tenant, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let document = document_id(&tenant, &name)?;
    allowed(&app, &caller, &document, Rights::Read).await?;
    let info = existing(&app, &document).await?;
    let fold = fold(&app, &DocumentKey::new(document, info.generation)).await?;
    let stats = fold.document().stats();
    let mut answer = describe(&info);
    let position = fold.position().map(|position| position.offset);
    let more = json!({
        "version": version(info.generation, fold.vector()),
        "vector": BASE64_URL_SAFE_NO_PAD.encode(fold.vector().encode()),
        "bytes": stats.bytes,
        "utf16": stats.utf16,
        "characters": stats.scalars,
        "runs": stats.runs,
        "depthMax": stats.depth_max,
        "sites": stats.sites,
        "pendingDeletes": stats.pending_ranges,
        "holes": fold.holes().len(),
        "position": position,
        "highest": "region",
        "region": app.config.region,
    });
    if let (Some(answer), serde_json::Value::Object(more)) = (answer.as_object_mut(), more) {
        answer.extend(more);
    }
    Ok(Json(answer).into_response())
}

/// `DELETE /v1/docs/{tenant}/{name}`: it is not there any more; what is kept of it goes by the cleanup.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path((tenant, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let principal = author_of(&app, &caller, &headers)?;
    let document = document_id(&tenant, &name)?;
    allowed(&app, &caller, &document, Rights::Admin).await?;
    let info = existing(&app, &document).await?;
    let region = &app.registry.ground().region;
    region.control.delete(&DocumentKey::new(document.clone(), info.generation), wall_ms()).await?;
    let entry = AuditEntry {
        at_ms: wall_ms(),
        principal,
        action: "document.delete".to_owned(),
        document: Some(document.clone()),
        detail: format!("generation {}", info.generation),
    };
    // Rooms that have it open, here and elsewhere, close it.
    announce(&app, &document, BusMessage::Deleted { generation: info.generation }).await;
    region.control.audit(entry).await?;
    Ok(StatusCode::NO_CONTENT)
}

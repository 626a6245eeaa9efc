//! A document's text: read, as it is or as it was, replaced by what differs, edited in place.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use selvedge_engine::{Document, VersionVector};
use selvedge_protocol::{DocumentId, Rights};
use selvedge_region::DocumentKey;
use selvedge_region::fold::{Fold, materialise};
use selvedge_region::history::document_at;
use serde::Deserialize;
use serde_json::json;

use super::access::allowed;
use super::author::Author;
use super::diff::{Replacement, diff};
use super::documents::{author_of, body, document_id, existing, json_body};
use super::error::ApiError;
use crate::app::App;
use crate::auth::Caller;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The state of a document as a word: equal words, equal text.
pub(super) fn version(generation: u64, vector: &VersionVector) -> String {
    format!("{generation}-{:016x}", vector.hash())
}

/// The document folded.
pub(super) async fn fold(app: &App, key: &DocumentKey) -> Result<Fold, ApiError> {
    let (region, key) = (app.registry.ground().region.clone(), key.clone());
    off_the_loop(async move { materialise(&region, &key).await }).await
}

/// Work on whole documents, where it holds nobody up.
async fn off_the_loop<T: Send + 'static>(
    work: impl Future<Output = selvedge_region::Result<T>> + Send + 'static,
) -> Result<T, ApiError> {
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work)).await;
    Ok(done.map_err(|_| ApiError::internal("The document could not be read."))??)
}

/// Which state of a document is asked for.
#[derive(Deserialize)]
pub(super) struct ReadQuery {
    /// A version vector in base64url: the text as it was.
    at: Option<String>,
}

/// `GET .../text?at`.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
    Path((tenant, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let document = document_id(&tenant, &name)?;
    // What was deleted is for those who could have deleted it.
    let rights = if query.at.is_some() { Rights::Write } else { Rights::Read };
    allowed(&app, &caller, &document, rights).await?;
    let info = existing(&app, &document).await?;
    if let Some(at) = query.at {
        return read_at(&app, DocumentKey::new(document, info.generation), &at).await;
    }
    let fold = fold(&app, &DocumentKey::new(document, info.generation)).await?;
    let tag = etag(&version(info.generation, fold.vector()));
    if headers.get(header::IF_NONE_MATCH) == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let cache = HeaderValue::from_static("no-cache");
    let fields = [(header::CONTENT_TYPE, PLAIN), (header::ETAG, tag), (header::CACHE_CONTROL, cache)];
    Ok((fields, fold.document().text()).into_response())
}

/// The text at a version, from the document's history.
async fn read_at(app: &App, key: DocumentKey, at: &str) -> Result<Response, ApiError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(at.trim_end_matches('=')).ok();
    let version = bytes.and_then(|bytes| VersionVector::decode(&bytes).ok());
    let version = version.ok_or_else(|| {
        ApiError::bad_request("bad_version", "`at` is not a version vector in base64url, as `vector` of a document is.")
    })?;
    let region = app.registry.ground().region.clone();
    let text = off_the_loop(async move {
        let document = document_at(&region, &key, &version).await?;
        Ok(document.map(|document| document.text()))
    });
    let unknown = || {
        let message =
            "The history of this document does not reach that version; one of the last seconds may come to it.";
        ApiError::new(StatusCode::NOT_FOUND, "version_not_found", message)
    };
    Ok(([(header::CONTENT_TYPE, PLAIN)], text.await?.ok_or_else(unknown)?).into_response())
}

/// `PUT .../text`: the body becomes the text, by the edits that lead there.
pub(super) async fn replace(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path((tenant, name)): Path<(String, String)>,
    received: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let document = document_id(&tenant, &name)?;
    let bytes = body(received)?;
    let new =
        String::from_utf8(bytes.into()).map_err(|_| ApiError::bad_request("bad_text", "The body is not UTF-8."))?;
    if new.len() as u64 > app.config.room.document_bytes_max {
        return Err(ApiError::too_large("The text is larger than --document-bytes-max allows."));
    }
    let work = move |document: &mut Document| {
        let edits = diff(&document.text(), &new);
        apply(document, &edits)?;
        Ok(edits.len())
    };
    write(&app, &caller, document, &headers, work).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    at: usize,
    #[serde(default)]
    delete: usize,
    #[serde(default)]
    insert: String,
}

/// `POST .../edits [{at, delete, insert}]`: UTF-16 positions, each counting the edits before it.
pub(super) async fn edit(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path((tenant, name)): Path<(String, String)>,
    received: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let document = document_id(&tenant, &name)?;
    let edits: Vec<Edit> = json_body(received)?;
    let edits: Vec<Replacement> =
        edits.into_iter().map(|Edit { at, delete, insert }| Replacement { at, delete, insert }).collect();
    let work = move |document: &mut Document| {
        apply(document, &edits)?;
        Ok(edits.len())
    };
    write(&app, &caller, document, &headers, work).await
}

async fn write(
    app: &Arc<App>,
    caller: &Caller,
    document: DocumentId,
    headers: &HeaderMap,
    work: impl FnOnce(&mut Document) -> Result<usize, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let principal = author_of(app, caller, headers)?;
    let rights = allowed(app, caller, &document, Rights::Write).await?;
    let expected = headers.get(header::IF_MATCH).cloned();
    existing(app, &document).await?;
    let author = Author::join(app, &document, &principal, rights, false).await?;
    let generation = author.generation();
    let checked = move |document: &mut Document| {
        let now = etag(&version(generation, document.vector()));
        if expected.is_some_and(|expected| expected != now && expected != "*") {
            let message = "The document has changed since the version named by If-Match.";
            return Err(ApiError::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", message));
        }
        work(document)
    };
    let edits = author.edit(checked).await?;
    Ok(Json(json!({ "ack": "region", "edits": edits, "generation": generation })).into_response())
}

fn apply(document: &mut Document, edits: &[Replacement]) -> Result<(), ApiError> {
    for edit in edits {
        let length = document.len_utf16();
        if edit.at > length || edit.delete > length - edit.at {
            let message =
                format!("The edit at {} deleting {} is outside of the text of {length}.", edit.at, edit.delete);
            return Err(ApiError::bad_request("out_of_range", message));
        }
        let edited = document.replace(edit.at, edit.delete, &edit.insert);
        edited.map_err(|error| ApiError::bad_request("bad_edit", error.to_string()))?;
    }
    Ok(())
}

fn etag(version: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("a version is digits, a dash and hexadecimal digits")
}

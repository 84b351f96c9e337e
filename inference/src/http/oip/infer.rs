//! Inference: tensors in, logits out.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::error::{OipError, OipErrorAnswer};
use super::metadata::expect;
use super::protocol::{InferenceRequest, InferenceResponse};
use super::response::{HEADER_LENGTH, Wanted, respond};
use super::windows::read;
use crate::http::app::App;
use crate::http::body::{expect_json, receive};
use crate::http::work::Work;

/// Run the network on tensors
///
/// Tensors behind the JSON (binary tensor data extension) are announced by `Inference-Header-Content-Length`.
#[utoipa::path(post, path = "/v2/models/{model}/infer", tag = "open inference protocol",
    params(("model" = String, Path, description = "its job's name")),
    request_body = InferenceRequest,
    responses(
        (status = 200, body = InferenceResponse),
        (status = 400, body = OipErrorAnswer, description = "not tensors that the model takes"),
        (status = 404, body = OipErrorAnswer, description = "another model is served"),
        (status = 429, body = OipErrorAnswer, description = "the queue is full"),
        (status = 503, body = OipErrorAnswer, description = "still loading, or shutting down"),
        (status = 504, body = OipErrorAnswer, description = "no answer within the time allowed"),
    ))]
pub(super) async fn infer(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OipError> {
    run(&app, &name, None, &headers, body).await
}

/// Run the network on tensors
///
/// Tensors behind the JSON (binary tensor data extension) are announced by `Inference-Header-Content-Length`.
#[utoipa::path(post, path = "/v2/models/{model}/versions/{version}/infer", tag = "open inference protocol",
    params(("model" = String, Path, description = "its job's name"),
        ("version" = String, Path, description = "first digits of its graph's SHA-256")),
    request_body = InferenceRequest,
    responses(
        (status = 200, body = InferenceResponse),
        (status = 400, body = OipErrorAnswer, description = "not tensors that the model takes"),
        (status = 404, body = OipErrorAnswer, description = "another model or version is served"),
        (status = 429, body = OipErrorAnswer, description = "the queue is full"),
        (status = 503, body = OipErrorAnswer, description = "still loading, or shutting down"),
        (status = 504, body = OipErrorAnswer, description = "no answer within the time allowed"),
    ))]
pub(super) async fn infer_version(
    State(app): State<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OipError> {
    run(&app, &name, Some(&version), &headers, body).await
}

async fn run(
    app: &Arc<App>,
    name: &str,
    version: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, OipError> {
    let work = Work::admit(app)?;
    expect(work.service(), name, version)?;
    let split = header_length(headers)?;
    if split.is_none() {
        expect_json(headers)?;
    }
    let body = receive(app, headers, body).await?;
    let (request, binary) = parse(&body, split)?;
    let wanted = Wanted::of(&request)?;
    let manifest = work.service().bundle().manifest();
    let rows = read(request.inputs, &binary, &manifest.model_config, work.limits().receipts)?;
    let lengths: Vec<usize> = rows.windows.iter().map(|window| window.len()).collect();
    let logits = work.logits(rows.windows).await?;
    respond(work.service(), request.id, wanted, &lengths, rows.sequence, &logits)
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, OipError> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let wrong = || OipError::invalid("Inference-Header-Content-Length is no number of bytes");
    length.map(Some).ok_or_else(wrong)
}

/// The request's JSON and the bytes behind it.
fn parse(body: &Bytes, split: Option<usize>) -> Result<(InferenceRequest, Bytes), OipError> {
    let at = split.unwrap_or(body.len());
    if at > body.len() {
        let text = format!("Inference-Header-Content-Length is {at}, but the body has {} bytes", body.len());
        return Err(OipError::invalid(text));
    }
    let mut json = body.clone();
    let binary = json.split_off(at);
    let mut reader = serde_json::Deserializer::from_slice(&json);
    let request = serde_path_to_error::deserialize(&mut reader)
        .map_err(|e| OipError::invalid(format!("the request is not understood: {e}")))?;
    reader.end().map_err(|e| OipError::invalid(format!("the request is not JSON: {e}")))?;
    Ok((request, binary))
}

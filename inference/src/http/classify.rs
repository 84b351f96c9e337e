//! `POST /v1/classify`: receipts in, labels out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use layoutlm_core::encoder::EncodedReceipt;
use layoutlm_core::predict::ReceiptPrediction;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::app::App;
use super::error::ApiError;
use super::options::Options;
use super::request::{Call, CallShape, parse};
use crate::pool::{Done, PoolError};
use crate::service::Service;

/// One receipt's answer.
#[derive(Debug, Serialize)]
struct Answer<'m> {
    #[serde(flatten)]
    prediction: ReceiptPrediction,
    model: &'m ModelName,
    timings: Timings,
}

/// Which model answered.
#[derive(Debug, Serialize)]
struct ModelName {
    job_name: Option<String>,
    variant: String,
    fingerprint: String,
}

/// Where the call's time went, milliseconds; the same for every receipt of a call.
#[derive(Debug, Clone, Copy, Serialize)]
struct Timings {
    encode_ms: f64,
    queue_ms: f64,
    compute_ms: f64,
    total_ms: f64,
}

/// What a call came to, for the access log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) receipts: usize,
    pub(super) words: usize,
    pub(super) windows: usize,
}

pub(super) async fn classify(
    State(app): State<Arc<App>>,
    query: Result<Query<Options>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let service = app.service()?;
    let _in_hand = app.admit()?;
    check_media_type(&headers)?;
    let Query(query) = query.map_err(|e| ApiError::invalid_query(e.body_text()))?;
    let body = receive(&app, &headers, body).await?;
    let arrived = Instant::now();
    let answer = answer(app.clone(), service, query, body, arrived);
    match tokio::time::timeout(app.timeout, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError::deadline_exceeded(app.timeout.as_secs_f64())),
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).to_ascii_lowercase());
    if let Some(coding) = text(header::CONTENT_ENCODING).filter(|c| c != "identity") {
        return Err(ApiError::unsupported_media_type(format!("content-encoding {coding} is not taken")));
    }
    let Some(kind) = text(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(ApiError::unsupported_media_type(format!("content-type is {essence:?}; send application/json")))
}

async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let limit = app.limits.body_bytes;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(ApiError::body_too_large(limit));
    }
    match tokio::time::timeout(app.body_timeout, to_bytes(body, limit)).await {
        Err(_) => Err(ApiError::body_timeout(app.body_timeout.as_secs_f64())),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(ApiError::body_too_large(limit)),
        Ok(Err(_)) => Err(ApiError::incomplete_body()),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}

async fn answer(
    app: Arc<App>,
    service: Arc<Service>,
    query: Options,
    body: Bytes,
    arrived: Instant,
) -> Result<Response, ApiError> {
    let limits = app.limits;
    let encoding = service.clone();
    let (call, encoded) = blocking(move || {
        let call = parse(&body, query, limits)?;
        drop(body);
        let encoded = encoding.encode(&call.receipts).map_err(|(index, error)| {
            tracing::error!(%error, receipt = index, "the tokenizer failed");
            ApiError::internal().at_receipt(index)
        })?;
        Ok((call, Arc::new(encoded)))
    })
    .await?;
    let encode_time = arrived.elapsed();
    let done = service.compute(encoded.clone()).await.map_err(|e| refused(&e))?;
    blocking(move || respond(&service, call, &encoded, &done, arrived, encode_time)).await
}

/// Runs what would hold up the network threads elsewhere; a panic there is an internal error.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request panicked");
        Err(ApiError::internal())
    })
}

fn refused(error: &PoolError) -> ApiError {
    match error {
        PoolError::Full { .. } => ApiError::overloaded(error.to_string()),
        PoolError::Closed => ApiError::draining(),
        PoolError::Engine(_) | PoolError::Panicked(_) => {
            tracing::error!(%error, "a window could not be computed");
            ApiError::internal()
        }
    }
}

fn respond(
    service: &Service,
    call: Call,
    encoded: &[EncodedReceipt],
    done: &Done,
    arrived: Instant,
    encode_time: Duration,
) -> Result<Response, ApiError> {
    let mut predictions = service.label(&call.receipts, encoded, &done.logits).map_err(|error| {
        tracing::error!(%error, "labelling failed");
        ApiError::internal()
    })?;
    predictions.iter_mut().for_each(|p| call.options.trim(p));
    let counts = Counts {
        receipts: predictions.len(),
        words: predictions.iter().map(|p| p.words.len()).sum(),
        windows: encoded.iter().map(|e| e.windows.len()).sum(),
    };
    let manifest = service.bundle().manifest();
    let model = ModelName {
        job_name: manifest.source.job_name.clone(),
        variant: service.variant().to_string(),
        fingerprint: manifest.fingerprint.clone(),
    };
    let timings = Timings {
        encode_ms: milliseconds(encode_time),
        queue_ms: milliseconds(done.queued),
        compute_ms: milliseconds(done.computed),
        total_ms: milliseconds(arrived.elapsed()),
    };
    let mut answers: Vec<Answer<'_>> =
        predictions.into_iter().map(|prediction| Answer { prediction, model: &model, timings }).collect();
    let json = match call.shape {
        CallShape::One => serde_json::to_vec(&answers.pop()),
        CallShape::List => serde_json::to_vec(&answers),
        CallShape::Wrapped => serde_json::to_vec(&Wrapped { receipts: answers }),
    };
    let json = json.map_err(|error| {
        tracing::error!(%error, "the answer could not be written");
        ApiError::internal()
    })?;
    let mut response = ([(header::CONTENT_TYPE, "application/json")], json).into_response();
    response.extensions_mut().insert(counts);
    Ok(response)
}

#[derive(Serialize)]
struct Wrapped<'m> {
    receipts: Vec<Answer<'m>>,
}

/// Milliseconds to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

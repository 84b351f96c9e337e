//! Amazon SageMaker hosting: what its endpoints and batch transform jobs ask of a container.
//!
//! `/invocations` takes the same receipts as `/v1/classify` as `application/json`, and one receipt per line as
//! `application/jsonlines`, answered by one line each. Options come in the body, or as a query string in
//! `X-Amzn-SageMaker-Custom-Attributes`, since an endpoint passes on no query string of its own.

mod lines;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::body::media_type;
use super::classify::{AnswerBody, call};
use super::error::{ApiError, ErrorAnswer};
use super::options::Options;
use super::request::CallBody;

const ATTRIBUTES: &str = "x-amzn-sagemaker-custom-attributes";

/// Largest payload of a transform job: some hundred receipts, so that its answer is there well within the deadline.
const PAYLOAD_MIB: u32 = 1;

/// Most payload in flight that SageMaker allows a job, MiB.
const MOST_IN_FLIGHT_MIB: usize = 100;

/// What a host asks of the container's health.
pub(super) fn open() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(ping))
}

pub(super) fn guarded() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(invocations)).routes(routes!(execution_parameters))
}

/// Whether the container takes requests
#[utoipa::path(get, path = "/ping", tag = "sagemaker", responses(
    (status = 200, description = "the model has proved itself"),
    (status = 503, body = ErrorAnswer, description = "still loading, or shutting down"),
))]
async fn ping(State(app): State<Arc<App>>) -> Result<StatusCode, ApiError> {
    app.service()?;
    Ok(StatusCode::OK)
}

/// How a transform job had best cut its input.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ExecutionParameters {
    /// Requests at a time: one per worker.
    max_concurrent_transforms: usize,
    /// Several lines per request.
    batch_strategy: &'static str,
    /// Largest request, MiB.
    #[serde(rename = "MaxPayloadInMB")]
    max_payload_in_mb: u32,
}

/// How a batch transform job had best cut its input
#[utoipa::path(get, path = "/execution-parameters", tag = "sagemaker", responses(
    (status = 200, body = ExecutionParameters),
    (status = 503, body = ErrorAnswer, description = "still loading, or shutting down"),
))]
async fn execution_parameters(State(app): State<Arc<App>>) -> Result<Json<ExecutionParameters>, ApiError> {
    let workers = app.service()?.workers();
    Ok(Json(ExecutionParameters {
        max_concurrent_transforms: workers.clamp(1, MOST_IN_FLIGHT_MIB / PAYLOAD_MIB as usize),
        batch_strategy: "MULTI_RECORD",
        max_payload_in_mb: PAYLOAD_MIB,
    }))
}

/// Label receipts for an endpoint or a batch transform job
///
/// `application/json` as `/v1/classify`; `application/jsonlines`: one receipt per line, answered by one line each, which
/// is an error object for a line that is no receipt.
#[utoipa::path(post, path = "/invocations", tag = "sagemaker",
    params(("X-Amzn-SageMaker-Custom-Attributes" = Option<String>, Header, description = "options as a query string")),
    request_body(content((CallBody = "application/json"), (String = "application/jsonlines"))),
    responses(
        (status = 200, body = AnswerBody),
        (status = 400, body = ErrorAnswer, description = "not JSON, or attributes that are not understood"),
        (status = 413, body = ErrorAnswer, description = "the body is too large"),
        (status = 415, body = ErrorAnswer, description = "neither JSON nor JSON lines"),
        (status = 422, body = ErrorAnswer, description = "JSON that is no receipt, or too much of it"),
        (status = 429, body = ErrorAnswer, description = "the queue is full"),
        (status = 503, body = ErrorAnswer, description = "still loading, or shutting down"),
        (status = 504, body = ErrorAnswer, description = "no answer within the time allowed"),
    ))]
async fn invocations(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let options = attributes(&headers)?;
    match media_type(&headers).as_deref() {
        Some(
            "application/jsonlines"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/x-ndjson",
        ) => lines::answer(&app, options, &headers, body).await,
        _ => call(&app, options, &headers, body).await,
    }
}

/// Options out of the custom attributes.
fn attributes(headers: &HeaderMap) -> Result<Options, ApiError> {
    let Some(value) = headers.get(ATTRIBUTES) else { return Ok(Options::default()) };
    let wrong = |reason: String| ApiError::invalid_query(format!("{ATTRIBUTES}: {reason}"));
    let text = value.to_str().map_err(|_| wrong("expected options as a query string".into()))?;
    let uri: Uri =
        format!("/?{text}").parse().map_err(|_| wrong("expected options as a query string".into()))?;
    Query::try_from_uri(&uri).map(|Query(options)| options).map_err(|e| wrong(e.body_text()))
}

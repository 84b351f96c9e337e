//! `POST /v1/classify`: receipts in, labels out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, answers};
use super::app::App;
use super::body::{expect_json, receive};
use super::error::{ApiError, ErrorAnswer};
use super::options::{Format, Options};
use super::request::{CallBody, CallShape, parse};
use super::textract::{AnalyzeExpense, analyze_expense};
use super::work::{Counts, Labelled, Work};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(classify))
}

/// Label a receipt, or a list of them
///
/// The answer has the shape of the call: an object for a receipt, a list for a list, `{"receipts": […]}` for a wrapper.
/// Options may stand in the query string or in the body's `options`; the body's win.
#[utoipa::path(
    post,
    path = "/v1/classify",
    tag = "labels",
    params(Options),
    request_body = CallBody,
    responses(
        (status = 200, body = AnswerBody),
        (status = 400, body = ErrorAnswer, description = "not JSON, a query that is not understood, a body that broke off"),
        (status = 401, body = ErrorAnswer, description = "an API key is needed"),
        (status = 408, body = ErrorAnswer, description = "the body did not arrive in time"),
        (status = 413, body = ErrorAnswer, description = "the body is too large"),
        (status = 415, body = ErrorAnswer, description = "not JSON by its media type, or compressed"),
        (status = 422, body = ErrorAnswer, description = "JSON that is no receipt, or too much of it"),
        (status = 429, body = ErrorAnswer, description = "the queue is full; Retry-After says when to come again"),
        (status = 500, body = ErrorAnswer, description = "a fault of the server"),
        (status = 503, body = ErrorAnswer, description = "still loading, or shutting down"),
        (status = 504, body = ErrorAnswer, description = "no answer within the time allowed"),
    )
)]
async fn classify(
    State(app): State<Arc<App>>,
    query: Result<Query<Options>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|e| ApiError::invalid_query(e.body_text()))?;
    call(&app, query, &headers, body).await
}

/// Answers a call in JSON; `query` are options from outside the body.
pub(super) async fn call(
    app: &Arc<App>,
    query: Options,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let work = Work::admit(app)?;
    expect_json(headers)?;
    let body = receive(app, headers, body).await?;
    let read = move |body: &[u8], limits| {
        let call = parse(body, query, limits)?;
        Ok((call.receipts, (call.shape, call.options)))
    };
    work.answer(body, read, |labelled, (shape, options)| respond(labelled, shape, &options)).await
}

/// Answers in the shape of the call.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Answers)]
pub(super) enum AnswerBody {
    /// To one receipt.
    One(Option<Box<Answer>>),
    /// To a list.
    List(Vec<Answer>),
    /// To a wrapper.
    Wrapped {
        /// In the order of the call.
        receipts: Vec<Answer>,
    },
    /// To any of them, with `format` `textract`.
    Textract(AnalyzeExpense),
}

fn respond(labelled: Labelled, shape: CallShape, options: &Options) -> Result<Response, ApiError> {
    let counts = labelled.counts();
    if options.format == Some(Format::Textract) {
        let least = options.min_confidence.unwrap_or(0.0);
        let pairs = labelled.receipts.iter().zip(&labelled.predictions);
        return written(&AnswerBody::Textract(analyze_expense(pairs, least)), counts);
    }
    let mut answers = answers(labelled, |_| *options);
    let body = match shape {
        CallShape::One => AnswerBody::One(answers.pop().map(Box::new)),
        CallShape::List => AnswerBody::List(answers),
        CallShape::Wrapped => AnswerBody::Wrapped { receipts: answers },
    };
    written(&body, counts)
}

fn written(body: &AnswerBody, counts: Counts) -> Result<Response, ApiError> {
    let json = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "the answer could not be written");
        ApiError::internal()
    })?;
    let mut response = ([(header::CONTENT_TYPE, "application/json")], json).into_response();
    response.extensions_mut().insert(counts);
    Ok(response)
}

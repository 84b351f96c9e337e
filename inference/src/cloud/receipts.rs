//! `GET /v1/receipts/{image_id}/{receipt_id}`: a receipt of the table with the labels that the model gives it, and those
//! that people gave it.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use layoutlm_aws::dynamo::{ReceiptKey, Table};
use layoutlm_aws::load::ReceiptDetails;
use layoutlm_core::receipt::Receipt;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::{ApiError, App, ErrorAnswer, ErrorCode, Options, Work, answers};

/// The route over a table.
pub(super) fn routes(table: Table) -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(receipt)).layer(axum::Extension(Arc::new(table)))
}

/// Label a receipt of the table
///
/// The answer is that of `POST /v1/classify` for one receipt; besides, a word that people have labelled carries `gold`,
/// the last of its VALID labels by name, and the receipt its `merchant`, where the table knows it.
#[utoipa::path(
    get,
    path = "/v1/receipts/{image_id}/{receipt_id}",
    tag = "labels",
    params(
        ("image_id" = String, Path, description = "image that the receipt is on"),
        ("receipt_id" = u32, Path, description = "its number on the image"),
        Options,
    ),
    responses(
        (status = 200, body = Object),
        (status = 400, body = ErrorAnswer, description = "a path or query that is not understood"),
        (status = 401, body = ErrorAnswer, description = "an API key is needed"),
        (status = 404, body = ErrorAnswer, description = "the table has no such receipt"),
        (status = 422, body = ErrorAnswer, description = "the table's receipt can't be labelled"),
        (status = 429, body = ErrorAnswer, description = "the queue is full; Retry-After says when to come again"),
        (status = 500, body = ErrorAnswer, description = "a fault of the server"),
        (status = 502, body = ErrorAnswer, description = "the table can't be read; the log says why"),
        (status = 503, body = ErrorAnswer, description = "still loading, or shutting down"),
        (status = 504, body = ErrorAnswer, description = "no answer within the time allowed"),
    )
)]
async fn receipt(
    State(app): State<Arc<App>>,
    axum::Extension(table): axum::Extension<Arc<Table>>,
    path: Result<Path<(String, u32)>, PathRejection>,
    query: Result<Query<Options>, QueryRejection>,
) -> Result<Response, ApiError> {
    let work = Work::admit(&app)?;
    let Path((image_id, receipt_id)) = path.map_err(|e| ApiError::invalid_query(e.body_text()))?;
    let Query(options) = query.map_err(|e| ApiError::invalid_query(e.body_text()))?;
    let key = ReceiptKey { image_id, receipt_id };
    let receipt = fetch(&app, &table, &key).await?;
    if receipt.words.len() > work.limits().words {
        return Err(ApiError::too_many_words(receipt.words.len(), work.limits().words));
    }
    receipt.check().map_err(|e| ApiError::invalid_receipt(format!("{key} of the table: {e}")))?;
    let gold: Vec<Option<String>> = receipt.words.iter().map(|w| w.label.clone()).collect();
    let merchant = receipt.merchant.clone();
    let labelled = work.classify(vec![receipt]).await?;
    let counts = labelled.counts();
    let answer = answers(labelled, |_| options).pop().and_then(|answer| serde_json::to_value(answer).ok());
    let mut answer = answer.ok_or_else(ApiError::internal)?;
    add_gold(&mut answer, gold, merchant);
    let mut response = ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response();
    response.extensions_mut().insert(counts);
    Ok(response)
}

async fn fetch(app: &App, table: &Table, key: &ReceiptKey) -> Result<Receipt, ApiError> {
    let late = |_| ApiError::deadline_exceeded(app.timeout.as_secs_f64());
    let read = tokio::time::timeout(app.timeout, ReceiptDetails::read(table, key)).await.map_err(late)?;
    let details = read.map_err(|error| {
        tracing::error!(%error, "a receipt can't be read");
        ApiError::new(ErrorCode::TableUnavailable, "the table of receipts can't be read now")
    })?;
    let missing = || ApiError::new(ErrorCode::NotFound, format!("the table has no receipt {key}"));
    let details = details.ok_or_else(missing)?;
    for error in &details.malformed {
        tracing::warn!(%error, "left out");
    }
    Ok(details.receipt())
}

/// Adds what people said, word by word: predictions keep the order of the receipt's words.
fn add_gold(answer: &mut Value, gold: Vec<Option<String>>, merchant: Option<String>) {
    let words = answer.get_mut("words").and_then(Value::as_array_mut);
    for (word, gold) in words.into_iter().flatten().zip(gold) {
        if let (Some(word), Some(gold)) = (word.as_object_mut(), gold) {
            word.insert("gold".into(), json!(gold));
        }
    }
    if let (Some(answer), Some(merchant)) = (answer.as_object_mut(), merchant) {
        answer.insert("merchant".into(), json!(merchant));
    }
}

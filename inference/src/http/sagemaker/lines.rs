//! JSON lines: each line a receipt, answered by a line at the same place.
//!
//! A transform job joins answers to inputs by place and fails as a whole when one request does, so a line that is no
//! receipt is answered by its error and the others are labelled. Lines go through the queue some at a time, so that a
//! large payload neither fills it nor is refused for its size.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use layoutlm_core::receipt::Receipt;

use crate::http::answer::answers;
use crate::http::app::App;
use crate::http::body::receive;
use crate::http::error::ApiError;
use crate::http::error_code::ErrorCode;
use crate::http::options::{Format, Options};
use crate::http::request::{CallShape, RequestLimits, parse};
use crate::http::work::{Labelled, Work};

/// Lines labelled together.
const TOGETHER: usize = 16;

/// How long to wait for room in the queue before asking again.
const PAUSE: Duration = Duration::from_millis(20);

/// Labels a body of JSON lines.
///
/// # Errors
/// As `/v1/classify`, for the request as a whole; lines have their own errors in the answer.
pub(super) async fn answer(
    app: &Arc<App>,
    options: Options,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let work = Work::admit(app)?;
    options.check()?;
    let body = receive(app, headers, body).await?;
    let mut out = Vec::new();
    for together in split(&body).chunks(TOGETHER) {
        let read: Vec<_> = together.iter().map(|line| read_line(line, options, work.limits())).collect();
        label(app, &work, read, &mut out).await?;
    }
    Ok(([(header::CONTENT_TYPE, "application/jsonlines")], out).into_response())
}

fn split(body: &Bytes) -> Vec<Bytes> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.map(|line| body.slice_ref(line)).collect()
}

fn read_line(line: &[u8], options: Options, limits: RequestLimits) -> Result<(Receipt, Options), ApiError> {
    let call = parse(line, options, limits)?;
    if call.options.format == Some(Format::Textract) {
        return Err(ApiError::invalid_options("format textract is not for JSON lines").at_field("format"));
    }
    match (call.shape, call.receipts.into_iter().next()) {
        (CallShape::One, Some(receipt)) => Ok((receipt, call.options)),
        _ => Err(ApiError::invalid_receipt("expected one receipt per line")),
    }
}

/// Labels some lines and appends one line each.
async fn label(
    app: &Arc<App>,
    work: &Work,
    lines: Vec<Result<(Receipt, Options), ApiError>>,
    out: &mut Vec<u8>,
) -> Result<(), ApiError> {
    let good = lines.iter().filter_map(|line| line.as_ref().ok());
    let (receipts, options): (Vec<Receipt>, Vec<Options>) = good.cloned().unzip();
    let labelled = classify(app, work, receipts).await?;
    let mut answers = answers(labelled, |index| options.get(index).copied().unwrap_or_default()).into_iter();
    for line in lines {
        let written = match line {
            Ok(_) => serde_json::to_writer(&mut *out, &answers.next()),
            Err(error) => serde_json::to_writer(&mut *out, &error.answer()),
        };
        written.map_err(|error| {
            tracing::error!(%error, "the answer could not be written");
            ApiError::internal()
        })?;
        out.push(b'\n');
    }
    Ok(())
}

/// Labels receipts, waiting for room in the queue for as long as a request may take.
async fn classify(app: &Arc<App>, work: &Work, receipts: Vec<Receipt>) -> Result<Labelled, ApiError> {
    let begun = Instant::now();
    loop {
        match work.classify(receipts.clone()).await {
            Err(error) if error.code() == ErrorCode::Overloaded.as_str() && begun.elapsed() < app.timeout => {
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

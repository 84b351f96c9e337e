//! What surrounds every request: its trace, its line in the log, its count in the metrics, its security headers.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::app::App;
use super::error_code::ErrorCode;
use super::work::Counts;
use crate::otlp::Span;
use crate::trace::{TRACEPARENT, TraceContext};

/// Runs a request and tells of it.
pub(super) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let (began, begun) = (SystemTime::now(), Instant::now());
    let context = TraceContext::of(request.headers().get(TRACEPARENT).and_then(|v| v.to_str().ok()));
    let method = request.method().to_string();
    let path = request.uri().path().to_string();
    let route =
        request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_string();
    request.extensions_mut().insert(context);
    let mut response = next.run(request).await;
    let took = begun.elapsed();
    let status = response.status().as_u16();
    let code = response.extensions().get::<ErrorCode>().map(|c| c.as_str());
    let counts = response.extensions().get::<Counts>().copied();
    app.metrics.request(&route, status, code, took);
    log(&method, &path, status, code, took, &context, counts);
    if let Some(exporter) = app.exporter.as_ref().filter(|_| context.sampled) {
        let numbers = counts.map(numbers).unwrap_or_default();
        exporter.export(Span { context, method, route, status, began, took, numbers });
    }
    secure(response.headers_mut(), &context);
    response
}

fn log(
    method: &str,
    path: &str,
    status: u16,
    code: Option<&str>,
    took: Duration,
    context: &TraceContext,
    counts: Option<Counts>,
) {
    let ms = milliseconds(took);
    let trace_id = format!("{:032x}", context.trace_id);
    let span_id = format!("{:016x}", context.span_id);
    if status == 200 && (path.starts_with("/health/") || path == "/metrics") {
        tracing::debug!(method, path, status, ms, trace_id, span_id, "request");
    } else if let Some(counts) = counts {
        let Counts { receipts, words, windows, .. } = counts;
        let (queue_ms, compute_ms) = (milliseconds(counts.queued), milliseconds(counts.computed));
        tracing::info!(
            method, path, status, ms, trace_id, span_id, receipts, words, windows, queue_ms, compute_ms,
            "request"
        );
    } else {
        tracing::info!(method, path, status, ms, trace_id, span_id, code, "request");
    }
}

fn numbers(counts: Counts) -> Vec<(&'static str, f64)> {
    vec![
        ("receipts", counts.receipts as f64),
        ("words", counts.words as f64),
        ("windows", counts.windows as f64),
        ("encode_ms", milliseconds(counts.encode)),
        ("queue_ms", milliseconds(counts.queued)),
        ("compute_ms", milliseconds(counts.computed)),
    ]
}

/// Answers are not to be guessed at, kept or framed; a page may say more of itself.
fn secure(headers: &mut HeaderMap, context: &TraceContext) {
    let mut unless_said = |name: header::HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    unless_said(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    unless_said(header::CACHE_CONTROL, "no-store");
    unless_said(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    if let Ok(value) = HeaderValue::from_str(&context.to_string()) {
        headers.insert(TRACEPARENT, value);
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

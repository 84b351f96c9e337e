//! Sends spans to an OpenTelemetry collector: OTLP over HTTP as JSON, from a thread of its own.
//!
//! A request never waits for the collector: spans that do not fit the channel are dropped, a collector that does not
//! answer costs the spans of that batch. Source: OpenTelemetry protocol 1.x, "OTLP/HTTP", JSON mapping.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::trace::TraceContext;

/// Spans that may wait to be sent.
const WAITING: usize = 4096;
/// Most spans of one message.
const BATCH: usize = 512;
const EVERY: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);

/// One request, over.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) context: TraceContext,
    pub(crate) method: String,
    pub(crate) route: String,
    pub(crate) status: u16,
    pub(crate) began: SystemTime,
    pub(crate) took: Duration,
    /// Further numbers: receipts, words, milliseconds of each part.
    pub(crate) numbers: Vec<(&'static str, f64)>,
}

/// The way to a collector; sends what is left when dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    spans: Option<SyncSender<Span>>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// `endpoint` is the collector's base URL.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(endpoint: &str) -> std::io::Result<Self> {
        let (spans, taken) = sync_channel(WAITING);
        let url = format!("{endpoint}/v1/traces");
        let thread = std::thread::Builder::new().name("otlp".into()).spawn(move || send_all(&taken, &url))?;
        Ok(Self { spans: Some(spans), thread: Some(thread) })
    }

    pub(crate) fn export(&self, span: Span) {
        if let Some(spans) = &self.spans {
            // A full channel means a collector that does not keep up; the request is not to suffer for it.
            let _ = spans.try_send(span);
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.spans = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn send_all(spans: &Receiver<Span>, url: &str) {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
    let mut reachable = true;
    while let Ok(first) = spans.recv() {
        let until = Instant::now() + EVERY;
        let mut batch = vec![first];
        let mut open = true;
        while open && batch.len() < BATCH {
            match spans.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(span) => batch.push(span),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
        }
        let sent = agent.post(url).send_json(message(&batch));
        match &sent {
            Ok(_) if !reachable => tracing::info!(url, "the collector takes spans again"),
            Err(error) if reachable => tracing::warn!(url, %error, "the collector does not take spans"),
            _ => {}
        }
        reachable = sent.is_ok();
    }
}

fn message(spans: &[Span]) -> Value {
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", "layoutlm-server"), text("service.version", env!("CARGO_PKG_VERSION"))]},
        "scopeSpans": [{"scope": {"name": "layoutlm"}, "spans": spans}],
    }]})
}

fn span(span: &Span) -> Value {
    const SERVER: u8 = 2;
    const ERROR: u8 = 2;
    let nanoseconds =
        |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    let mut attributes = vec![
        text("http.request.method", &span.method),
        text("http.route", &span.route),
        json!({"key": "http.response.status_code", "value": {"intValue": span.status.to_string()}}),
    ];
    let number = |(key, value): &(&str, f64)| json!({"key": format!("layoutlm.{key}"), "value": {"doubleValue": value}});
    attributes.extend(span.numbers.iter().map(number));
    let mut written = json!({
        "traceId": format!("{:032x}", span.context.trace_id),
        "spanId": format!("{:016x}", span.context.span_id),
        "name": format!("{} {}", span.method, span.route),
        "kind": SERVER,
        "startTimeUnixNano": nanoseconds(span.began),
        "endTimeUnixNano": nanoseconds(span.began + span.took),
        "attributes": attributes,
        "status": if span.status >= 500 { json!({"code": ERROR}) } else { json!({}) },
    });
    if let (Some(parent), Some(object)) = (span.context.parent_id, written.as_object_mut()) {
        object.insert("parentSpanId".into(), format!("{parent:016x}").into());
    }
    written
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

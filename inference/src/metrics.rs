//! What an operator sees at `/metrics`: counts, times and shares, never the text of a receipt.
//!
//! Names are part of the interface; `docs/serving.md` lists them. Shares (padding, low confidence, unknown tokens) are
//! two counters each, so that they can be taken over any stretch of time.

use std::time::Duration;

use layoutlm_core::encoder::EncodedReceipt;
use layoutlm_core::predict::ReceiptPrediction;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lane {
    lane: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    label: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    job_name: String,
    variant: String,
    fingerprint: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// 1 ms to 65 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

/// 16 to 16,384 tokens.
fn token_counts() -> Histogram {
    Histogram::new(exponential_buckets(16.0, 2.0, 11))
}

/// All series of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    low_confidence_below: f32,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histograms<Route>,
    requests_in_hand: Gauge,
    panics: Counter,
    ready: Gauge,
    model: Family<ModelLabels, Gauge>,
    reloads: Family<Outcome, Counter>,
    queue_windows: Gauge,
    queue_seconds: Histogram,
    abandoned_windows: Counter,
    batch_tokens: Histogram,
    tokens: Family<Kind, Counter>,
    inference_seconds: Histograms<Lane>,
    words: Counter,
    labels: Family<Label, Counter>,
    low_confidence_words: Counter,
    encoded_tokens: Counter,
    unknown_tokens: Counter,
    arithmetic_checks: Family<Outcome, Counter>,
    memory: Gauge,
}

impl Metrics {
    /// Words whose confidence is below `low_confidence_below` count as low.
    pub fn new(low_confidence_below: f32) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            low_confidence_below,
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            requests_in_hand: Gauge::default(),
            panics: Counter::default(),
            ready: Gauge::default(),
            model: Family::default(),
            reloads: Family::default(),
            queue_windows: Gauge::default(),
            queue_seconds: seconds(),
            abandoned_windows: Counter::default(),
            batch_tokens: token_counts(),
            tokens: Family::default(),
            inference_seconds: Family::new_with_constructor(seconds),
            words: Counter::default(),
            labels: Family::default(),
            low_confidence_words: Counter::default(),
            encoded_tokens: Counter::default(),
            unknown_tokens: Counter::default(),
            arithmetic_checks: Family::default(),
            memory: Gauge::default(),
        };
        metrics.register_server();
        metrics.register_scheduler();
        metrics.register_content();
        metrics
    }

    fn register_server(&mut self) {
        self.registry.register_with_unit(
            "process_resident_memory",
            "Resident memory",
            Unit::Bytes,
            self.memory.clone(),
        );
        let ours = self.registry.sub_registry_with_prefix("layoutlm");
        ours.register("requests", "Answered requests by route, status and error code", self.requests.clone());
        ours.register_with_unit(
            "request",
            "Time from a request's headers to its answer",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        ours.register(
            "requests_in_hand",
            "Requests let in and not yet answered",
            self.requests_in_hand.clone(),
        );
        ours.register("panics", "Requests and windows that panicked", self.panics.clone());
        ours.register("ready", "1 while requests are taken", self.ready.clone());
        ours.register("model_info", "The model in service (1) and those before it (0)", self.model.clone());
        ours.register("reloads", "Bundles that were to take over, by outcome", self.reloads.clone());
    }

    fn register_scheduler(&mut self) {
        let ours = self.registry.sub_registry_with_prefix("layoutlm");
        ours.register("queue_windows", "Windows waiting for a worker", self.queue_windows.clone());
        ours.register_with_unit(
            "queue",
            "Time a window waited for a worker",
            Unit::Seconds,
            self.queue_seconds.clone(),
        );
        ours.register(
            "abandoned_windows",
            "Windows never computed because their caller had left",
            self.abandoned_windows.clone(),
        );
        ours.register("batch_tokens", "Tokens of one run, padding counted", self.batch_tokens.clone());
        ours.register("tokens", "Tokens computed, by kind (text or padding)", self.tokens.clone());
        ours.register_with_unit(
            "inference",
            "Time of one run, by lane (one thread or all)",
            Unit::Seconds,
            self.inference_seconds.clone(),
        );
    }

    fn register_content(&mut self) {
        let ours = self.registry.sub_registry_with_prefix("layoutlm");
        ours.register("words", "Words labelled", self.words.clone());
        ours.register("labels", "Words by entity type", self.labels.clone());
        ours.register(
            "low_confidence_words",
            "Words whose confidence is below --low-confidence",
            self.low_confidence_words.clone(),
        );
        ours.register("encoded_tokens", "Tokens of words", self.encoded_tokens.clone());
        ours.register(
            "unknown_tokens",
            "Tokens of words that the vocabulary does not have",
            self.unknown_tokens.clone(),
        );
        ours.register(
            "arithmetic_checks",
            "Receipts whose amounts were added up, by outcome",
            self.arithmetic_checks.clone(),
        );
    }

    /// A request was answered; `code` is that of an error.
    pub fn request(&self, route: &str, status: u16, code: Option<&str>, took: Duration) {
        let labels = RequestLabels {
            route: route.to_string(),
            status: status.to_string(),
            code: code.unwrap_or_default().to_string(),
        };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.get_or_create(&Route { route: route.to_string() }).observe(took.as_secs_f64());
    }

    /// Requests in hand now.
    pub fn in_hand(&self, requests: usize) {
        self.requests_in_hand.set(requests as i64);
    }

    /// A request or window panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Whether requests are taken.
    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// A model came into service.
    pub fn serving(&self, job_name: &str, variant: &str, fingerprint: &str) {
        self.model.clear();
        let labels = ModelLabels {
            job_name: job_name.to_string(),
            variant: variant.to_string(),
            fingerprint: fingerprint.to_string(),
        };
        self.model.get_or_create(&labels).set(1);
    }

    /// A bundle was to take over: `taken`, `refused` or `unchanged`.
    pub fn reloaded(&self, outcome: &str) {
        self.reloads.get_or_create(&Outcome { outcome: outcome.to_string() }).inc();
    }

    /// Windows that wait now.
    pub fn waiting(&self, windows: usize) {
        self.queue_windows.set(windows as i64);
    }

    /// A window was started after some time in the queue.
    pub fn started(&self, queued: Duration) {
        self.queue_seconds.observe(queued.as_secs_f64());
    }

    /// A window's caller had left before it was started.
    pub fn abandoned(&self, windows: usize) {
        self.abandoned_windows.inc_by(windows as u64);
    }

    /// A run ended: its lane, the tokens of its windows, padding, and its time.
    pub fn ran(&self, lane: &'static str, text: usize, padding: usize, took: Duration) {
        self.batch_tokens.observe((text + padding) as f64);
        self.tokens.get_or_create(&Kind { kind: "text" }).inc_by(text as u64);
        self.tokens.get_or_create(&Kind { kind: "padding" }).inc_by(padding as u64);
        self.inference_seconds.get_or_create(&Lane { lane }).observe(took.as_secs_f64());
    }

    /// Receipts were labelled; `unknown` is the tokenizer's id for what it does not know.
    pub fn labelled(
        &self,
        predictions: &[ReceiptPrediction],
        encoded: &[EncodedReceipt],
        unknown: Option<u32>,
    ) {
        let mut by_label = std::collections::BTreeMap::<&str, u64>::new();
        let (mut words, mut low) = (0, 0);
        for word in predictions.iter().flat_map(|p| &p.words) {
            words += 1;
            low += u64::from(word.confidence < self.low_confidence_below);
            *by_label.entry(word.entity.as_deref().unwrap_or("O")).or_default() += 1;
        }
        self.words.inc_by(words);
        self.low_confidence_words.inc_by(low);
        for (label, count) in by_label {
            self.labels.get_or_create(&Label { label: label.to_string() }).inc_by(count);
        }
        let windows = encoded.iter().flat_map(|e| &e.windows);
        let ids = windows.flat_map(|w| w.input_ids.iter().zip(&w.word_ids));
        let (mut tokens, mut strange) = (0, 0);
        for (id, _) in ids.filter(|(_, word)| word.is_some()) {
            tokens += 1;
            strange += u64::from(Some(*id) == unknown);
        }
        self.encoded_tokens.inc_by(tokens);
        self.unknown_tokens.inc_by(strange);
    }

    /// A receipt's amounts were added up.
    pub fn arithmetic_check(&self, outcome: &str) {
        self.arithmetic_checks.get_or_create(&Outcome { outcome: outcome.to_string() }).inc();
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.memory.set(bytes);
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Resident memory of this process, from the system.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_counted() {
        let metrics = Metrics::new(0.5);
        metrics.request("/v1/classify", 429, Some("overloaded"), Duration::from_millis(3));
        metrics.ran("single", 100, 28, Duration::from_millis(20));
        metrics.arithmetic_check("holds");
        let text = metrics.encode();
        for line in [
            r#"layoutlm_requests_total{route="/v1/classify",status="429",code="overloaded"} 1"#,
            r#"layoutlm_tokens_total{kind="padding"} 28"#,
            r#"layoutlm_inference_seconds_count{lane="single"} 1"#,
            r#"layoutlm_arithmetic_checks_total{outcome="holds"} 1"#,
            "layoutlm_batch_tokens_sum 128.0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        let memory = text.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
        assert!(memory.unwrap().parse::<u64>().unwrap() > 1 << 20);
    }
}

//! `GET /v1/model`: what is being served, where it came from and what was proved of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use layoutlm_core::bundle::{Certificate, Source};
use layoutlm_core::encoding::Encoding;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::error::{ApiError, ErrorAnswer};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(model))
}

/// The answer of `GET /v1/model`.
#[derive(Debug, Serialize, ToSchema)]
struct ModelAnswer {
    variant: String,
    fingerprint: String,
    /// Tags in class-id order: the order of `probabilities`.
    labels: Vec<String>,
    /// Everything between a receipt and the network's numbers.
    #[schema(value_type = Object)]
    encoding: Encoding,
    /// Where the weights came from.
    #[schema(value_type = Object)]
    source: Source,
    /// What was proved of the variant when it was exported.
    #[schema(value_type = Option<Object>)]
    certificate: Option<Certificate>,
    probe: Probe,
    runtime: RuntimeAnswer,
    limits: Limits,
}

/// How the probe went on this machine.
#[derive(Debug, Serialize, ToSchema)]
struct Probe {
    windows: usize,
    max_abs_logit_diff: f64,
    label_flips: usize,
}

#[derive(Debug, Serialize, ToSchema)]
struct RuntimeAnswer {
    server_version: &'static str,
    onnxruntime_version: String,
    /// Windows computed side by side under load.
    workers: usize,
    /// Threads for a window that has no company.
    threads: usize,
    loaded_in_ms: f64,
}

/// What a call may hold.
#[derive(Debug, Serialize, ToSchema)]
struct Limits {
    max_body_bytes: usize,
    max_words: usize,
    max_receipts: usize,
}

/// What is served: labels, encoding, where it came from and what was proved of it
#[utoipa::path(get, path = "/v1/model", tag = "labels", responses(
    (status = 200, body = ModelAnswer),
    (status = 503, body = ErrorAnswer, description = "still loading, or shutting down"),
))]
async fn model(State(app): State<Arc<App>>) -> Result<Json<ModelAnswer>, ApiError> {
    let service = app.service()?;
    let (manifest, replayed) = (service.bundle().manifest(), service.replayed());
    Ok(Json(ModelAnswer {
        variant: service.variant().to_string(),
        fingerprint: manifest.fingerprint.clone(),
        labels: manifest.labels.clone(),
        encoding: manifest.encoding.clone(),
        source: manifest.source.clone(),
        certificate: manifest.variants.get(service.variant()).map(|v| v.certificate.clone()),
        probe: Probe {
            windows: replayed.windows,
            max_abs_logit_diff: replayed.max_abs_logit_diff,
            label_flips: replayed.label_flips,
        },
        runtime: RuntimeAnswer {
            server_version: env!("CARGO_PKG_VERSION"),
            onnxruntime_version: service.runtime_version().to_string(),
            workers: service.workers(),
            threads: service.threads(),
            loaded_in_ms: service.loaded_in().as_secs_f64() * 1e3,
        },
        limits: Limits {
            max_body_bytes: app.limits.body_bytes,
            max_words: app.limits.words,
            max_receipts: app.limits.receipts,
        },
    }))
}

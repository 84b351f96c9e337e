//! What server and model are, and whether they are ready.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::error::{OipError, OipErrorAnswer};
use super::protocol::{ModelMetadata, ModelReady, ServerLive, ServerMetadata, ServerReady, TensorMetadata};
use crate::http::app::App;
use crate::service::Service;

/// Name of a model whose job has none.
const UNNAMED: &str = "layoutlm";

/// Name of the model in service: its job's, with what a path segment can't hold made `-`.
pub(super) fn model_name(service: &Service) -> String {
    let job = service.bundle().manifest().source.job_name.as_deref().unwrap_or(UNNAMED);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    job.chars().map(|c| if plain(c) { c } else { '-' }).collect()
}

/// Version of the model in service: the first twelve digits of its graph's SHA-256.
pub(super) fn version(service: &Service) -> String {
    let manifest = service.bundle().manifest();
    let file = manifest.variants.get(service.variant()).map(|variant| &variant.file);
    let hash = file.and_then(|file| manifest.files.get(file)).unwrap_or(&manifest.fingerprint);
    hash.chars().take(12).collect()
}

/// Checks that the model in service is the one asked for.
///
/// # Errors
/// 404 naming what is served.
pub(super) fn expect(service: &Service, name: &str, wanted: Option<&str>) -> Result<(), OipError> {
    let (served, current) = (model_name(service), version(service));
    if name != served {
        return Err(OipError::unknown(format!("there is no model {name:?}; {served:?} is served")));
    }
    match wanted {
        Some(wanted) if wanted != current => {
            let text = format!("model {name:?} has no version {wanted:?}; {current:?} is served");
            Err(OipError::unknown(text))
        }
        _ => Ok(()),
    }
}

/// What the server is and which extensions it understands
#[utoipa::path(get, path = "/v2", tag = "open inference protocol", responses((status = 200, body = ServerMetadata)))]
pub(super) async fn server() -> Json<ServerMetadata> {
    Json(ServerMetadata {
        name: "layoutlm-server",
        version: env!("CARGO_PKG_VERSION"),
        extensions: ["binary_tensor_data"],
    })
}

/// What the server is and which extensions it understands
#[utoipa::path(get, path = "/v2/", tag = "open inference protocol", responses((status = 200, body = ServerMetadata)))]
pub(super) async fn server_with_slash() -> Json<ServerMetadata> {
    server().await
}

/// Whether the server lives
#[utoipa::path(get, path = "/v2/health/live", tag = "open inference protocol",
    responses((status = 200, body = ServerLive)))]
pub(super) async fn live() -> Json<ServerLive> {
    Json(ServerLive { live: true })
}

/// Whether the model has proved itself
#[utoipa::path(get, path = "/v2/health/ready", tag = "open inference protocol", responses(
    (status = 200, body = ServerReady),
    (status = 503, body = OipErrorAnswer, description = "still loading, or shutting down"),
))]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<ServerReady>, OipError> {
    app.service()?;
    Ok(Json(ServerReady { ready: true }))
}

/// The model's tensors
#[utoipa::path(get, path = "/v2/models/{model}", tag = "open inference protocol",
    params(("model" = String, Path, description = "its job's name")),
    responses(
        (status = 200, body = ModelMetadata),
        (status = 404, body = OipErrorAnswer, description = "another model is served"),
        (status = 503, body = OipErrorAnswer, description = "still loading, or shutting down"),
    ))]
pub(super) async fn model(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<ModelMetadata>, OipError> {
    describe(&app, &name, None)
}

/// The model's tensors
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}", tag = "open inference protocol",
    params(("model" = String, Path, description = "its job's name"),
        ("version" = String, Path, description = "first digits of its graph's SHA-256")),
    responses(
        (status = 200, body = ModelMetadata),
        (status = 404, body = OipErrorAnswer, description = "another model or version is served"),
        (status = 503, body = OipErrorAnswer, description = "still loading, or shutting down"),
    ))]
pub(super) async fn model_version(
    State(app): State<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<ModelMetadata>, OipError> {
    describe(&app, &name, Some(&version))
}

/// Whether the model is ready
#[utoipa::path(get, path = "/v2/models/{model}/ready", tag = "open inference protocol",
    params(("model" = String, Path, description = "its job's name")),
    responses(
        (status = 200, body = ModelReady),
        (status = 404, body = OipErrorAnswer, description = "another model is served"),
        (status = 503, body = OipErrorAnswer, description = "still loading, or shutting down"),
    ))]
pub(super) async fn model_ready(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<ModelReady>, OipError> {
    readiness(&app, name, None)
}

/// Whether the model is ready
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/ready", tag = "open inference protocol",
    params(("model" = String, Path, description = "its job's name"),
        ("version" = String, Path, description = "first digits of its graph's SHA-256")),
    responses(
        (status = 200, body = ModelReady),
        (status = 404, body = OipErrorAnswer, description = "another model or version is served"),
        (status = 503, body = OipErrorAnswer, description = "still loading, or shutting down"),
    ))]
pub(super) async fn model_version_ready(
    State(app): State<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<ModelReady>, OipError> {
    readiness(&app, name, Some(&version))
}

fn readiness(app: &App, name: String, version: Option<&str>) -> Result<Json<ModelReady>, OipError> {
    expect(&*app.service()?, &name, version)?;
    Ok(Json(ModelReady { name, ready: true }))
}

fn describe(app: &App, name: &str, wanted: Option<&str>) -> Result<Json<ModelMetadata>, OipError> {
    let service = app.service()?;
    expect(&service, name, wanted)?;
    let labels = service.bundle().manifest().labels.len() as i64;
    let input = |name, shape: &[i64]| TensorMetadata { name, datatype: "INT64", shape: shape.to_vec() };
    Ok(Json(ModelMetadata {
        name: name.to_string(),
        versions: vec![version(&service)],
        platform: "onnxruntime_onnx",
        inputs: vec![
            input("input_ids", &[-1, -1]),
            input("bbox", &[-1, -1, 4]),
            input("attention_mask", &[-1, -1]),
            input("token_type_ids", &[-1, -1]),
        ],
        outputs: vec![TensorMetadata { name: "logits", datatype: "FP32", shape: vec![-1, -1, labels] }],
    }))
}

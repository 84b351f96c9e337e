//! Open Inference Protocol, version 2: the model's raw tensors, for KServe, Triton's clients and others that speak it.
//!
//! Tensors in are what [`Encoder`](layoutlm_core::encoder::Encoder) makes of a receipt, logits come out; who wants
//! labels asks `/v1/classify`. JSON tensors and the binary tensor data extension are understood, in both directions.
//! Rows are run unpadded and alone: logits of padding are 0.

mod error;
mod infer;
mod metadata;
mod protocol;
mod response;
mod tensor;
mod windows;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;

/// The protocol's routes, with and without the model's version.
/// Whether server and models live and are ready: what orchestrators ask without a key.
pub(super) fn open() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(metadata::live))
        .routes(routes!(metadata::ready))
        .routes(routes!(metadata::model_ready))
        .routes(routes!(metadata::model_version_ready))
}

pub(super) fn guarded() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(metadata::server))
        .routes(routes!(metadata::server_with_slash))
        .routes(routes!(metadata::model))
        .routes(routes!(metadata::model_version))
        .routes(routes!(infer::infer))
        .routes(routes!(infer::infer_version))
}

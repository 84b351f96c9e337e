//! Liveness and readiness, for load balancers and containers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::error::{ApiError, ErrorAnswer};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready))
}

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `live` or `ready`.
    status: &'static str,
}

/// 200 as long as the process answers at all
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200, body = Health)))]
async fn live() -> Json<Health> {
    Json(Health { status: "live" })
}

/// 200 once the bundle has proved itself, until told to stop
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = 200, body = Health),
    (status = 503, body = ErrorAnswer, description = "still loading, or shutting down"),
))]
async fn ready(State(app): State<Arc<App>>) -> Result<Json<Health>, ApiError> {
    app.service()?;
    Ok(Json(Health { status: "ready" }))
}

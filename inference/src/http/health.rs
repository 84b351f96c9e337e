//! Liveness and readiness, for load balancers and containers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::app::App;
use super::error::ApiError;

/// 200 as long as the process answers at all.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// 200 once the bundle has proved itself, until told to stop.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    app.service()?;
    Ok(Json(json!({"status": "ready"})))
}

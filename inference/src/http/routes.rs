//! The table of routes, and what surrounds every one of them: the access log and the net under panics.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::work::Counts;
use super::{classify, health, model, oip, page, sagemaker};

/// The server's own routes with their descriptions.
fn own_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(page::routes())
        .merge(classify::routes())
        .merge(model::routes())
        .merge(health::routes())
        .merge(oip::routes())
        .merge(sagemaker::routes())
}

/// Every route of the server, and `more` of the caller's own.
pub fn router(app: Arc<App>, more: OpenApiRouter<Arc<App>>) -> Router {
    let (routes, _description) = own_routes().merge(more).split_for_parts();
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // The handler that reads a body limits it itself.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(log))
        .with_state(app)
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::not_found(uri.path())
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(method.as_str(), uri.path())
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.unwrap_or_default(), "a request panicked");
    ApiError::internal().into_response()
}

async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let begun = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    let code = response.extensions().get::<ErrorCode>().map(|c| c.as_str());
    let counts = response.extensions().get::<Counts>().copied();
    if path.starts_with("/health/") && status == 200 {
        tracing::debug!(%method, path, status, ms, "request");
    } else if let Some(Counts { receipts, words, windows }) = counts {
        tracing::info!(%method, path, status, ms, receipts, words, windows, "request");
    } else {
        tracing::info!(%method, path, status, ms, code, "request");
    }
    response
}

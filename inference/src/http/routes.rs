//! The table of routes, and what surrounds every one of them.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa_axum::router::OpenApiRouter;

use super::app::App;
use super::auth::guard;
use super::error::ApiError;
use super::leftover::read_off;
use super::observe::observe;
use super::openapi::description;
use super::{classify, health, metrics, model, oip, openapi, page, sagemaker};

/// Routes that anybody may ask.
pub(super) fn open() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(page::routes())
        .merge(health::routes())
        .merge(oip::open())
        .merge(sagemaker::open())
}

/// Routes that the API key guards, where there is one.
pub(super) fn guarded() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(classify::routes())
        .merge(model::routes())
        .merge(metrics::routes())
        .merge(oip::guarded())
        .merge(sagemaker::guarded())
}

/// Every route of the server, and `more` of the caller's own, which the API key guards as well.
pub fn router(app: Arc<App>, more: OpenApiRouter<Arc<App>>) -> Router {
    let guarded = guarded().merge(more).route_layer(middleware::from_fn_with_state(app.clone(), guard));
    let (routes, described) = open().merge(guarded).split_for_parts();
    let metrics = app.metrics.clone();
    let panicked = move |panic: Box<dyn Any + Send + 'static>| {
        metrics.panicked();
        panicked(&*panic)
    };
    let routes = routes
        .merge(openapi::routes(&description(described)))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // The handler that reads a body limits it itself.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .layer(middleware::from_fn_with_state(app.clone(), read_off));
    let routes = match cors(&app.cors_origins) {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    routes.with_state(app)
}

/// Nothing is allowed to pages of other origins unless they are named.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|o| HeaderValue::from_str(o).ok()).collect();
    let headers = [header::CONTENT_TYPE, header::AUTHORIZATION].into_iter();
    let headers = headers.chain(["x-api-key", "traceparent"].map(HeaderName::from_static));
    let layer = || {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins.clone()))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(headers.collect::<Vec<_>>())
    };
    (!origins.is_empty()).then(layer)
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::not_found(uri.path())
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(method.as_str(), uri.path())
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.unwrap_or_default(), "a request panicked");
    ApiError::internal().into_response()
}

//! The description of the interface: OpenAPI 3.1 at `/openapi.json`, for people at `/docs`.

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::get;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi};

use super::app::App;
use super::{docs, routes};

const ABOUT: &str = "Labels the words of receipts. Every error answer has the form of `ErrorAnswer`; its `code` never \
    changes its meaning. Where the server has an API key, routes under /v1 and /metrics ask for it.";

/// The server's own interface.
pub fn openapi() -> OpenApi {
    description(routes::open().merge(routes::guarded()).into_openapi())
}

/// What the routes say of themselves, completed by what they share.
pub(super) fn description(mut of_routes: OpenApi) -> OpenApi {
    of_routes.info = InfoBuilder::new()
        .title("layoutlm-server")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = of_routes.components.get_or_insert_with(Components::new);
    components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
    let none = SecurityRequirement::default();
    of_routes.security = Some(vec![none, SecurityRequirement::new::<_, [&str; 0], &str>("api_key", [])]);
    of_routes
}

/// Hands the description out in both forms, written once.
pub(super) fn routes(description: &OpenApi) -> Router<Arc<App>> {
    let page = docs::Page::of(description);
    let document = Bytes::from(serde_json::to_vec(description).unwrap_or_default());
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_string()),
        (header::CONTENT_SECURITY_POLICY, page.policy),
        (header::REFERRER_POLICY, "no-referrer".to_string()),
        (header::X_FRAME_OPTIONS, "DENY".to_string()),
    ];
    let html = Bytes::from(page.html);
    let json = [(header::CONTENT_TYPE, "application/json")];
    Router::new()
        .route("/openapi.json", get(move || ready((json, document.clone()))))
        .route("/docs", get(move || ready((headers.clone(), html.clone()))))
}

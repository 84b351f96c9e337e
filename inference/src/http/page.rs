//! The page for people at `/`: one document with its own script and style, and headers that allow nothing else.

use std::sync::{Arc, LazyLock};

use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;

use super::app::App;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().route("/", get(page))
}

const MARKUP: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = concat!(
    include_str!("page/script/base.js"),
    include_str!("page/script/samples.js"),
    include_str!("page/script/receipt.js"),
    include_str!("page/script/draw.js"),
    include_str!("page/script/tables.js"),
    include_str!("page/script/copy.js"),
    include_str!("page/script/page.js"),
);

struct Page {
    html: String,
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let html = MARKUP.replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", SCRIPT);
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data: blob:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    Page { html, policy }
});

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE.policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE.html.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_its_parts_and_names_nothing_outside() {
        assert!(PAGE.html.contains(STYLE) && PAGE.html.contains(SCRIPT));
        for outside in ["src=\"http", "href=\"http", "@import", "url(http", "//cdn"] {
            assert!(!PAGE.html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_policy_hashes_what_the_browser_will_hash() {
        let between = |open: &str, close: &str| {
            let start = PAGE.html.find(open).unwrap() + open.len();
            let end = PAGE.html[start..].find(close).unwrap() + start;
            BASE64_STANDARD.encode(Sha256::digest(&PAGE.html.as_bytes()[start..end]))
        };
        assert!(PAGE.policy.contains(&between("<script>", "</script>")));
        assert!(PAGE.policy.contains(&between("<style>", "</style>")));
    }
}

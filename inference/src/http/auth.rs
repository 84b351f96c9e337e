//! The API key: one secret for all callers, asked for on every route that does work or tells of it.
//!
//! Health, the pages and the description of the interface are open: they tell nothing that is worth a key.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::app::{App, AppError};
use super::error::ApiError;
use crate::config::ServerConfig;

/// A key, kept as its hash so that comparing takes the same time for any length.
pub(super) struct ApiKey([u8; 32]);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

impl ApiKey {
    /// The key that the configuration asks for, if any.
    pub(super) fn of(config: &ServerConfig) -> Result<Option<Self>, AppError> {
        if let Some(key) = &config.api_key {
            return Ok(Some(Self::new(key)));
        }
        let Some(path) = &config.api_key_file else { return Ok(None) };
        let failed = |reason: String| AppError::ApiKey { path: path.clone(), reason };
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        match text.lines().next().map(str::trim).filter(|key| !key.is_empty()) {
            Some(key) => Ok(Some(Self::new(key))),
            None => Err(failed("is empty".into())),
        }
    }

    fn new(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Compares in constant time.
    fn is(&self, given: &str) -> bool {
        Self::new(given).0.ct_eq(&self.0).into()
    }
}

/// Lets a request pass that brings the key, or any where none is asked for.
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match &app.api_key {
        Some(key) if !given(request.headers()).is_some_and(|given| key.is(given)) => {
            Err(ApiError::unauthorized())
        }
        _ => Ok(next.run(request).await),
    }
}

/// The key in `Authorization: Bearer …` or `x-api-key`.
fn given(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let bearer = text(header::AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| text("x-api-key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_comes_from_the_flag_or_the_files_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let mut config = ServerConfig::new("b");
        assert!(ApiKey::of(&config).unwrap().is_none());
        config.api_key_file = Some(file.clone());
        assert!(ApiKey::of(&config).unwrap_err().to_string().contains("--api-key-file"));
        std::fs::write(&file, "\n").unwrap();
        assert!(ApiKey::of(&config).unwrap_err().to_string().contains("is empty"));
        std::fs::write(&file, "  s3cret \nnotes\n").unwrap();
        let key = ApiKey::of(&config).unwrap().unwrap();
        assert!(key.is("s3cret") && !key.is("s3cre") && !key.is(""));
        assert!(!format!("{key:?}").contains("s3cret"));
    }
}

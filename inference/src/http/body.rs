//! From a request's headers and body to bytes in memory: media type, size and time are checked before anything is read.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderName, header};
use http_body_util::LengthLimitError;

use super::app::App;
use super::error::ApiError;

fn lower_case(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).to_ascii_lowercase())
}

/// Media type without its parameters, lower case; `None` where the request states none.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let stated = lower_case(headers, header::CONTENT_TYPE)?;
    Some(stated.split(';').next().unwrap_or_default().trim().to_string())
}

/// Takes JSON, stated or not.
///
/// # Errors
/// 415 for another media type.
pub fn expect_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(kind) = media_type(headers) else { return Ok(()) };
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    Err(ApiError::unsupported_media_type(format!("content-type is {kind:?}; send application/json")))
}

/// Reads the whole body, within the server's limits of size and time.
///
/// # Errors
/// 415 for a compressed body, 413 for one above the limit (announced or not), 408 for one that does not come, 400 for
/// one that breaks off.
pub async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    if let Some(coding) = lower_case(headers, header::CONTENT_ENCODING).filter(|c| c != "identity") {
        return Err(ApiError::unsupported_media_type(format!("content-encoding {coding} is not taken")));
    }
    let limit = app.limits.body_bytes;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(ApiError::body_too_large(limit));
    }
    match tokio::time::timeout(app.body_timeout, to_bytes(body, limit)).await {
        Err(_) => Err(ApiError::body_timeout(app.body_timeout.as_secs_f64())),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(ApiError::body_too_large(limit)),
        Ok(Err(_)) => Err(ApiError::incomplete_body()),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}

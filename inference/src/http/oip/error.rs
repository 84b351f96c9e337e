//! Errors as the protocol says: a status and `{"error": "a sentence"}`.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::ApiError;
use crate::http::error_code::ErrorCode;

/// An error on its way to a client of the protocol.
#[derive(Debug)]
pub(super) struct OipError(ApiError);

/// The body of every error of the protocol.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OipErrorAnswer {
    /// A sentence for people.
    error: String,
}

impl OipError {
    /// 400: not tensors that the model takes.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self(ApiError::new(ErrorCode::InvalidTensors, message))
    }

    /// 404: another model or version than the one served.
    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self(ApiError::new(ErrorCode::NotFound, message))
    }
}

impl From<ApiError> for OipError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for OipError {
    fn into_response(self) -> Response {
        let answer = OipErrorAnswer { error: self.0.message().to_string() };
        // Status, Retry-After and the log's code are those of every other error.
        let (mut parts, _) = self.0.into_response().into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        let json = serde_json::to_vec(&answer).unwrap_or_default();
        Response::from_parts(parts, Body::from(json))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn an_error_keeps_its_status_and_headers_and_is_one_sentence() {
        let response = OipError::from(ApiError::overloaded("full")).into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (429, &"1".parse().unwrap())
        );
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        assert_eq!(&body[..], br#"{"error":"full"}"#);
    }
}

//! Every error answer: a status, a code that never changes, a sentence for the caller and never the internals.
//!
//! `{"error": {"code": "invalid_receipt", "message": "…", "receipt": 3, "field": "words[0].box"}}`; `receipt` (index in
//! the call) and `field` only where they apply.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An error on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    body: Body,
    retry_after: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Body {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

#[derive(Serialize)]
struct Envelope {
    error: Body,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let body = Body { code, message: message.into(), receipt: None, field: None };
        Self { status, body, retry_after: None }
    }

    /// 400 `invalid_json`: the body is not JSON.
    pub fn invalid_json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    }

    /// 400 `invalid_query`: the query string is not understood.
    pub fn invalid_query(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_query", message)
    }

    /// 400 `incomplete_body`: the caller stopped sending.
    pub fn incomplete_body() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "incomplete_body", "the body ended before it was complete")
    }

    /// 404 `not_found`.
    pub fn not_found(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path}"))
    }

    /// 405 `method_not_allowed`.
    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        let message = format!("{path} does not take {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// 408 `body_timeout`: the body took too long to arrive.
    pub fn body_timeout(seconds: f64) -> Self {
        let message = format!("the body did not arrive within {seconds} s");
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
    }

    /// 413 `body_too_large`.
    pub fn body_too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes; send fewer receipts per call");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    /// 415 `unsupported_media_type`.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// 422 `invalid_receipt`: JSON that is no receipt.
    pub fn invalid_receipt(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_receipt", message)
    }

    /// 422 `invalid_options`.
    pub fn invalid_options(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_options", message)
    }

    /// 422 `too_many_words`.
    pub fn too_many_words(words: usize, limit: usize) -> Self {
        let message = format!("the receipt has {words} words; at most {limit} are taken");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_many_words", message)
    }

    /// 422 `too_many_receipts`.
    pub fn too_many_receipts(receipts: usize, limit: usize) -> Self {
        let message = format!("the call has {receipts} receipts; at most {limit} are taken");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too_many_receipts", message)
    }

    /// 429 `overloaded`, to be tried again in a second.
    pub fn overloaded(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message);
        Self { retry_after: Some(1), ..error }
    }

    /// 503 `not_ready`: the bundle is still being loaded and proved.
    pub fn not_ready() -> Self {
        let error =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "the model is still being loaded");
        Self { retry_after: Some(1), ..error }
    }

    /// 503 `draining`: the server was told to stop.
    pub fn draining() -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "the server is shutting down");
        Self { retry_after: Some(1), ..error }
    }

    /// 504 `deadline_exceeded`.
    pub fn deadline_exceeded(seconds: f64) -> Self {
        let message = format!("no answer within {seconds} s");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", message)
    }

    /// 500 `internal`: a fault of the server; what it was is in its log.
    pub fn internal() -> Self {
        let message = "the server failed on this request; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// Names the receipt by its index in the call.
    #[must_use]
    pub fn at_receipt(mut self, index: usize) -> Self {
        self.body.receipt = Some(index);
        self
    }

    /// Names the field.
    #[must_use]
    pub fn at_field(mut self, field: impl Into<String>) -> Self {
        self.body.field = Some(field.into());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.body.code
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.body.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.body.code;
        let mut response = (self.status, Json(Envelope { error: self.body })).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(ErrorCode(code));
        response
    }
}

/// The code of an error answer, for the access log.
#[derive(Debug, Clone, Copy)]
pub(super) struct ErrorCode(pub(super) &'static str);

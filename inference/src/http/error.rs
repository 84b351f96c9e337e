//! Every error answer: a status, a code that never changes, a sentence for the caller and never the internals.
//!
//! `{"error": {"code": "invalid_receipt", "message": "…", "receipt": 3, "field": "words[0].box"}}`; `receipt` (index in
//! the call) and `field` only where they apply.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::error_code::ErrorCode;

/// An error on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    receipt: Option<usize>,
    field: Option<String>,
}

/// The body of every answer that is an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorAnswer {
    error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
struct ErrorBody {
    code: ErrorCode,
    /// A sentence for people; it may change.
    message: String,
    /// Index in the call of the receipt at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<usize>,
    /// The field at fault, e.g. `words[3].box`.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl ApiError {
    /// An error with a sentence for the caller.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), receipt: None, field: None }
    }

    /// The body is not JSON.
    pub fn invalid_json(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidJson, message)
    }

    /// The query string is not understood.
    pub fn invalid_query(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidQuery, message)
    }

    /// The caller stopped sending.
    pub fn incomplete_body() -> Self {
        Self::new(ErrorCode::IncompleteBody, "the body ended before it was complete")
    }

    /// No key, or a wrong one.
    pub fn unauthorized() -> Self {
        let message = "send the API key as `Authorization: Bearer <key>` or `x-api-key: <key>`";
        Self::new(ErrorCode::Unauthorized, message)
    }

    /// There is no such path.
    pub fn not_found(path: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("there is nothing at {path}"))
    }

    /// The path takes other methods.
    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        Self::new(ErrorCode::MethodNotAllowed, format!("{path} does not take {method}"))
    }

    /// The body took too long to arrive.
    pub fn body_timeout(seconds: f64) -> Self {
        Self::new(ErrorCode::BodyTimeout, format!("the body did not arrive within {seconds} s"))
    }

    /// The body is above the limit.
    pub fn body_too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes; send fewer receipts per call");
        Self::new(ErrorCode::BodyTooLarge, message)
    }

    /// Not the kind of body that the route takes.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::UnsupportedMediaType, message)
    }

    /// JSON that is no receipt.
    pub fn invalid_receipt(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidReceipt, message)
    }

    /// Options that can't be.
    pub fn invalid_options(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidOptions, message)
    }

    /// A receipt above the limit of words.
    pub fn too_many_words(words: usize, limit: usize) -> Self {
        let message = format!("the receipt has {words} words; at most {limit} are taken");
        Self::new(ErrorCode::TooManyWords, message)
    }

    /// A call above the limit of receipts.
    pub fn too_many_receipts(receipts: usize, limit: usize) -> Self {
        let message = format!("the call has {receipts} receipts; at most {limit} are taken");
        Self::new(ErrorCode::TooManyReceipts, message)
    }

    /// No room now; worth another try in a second.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Overloaded, message)
    }

    /// The bundle is still being loaded and proved.
    pub fn not_ready() -> Self {
        Self::new(ErrorCode::NotReady, "the model is still being loaded")
    }

    /// The server was told to stop.
    pub fn draining() -> Self {
        Self::new(ErrorCode::Draining, "the server is shutting down")
    }

    /// The answer would come too late.
    pub fn deadline_exceeded(seconds: f64) -> Self {
        Self::new(ErrorCode::DeadlineExceeded, format!("no answer within {seconds} s"))
    }

    /// A fault of the server; what it was is in its log.
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "the server failed on this request; its log says why")
    }

    /// Names the receipt by its index in the call.
    #[must_use]
    pub fn at_receipt(mut self, index: usize) -> Self {
        self.receipt = Some(index);
        self
    }

    /// Names the field.
    #[must_use]
    pub fn at_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The body of its answer.
    pub fn answer(self) -> ErrorAnswer {
        let Self { code, message, receipt, field } = self;
        ErrorAnswer { error: ErrorBody { code, message, receipt, field } }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code;
        let mut response = (code.status(), Json(self.answer())).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = code.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if code == ErrorCode::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(code);
        response
    }
}

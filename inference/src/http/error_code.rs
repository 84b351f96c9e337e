//! The codes of error answers: part of the interface, so they never change their meaning.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// What kind of error an answer is; stable, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The body is not JSON.
    InvalidJson,
    /// The query string is not understood.
    InvalidQuery,
    /// The body broke off.
    IncompleteBody,
    /// No API key, or a wrong one.
    Unauthorized,
    /// There is nothing at this path.
    NotFound,
    /// The path takes other methods.
    MethodNotAllowed,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// Another media type or a compressed body.
    UnsupportedMediaType,
    /// JSON that is no receipt.
    InvalidReceipt,
    /// Options that can't be.
    InvalidOptions,
    /// Tensors that the model does not take.
    InvalidTensors,
    /// More words in a receipt than allowed.
    TooManyWords,
    /// More receipts in a call than allowed.
    TooManyReceipts,
    /// The queue is full, or too many requests are in hand.
    Overloaded,
    /// A fault of the server, said in its log.
    Internal,
    /// The model is still being loaded and proved.
    NotReady,
    /// The server is shutting down.
    Draining,
    /// No answer within the time allowed.
    DeadlineExceeded,
    /// The table of receipts can't be read.
    TableUnavailable,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 20] = [
        Self::InvalidJson,
        Self::InvalidQuery,
        Self::IncompleteBody,
        Self::Unauthorized,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidReceipt,
        Self::InvalidOptions,
        Self::InvalidTensors,
        Self::TooManyWords,
        Self::TooManyReceipts,
        Self::Overloaded,
        Self::Internal,
        Self::NotReady,
        Self::Draining,
        Self::DeadlineExceeded,
        Self::TableUnavailable,
    ];

    /// The code as answers hold it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidQuery => "invalid_query",
            Self::IncompleteBody => "incomplete_body",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::InvalidReceipt => "invalid_receipt",
            Self::InvalidTensors => "invalid_tensors",
            Self::InvalidOptions => "invalid_options",
            Self::TooManyWords => "too_many_words",
            Self::TooManyReceipts => "too_many_receipts",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
            Self::NotReady => "not_ready",
            Self::Draining => "draining",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::TableUnavailable => "table_unavailable",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson | Self::InvalidQuery | Self::IncompleteBody | Self::InvalidTensors => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidReceipt | Self::InvalidOptions | Self::TooManyWords | Self::TooManyReceipts => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotReady | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::TableUnavailable => StatusCode::BAD_GATEWAY,
        }
    }

    /// Seconds after which another try may do, where one may.
    pub fn retry_after(self) -> Option<u32> {
        matches!(self, Self::Overloaded | Self::NotReady | Self::Draining | Self::TableUnavailable)
            .then_some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once_and_written_as_its_name() {
        for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index, "{code:?} is out of place");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn every_code_is_in_the_handbook_with_its_status() {
        let handbook = include_str!("../../../docs/serving.md");
        for code in ErrorCode::ALL {
            let row = format!("| `{}` | {} |", code.as_str(), code.status().as_u16());
            assert!(handbook.contains(&row), "{row} is not in docs/serving.md");
        }
    }
}

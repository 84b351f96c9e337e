//! What went wrong with a request to AWS, sorted by what to do about it.
//!
//! The services spell the same fault in several ways; here they become one [`Fault`], which decides whether a request
//! is sent again, what the message advises and which exit code a program ends with.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// No credentials were found.
    NoCredentials,
    /// Temporary credentials have run out.
    ExpiredCredentials,
    /// The service does not know the key, or the secret is wrong.
    RejectedCredentials,
    /// The credentials are good, but not for this operation.
    Denied,
    /// This machine's clock is off.
    ClockSkew,
    /// There is no such table.
    NoTable,
    /// There is no such bucket.
    NoBucket,
    /// There is no such object or upload.
    NoObject,
    /// The bucket lies in another region.
    OtherRegion,
    /// A condition of a conditional write did not hold.
    Condition,
    /// The service asks for fewer requests.
    Throttled,
    /// No answer, or half of one.
    Unreachable,
    /// The service failed.
    Server,
    /// The service found the request wrong.
    Refused,
}

impl Fault {
    /// True when the same request may succeed later without anybody doing anything.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Throttled | Self::Unreachable | Self::Server)
    }

    /// True when the caller has something to put right: a name, a permission, credentials, the clock.
    pub fn is_callers(self) -> bool {
        !self.is_passing() && !matches!(self, Self::Refused | Self::Condition)
    }

    /// What to do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::NoCredentials => {
                "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a \
                 role is attached"
            }
            Self::ExpiredCredentials => "the credentials have expired: sign in again, or fetch new ones",
            Self::RejectedCredentials => {
                "the credentials were rejected: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
            }
            Self::Denied => "the credentials lack the permission for it (docs/aws.md lists what is needed)",
            Self::ClockSkew => {
                "this machine's clock differs too much from the service's: set the time (NTP) and try again"
            }
            Self::NoTable => "there is no such table: check --dynamo-table and --region",
            Self::NoBucket => "there is no such bucket: check its name and --region",
            Self::NoObject => "there is no such object: check the URI",
            Self::OtherRegion => "the bucket lies in another region: check --region",
            Self::Condition => "somebody else has written it in the meantime",
            Self::Throttled => {
                "the service kept asking for fewer requests: try again later, or raise the table's capacity"
            }
            Self::Unreachable => {
                "the service can't be reached or broke off: check the network and any AWS_ENDPOINT_URL"
            }
            Self::Server => "the service failed: try again later",
            Self::Refused => "the service refused the request",
        }
    }
}

/// Sorts an error of the SDK.
pub(crate) fn fault_of<E>(error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            let message = meta.message().unwrap_or_default();
            of_answer(meta.code().unwrap_or_default(), message, service.raw().status().as_u16())
        }
        SdkError::ResponseError(response) => match response.raw().status().as_u16() {
            status @ 400.. => of_answer("", "", status),
            _ => Fault::Unreachable,
        },
        other if lacks_credentials(other) => Fault::NoCredentials,
        SdkError::ConstructionFailure(_) => Fault::Refused,
        _ => Fault::Unreachable,
    }
}

/// What the service or the connection said, without the SDK's wrapping.
pub(crate) fn detail_of<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(meta) = error.as_service_error().map(ProvideErrorMetadata::meta) {
        return match (meta.code(), meta.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_string(),
            (None, Some(message)) => message.to_string(),
            (None, None) => error.raw_response().map_or_else(String::new, |r| format!("HTTP {}", r.status())),
        };
    }
    let mut last = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        last = inner.to_string();
        source = inner.source();
    }
    last
}

fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<CredentialsError>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn of_answer(code: &str, message: &str, status: u16) -> Fault {
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "SlowDown"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "ThrottledException" => Fault::Throttled,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Fault::ExpiredCredentials,
        "RequestTimeTooSkewed" | "RequestInTheFuture" | "RequestExpired" => Fault::ClockSkew,
        // DynamoDB says "Signature expired" and "Signature not yet current" for a wrong clock, under one code with a
        // wrong secret.
        "InvalidSignatureException" | "SignatureDoesNotMatch"
            if message.contains("expired") || message.contains("not yet current") =>
        {
            Fault::ClockSkew
        }
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "IncompleteSignature"
        | "InvalidToken"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => Fault::RejectedCredentials,
        "AccessDenied" | "AccessDeniedException" | "AllAccessDisabled" => Fault::Denied,
        "ResourceNotFoundException" | "TableNotFoundException" => Fault::NoTable,
        "NoSuchBucket" => Fault::NoBucket,
        "NoSuchKey" | "NotFound" | "NoSuchUpload" => Fault::NoObject,
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            Fault::OtherRegion
        }
        "ConditionalCheckFailedException" | "PreconditionFailed" => Fault::Condition,
        "RequestTimeout"
        | "RequestTimeoutException"
        | "IncompleteBody"
        | "TransactionInProgressException" => Fault::Unreachable,
        _ => of_status(status),
    }
}

fn of_status(status: u16) -> Fault {
    match status {
        301 | 307 => Fault::OtherRegion,
        401 | 403 => Fault::Denied,
        404 => Fault::NoObject,
        408 => Fault::Unreachable,
        412 => Fault::Condition,
        429 => Fault::Throttled,
        500.. => Fault::Server,
        _ => Fault::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_told_from_a_wrong_secret() {
        let late = "Signature expired: 20251113T020000Z is now earlier than 20251113T021500Z";
        assert_eq!(of_answer("InvalidSignatureException", late, 400), Fault::ClockSkew);
        let secret = "The request signature we calculated does not match the signature you provided.";
        assert_eq!(of_answer("InvalidSignatureException", secret, 400), Fault::RejectedCredentials);
        assert_eq!(of_answer("RequestTimeTooSkewed", "", 403), Fault::ClockSkew);
    }

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        for (code, status, passing) in [
            ("ProvisionedThroughputExceededException", 400, true),
            ("InternalServerError", 500, true),
            ("SlowDown", 503, true),
            ("ResourceNotFoundException", 400, false),
            ("ValidationException", 400, false),
            ("AccessDenied", 403, false),
        ] {
            assert_eq!(of_answer(code, "", status).is_passing(), passing, "{code}");
        }
    }
}

//! Sending a request again: how often, how long to wait, and for which faults.
//!
//! The SDK's own retries are off: they share a budget that a throttled table exhausts, and here one request of
//! thousands must not fail a load that would have gone through a second later.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use uuid::Uuid;

use crate::error::AwsError;
use crate::fault::{Fault, fault_of};

/// How patient requests are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all for a throttled request. With 3 in 10 refused, 16 leave a chance of 4 in a thousand million.
    pub throttled: u32,
    /// Attempts in all where the service failed or can't be reached.
    pub unreachable: u32,
    /// Upper bound of the first pause; it doubles each time.
    pub first_pause: Duration,
    /// Upper bound of any pause.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            throttled: 16,
            unreachable: 8,
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(5),
        }
    }
}

impl RetryPolicy {
    /// A uniformly drawn pause before attempt `attempt + 1`, so that parallel requests do not come back together.
    pub fn pause(&self, attempt: u32) -> Duration {
        let bound = self.first_pause.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let share = (Uuid::new_v4().as_u128() >> 75) as f64 / (1u64 << 53) as f64;
        bound.min(self.longest_pause).mul_f64(share)
    }

    fn allows(&self, fault: Fault, attempt: u32) -> bool {
        match fault {
            Fault::Throttled => attempt < self.throttled,
            Fault::Unreachable | Fault::Server => attempt < self.unreachable,
            _ => false,
        }
    }

    /// Sends until it succeeds, fails for good, or patience ends.
    pub(crate) async fn send<T, E, F>(
        &self,
        operation: &'static str,
        target: &str,
        mut request: impl FnMut() -> F,
    ) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let mut attempt = 1;
        loop {
            let error = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let fault = fault_of(&error);
            if !self.allows(fault, attempt) {
                return Err(AwsError::call(operation, target.to_string(), &error));
            }
            tracing::debug!(operation, target, attempt, ?fault, "sent again");
            tokio::time::sleep(self.pause(attempt)).await;
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_vary_and_stay_bounded() {
        let policy = RetryPolicy::default();
        let pauses: Vec<Duration> = (1..=40).map(|attempt| policy.pause(attempt)).collect();
        assert!(pauses.iter().all(|p| *p <= policy.longest_pause));
        assert!(policy.pause(1) <= policy.first_pause);
        let distinct: std::collections::BTreeSet<_> = pauses.iter().collect();
        assert!(distinct.len() > 30, "{distinct:?}");
    }

    #[test]
    fn throttling_gets_more_patience_than_a_dead_service_and_a_wrong_name_none() {
        let policy = RetryPolicy::default();
        assert!(policy.allows(Fault::Throttled, 15) && !policy.allows(Fault::Throttled, 16));
        assert!(policy.allows(Fault::Server, 7) && !policy.allows(Fault::Server, 8));
        assert!(!policy.allows(Fault::NoTable, 1) && !policy.allows(Fault::Condition, 1));
    }
}

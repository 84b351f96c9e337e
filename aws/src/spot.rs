//! The two-minute notice that EC2 gives before it takes a spot instance back.
//!
//! Polled from the instance's metadata (IMDSv2). Anywhere but on EC2 nobody answers, and the watch ends by itself.

use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;

/// Pause between two looks.
const PERIOD: Duration = Duration::from_secs(5);
/// Looks without any answer before the watch ends.
const PATIENCE: u32 = 3;
const PATH: &str = "/latest/meta-data/spot/instance-action";

/// True on an EC2 instance, and wherever `AWS_EC2_METADATA_SERVICE_ENDPOINT` names a metadata service.
pub fn is_ec2() -> bool {
    let vendor = std::fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    std::env::var_os("AWS_EC2_METADATA_SERVICE_ENDPOINT").is_some() || vendor.trim() == "Amazon EC2"
}

/// Waits for the notice and gives it (`{"action": "terminate", "time": "…"}`); `None` where there is no metadata.
///
/// Never ends on an instance that is not taken back: run it beside the work and drop it at its end. Nothing is asked
/// where `AWS_EC2_METADATA_DISABLED` is `true`.
pub async fn notice() -> Option<String> {
    let disabled = std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(|v| v.eq_ignore_ascii_case("true"));
    if disabled {
        return None;
    }
    watch(&Client::builder().max_attempts(1).build(), PERIOD).await
}

/// The same with metadata at another address, asked every `period`.
pub async fn notice_at(endpoint: String, period: Duration) -> Option<String> {
    let client = Client::builder().max_attempts(1).endpoint(endpoint).ok()?.build();
    watch(&client, period).await
}

async fn watch(client: &Client, period: Duration) -> Option<String> {
    let mut unanswered = 0;
    loop {
        match client.get(PATH).await {
            Ok(notice) => return Some(notice.as_ref().to_string()),
            // No notice yet.
            Err(ImdsError::ErrorResponse(answer)) if answer.response().status().as_u16() == 404 => {
                unanswered = 0
            }
            Err(error) => {
                unanswered += 1;
                tracing::debug!(%error, unanswered, "no answer from instance metadata");
                if unanswered >= PATIENCE {
                    return None;
                }
            }
        }
        tokio::time::sleep(period).await;
    }
}

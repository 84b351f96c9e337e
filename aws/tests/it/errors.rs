//! What a person reads when something is wrong with the account, the names or the machine.

use layoutlm_aws::jobs::find_job;
use layoutlm_aws::s3::{RunPlace, RunSync};
use layoutlm_aws::{Aws, AwsError, Endpoints, Fault};
use layoutlm_emulators::Faults;
use serde_json::json;

use crate::support::{BUCKET, Stand, Store, TABLE, aws, hasty};

fn dynamodb_error(kind: &str, message: &str) -> String {
    json!({"__type": format!("com.amazon.coral.service#{kind}"), "message": message}).to_string()
}

async fn with_answer(status: u16, body: String) -> AwsError {
    let stand = Stand::empty().await;
    stand.proxy.set(Faults { always: Some((status, body)), ..Faults::default() });
    find_job(&stand.aws.table(TABLE), "x").await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_rejected_credentials_and_a_wrong_clock_each_say_what_to_do() {
    for (kind, message, fault, advice) in [
        (
            "ExpiredTokenException",
            "The security token included in the request is expired",
            Fault::ExpiredCredentials,
            "sign in again",
        ),
        (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            Fault::RejectedCredentials,
            "AWS_ACCESS_KEY_ID",
        ),
        (
            "AccessDeniedException",
            "User is not authorized to perform: dynamodb:Query",
            Fault::Denied,
            "docs/aws.md",
        ),
        (
            "InvalidSignatureException",
            "Signature expired: 20251113T020000Z is now earlier than 20251113T021500Z",
            Fault::ClockSkew,
            "clock",
        ),
    ] {
        let error = with_answer(400, dynamodb_error(kind, message)).await;
        assert_eq!(error.fault(), Some(fault), "{kind}");
        assert!(error.is_callers(), "{kind}");
        let text = error.to_string();
        for part in ["Query on table ReceiptsTable-test (us-east-1), index GSI2", advice, message] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stays_away_is_not_the_callers_fault() {
    let stand = Stand::empty().await;
    stand.proxy.set(Faults { down: true, ..Faults::default() });
    let error = find_job(&stand.aws.table(TABLE), "x").await.unwrap_err();
    assert_eq!((error.fault(), error.is_callers()), (Some(Fault::Unreachable), false));
    assert_eq!(stand.proxy.count("down"), 8, "it is asked as often as the policy says");
    let text = error.to_string();
    assert!(text.contains("check the network and any AWS_ENDPOINT_URL"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_a_wrong_secret_and_a_wrong_clock_name_the_bucket() {
    let store = Store::empty().await;
    let run = tempfile::tempdir().unwrap();
    std::fs::write(run.path().join("run.json"), "{}").unwrap();
    let sync = |aws: &Aws, bucket: &str| {
        RunSync::new(aws, RunPlace::new(bucket, "job").unwrap(), run.path()).unwrap()
    };
    // The stand-in would make the bucket.
    let absent =
        "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>";
    store.proxy.set(Faults { always: Some((404, absent.into())), ..Faults::default() });
    let error = sync(&store.aws, "no-such-bucket").records().await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::NoBucket), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("PutObject on s3://no-such-bucket/runs/job/run.json: there is no such bucket"),
        "{error}"
    );

    let wrong = Endpoints {
        s3: Some(store.s3.url.clone()),
        credentials: Some(("local".into(), "wrong".into())),
        ..Endpoints::default()
    };
    let wrong = Aws::connect(Some("us-east-1"), wrong, hasty()).await;
    let error = sync(&wrong, BUCKET).records().await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::RejectedCredentials), "{error}");

    let skewed = "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the \
                  current time is too large.</Message></Error>";
    store.proxy.set(Faults { always: Some((403, skewed.into())), ..Faults::default() });
    let error = sync(&store.aws, BUCKET).records().await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::ClockSkew), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_not_there_are_named() {
    let store = Store::empty().await;
    let error = store.aws.bucket(BUCKET).read("config/keys.json").await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("GetObject on s3://layoutlm-training/config/keys.json: there is no such object"),
        "{text}"
    );
    let nowhere = aws(None, Some("http://127.0.0.1:9")).await;
    let error = nowhere.bucket(BUCKET).read("x").await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unreachable));
}

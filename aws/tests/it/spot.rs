//! The notice that a spot instance is taken back.

use std::time::Duration;

use layoutlm_emulators::Metadata;

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_found_and_none_is_not() {
    let metadata = Metadata::start().await;
    let watching =
        tokio::spawn(layoutlm_aws::spot::notice_at(metadata.url.clone(), Duration::from_millis(20)));
    while metadata.asked() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!watching.is_finished(), "nothing was said yet");
    metadata.take_back();
    let notice = watching.await.unwrap().unwrap();
    assert!(notice.contains("\"terminate\""), "{notice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_answers_the_watch_ends() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let ended = tokio::time::timeout(
        Duration::from_secs(20),
        layoutlm_aws::spot::notice_at(url, Duration::from_millis(1)),
    );
    assert_eq!(ended.await.unwrap(), None);
}

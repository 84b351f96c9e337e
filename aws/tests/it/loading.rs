//! Loading receipts: the same from every source, through faults, and again from the cache.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use layoutlm_aws::AwsError;
use layoutlm_aws::dynamo::{LabelStatus, ReceiptKey};
use layoutlm_aws::load::{CacheOptions, CacheUse, LoadOptions, Progress, ReceiptDetails, Source};
use layoutlm_emulators::Faults;
use serde_json::{Value, json};

use crate::support::{Stand, TABLE, fixture};

fn scan() -> LoadOptions {
    LoadOptions { source: Source::Scan, ..LoadOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_finds_what_the_indexes_find() {
    let Some(stand) = Stand::with(&["receipts", "edge", "noise"]).await else { return };
    let by_index = stand.load(&LoadOptions::default()).await.unwrap();
    let by_scan = stand.load(&scan()).await.unwrap();
    assert_eq!(by_index.receipts, by_scan.receipts);
    assert_eq!(by_index.receipts.len(), 23);
    assert!(by_index.report.malformed.is_empty() && by_scan.report.malformed.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_item_types_are_counted_and_change_nothing() {
    let (Some(plain), Some(noisy)) = (Stand::with(&["edge"]).await, Stand::with(&["edge", "noise"]).await)
    else {
        return;
    };
    let plain = plain.load(&LoadOptions::default()).await.unwrap();
    let noisy = noisy.load(&LoadOptions::default()).await.unwrap();
    assert_eq!(plain.receipts, noisy.receipts);
    assert_eq!(noisy.report.other_types.values().sum::<usize>(), 2, "{:?}", noisy.report.other_types);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_refuses_three_requests_in_ten_still_loads_completely() {
    let Some(stand) = Stand::with(&["receipts", "edge"]).await else { return };
    let quiet = stand.load(&LoadOptions::default()).await.unwrap();
    stand.proxy.set(Faults { throttle: 0.3, ..Faults::default() });
    for options in [LoadOptions::default(), scan()] {
        assert_eq!(stand.load(&options).await.unwrap().receipts, quiet.receipts);
    }
    assert!(stand.proxy.count("throttle") >= 10, "{:?}", stand.proxy.counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_cut_answers_and_empty_pages_lose_nothing() {
    let Some(stand) = Stand::with(&["receipts", "edge"]).await else { return };
    let quiet = stand.load(&LoadOptions::default()).await.unwrap();
    stand.proxy.set(Faults {
        server_error: 0.05,
        drop_before: 0.05,
        drop_after: 0.03,
        cut: 0.07,
        empty_page: 0.5,
        ..Faults::default()
    });
    assert_eq!(stand.load(&LoadOptions::default()).await.unwrap().receipts, quiet.receipts);
    let counts = stand.proxy.counts();
    let failed: usize = counts.iter().filter(|(name, _)| *name != "ok").map(|(_, count)| count).sum();
    assert!(failed >= 4, "{counts:?}");
}

/// A word of a new receipt, with a label.
fn word_and_label(image: &str, receipt: u32, text: &Value) -> [Value; 2] {
    let index = format!("IMAGE#{image}#RECEIPT#{receipt:05}");
    let path = format!("{index}#LINE#00001#WORD#00001");
    let sk = format!("RECEIPT#{receipt:05}#LINE#00001#WORD#00001");
    let s = |text: &str| json!({ "S": text });
    let point = |x: &str, y: &str| json!({"M": {"x": {"N": x}, "y": {"N": y}}});
    let word = json!({
        "PK": s(&format!("IMAGE#{image}")), "SK": s(&sk), "TYPE": s("RECEIPT_WORD"), "text": text,
        "GSI3PK": s(&index), "GSI3SK": s("WORD"),
        "top_left": point("0.1", "0.9"), "top_right": point("0.2", "9E-1"),
        "bottom_left": point("0.1", "0.8"), "bottom_right": point("0.20", "0.8"),
    });
    let label = json!({
        "PK": s(&format!("IMAGE#{image}")), "SK": s(&format!("{sk}#LABEL#DATE")), "TYPE": s("RECEIPT_WORD_LABEL"),
        "GSI3PK": s("VALIDATION_STATUS#VALID"), "GSI3SK": s(&format!("{path}#LABEL#DATE")),
        "validation_status": s("VALID"), "timestamp_added": s("2025-11-13T02:00:00+00:00"),
    });
    [word, label]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_can_not_be_read_is_left_out_and_named() {
    let stand = Stand::empty().await;
    let good = word_and_label("a", 1, &json!({"S": "2025-11-13"}));
    let bad = word_and_label("b", 2, &json!({"N": "7"}));
    stand.dynamo.fill(TABLE, &[good, bad].concat()).await;
    for options in [LoadOptions::default(), scan()] {
        let loaded = stand.load(&options).await.unwrap();
        assert_eq!(loaded.receipts.len(), 1);
        assert_eq!(loaded.receipts[0].receipt.words[0].bbox, [0.1, 0.8, 0.2, 0.9]);
        let message = loaded.report.malformed[0].to_string();
        assert_eq!(
            message,
            "item IMAGE#b / RECEIPT#00002#LINE#00001#WORD#00001: text: expected a string, found a number"
        );
        assert_eq!(loaded.report.receipts_without_words.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_of_a_word_that_is_gone_is_named() {
    let stand = Stand::empty().await;
    let [word, label] = word_and_label("a", 1, &json!({"S": "x"}));
    let mut gone = label.clone();
    gone["SK"] = json!({"S": "RECEIPT#00001#LINE#00009#WORD#00001#LABEL#DATE"});
    stand.dynamo.fill(TABLE, &[word, label, gone]).await;
    let loaded = stand.load(&LoadOptions::default()).await.unwrap();
    assert_eq!((loaded.receipts.len(), loaded.report.words), (1, 1));
    assert_eq!(loaded.report.labels_without_word.len(), 1);
    assert_eq!(loaded.report.labels_without_word[0].line_id, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allow_list_restricts_what_is_read_and_an_empty_one_allows_nothing() {
    let Some(stand) = Stand::with(&["receipts"]).await else { return };
    let all = stand.load(&LoadOptions::default()).await.unwrap();
    let one = all.receipts[0].receipt.key();
    let before = stand.proxy.count("ok");
    let allow = |names: &[&String]| LoadOptions {
        allow: Some(names.iter().map(ToString::to_string).collect::<BTreeSet<_>>()),
        ..LoadOptions::default()
    };
    let some = stand.load(&allow(&[&one])).await.unwrap();
    assert_eq!(some.receipts.len(), 1);
    assert_eq!(some.receipts[0], all.receipts[0]);
    assert_eq!(some.report.not_allowed, all.receipts.len() - 1);
    assert!(stand.proxy.count("ok") - before <= 3, "words of other receipts were read");
    assert!(stand.load(&allow(&[])).await.unwrap().receipts.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_another_status_can_be_asked_for() {
    let Some(stand) = Stand::with(&["receipts"]).await else { return };
    let options = LoadOptions { status: LabelStatus::Pending, ..LoadOptions::default() };
    let pending = stand.load(&options).await.unwrap();
    let wanted = fixture("receipts").unwrap();
    let wanted = wanted.iter().filter(|i| i["validation_status"]["S"] == "PENDING").count();
    assert_eq!(pending.report.labels, wanted);
    assert!(wanted > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_counts_up_to_every_receipt() {
    let Some(stand) = Stand::with(&["receipts"]).await else { return };
    let seen = Mutex::new(Vec::new());
    let note = |p: Progress| seen.lock().unwrap().push(p);
    let loaded = LoadOptions::default().load(&stand.aws, TABLE, &note).await.unwrap();
    let (seen, total) = (seen.into_inner().unwrap(), loaded.receipts.len());
    assert!(matches!(seen[0], Progress::Labels(n) if n > 0));
    assert_eq!(seen.last(), Some(&Progress::Receipts { done: total, total }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_cut_short_goes_on_from_the_cache_and_the_next_one_asks_nothing() {
    let Some(stand) = Stand::with(&["receipts", "edge"]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let cached = |refresh| LoadOptions {
        cache: Some(CacheOptions {
            folder: folder.path().into(),
            max_age: Duration::from_secs(3600),
            refresh,
        }),
        concurrency: 2,
        ..LoadOptions::default()
    };
    stand.proxy.set(Faults { down_after: Some(9), ..Faults::default() });
    let error = stand.load(&cached(false)).await.unwrap_err();
    assert!(error.to_string().contains(TABLE), "{error}");
    let before = stand.proxy.count("ok");

    stand.proxy.set(Faults::default());
    let resumed = stand.load(&cached(false)).await.unwrap();
    let asked = stand.proxy.count("ok") - before;
    assert!(asked < 20 && asked > 5, "{asked} requests");
    assert!(matches!(resumed.report.cache, CacheUse::Resumed(_)));

    let before = stand.proxy.count("ok");
    let again = stand.load(&cached(false)).await.unwrap();
    assert_eq!(stand.proxy.count("ok"), before);
    assert!(matches!(again.report.cache, CacheUse::Whole(_)));

    let fresh = stand.load(&cached(true)).await.unwrap();
    assert!(stand.proxy.count("ok") > before + 20);
    assert_eq!(fresh.report.cache, CacheUse::None);
    for loaded in [&resumed, &again] {
        assert_eq!(loaded.receipts, fresh.receipts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_cache_is_mended_not_trusted() {
    let Some(stand) = Stand::with(&["receipts"]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = LoadOptions {
        cache: Some(CacheOptions {
            folder: folder.path().into(),
            max_age: Duration::from_secs(3600),
            refresh: false,
        }),
        ..LoadOptions::default()
    };
    let whole = stand.load(&options).await.unwrap();
    let table = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let words = table.join("words.jsonl");
    let text = std::fs::read(&words).unwrap();
    std::fs::write(&words, &text[..text.len() * 2 / 3]).unwrap();
    assert_eq!(stand.load(&options).await.unwrap().receipts, whole.receipts);
    std::fs::write(table.join("labels.jsonl"), "{\"PK\": 7}\n").unwrap();
    assert_eq!(stand.load(&options).await.unwrap().receipts, whole.receipts);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_receipt_comes_with_its_shop_and_gold_labels() {
    let Some(stand) = Stand::with(&["receipts", "edge", "noise"]).await else { return };
    let all = stand.load(&LoadOptions::default()).await.unwrap();
    let table = stand.aws.table(TABLE);
    for labelled in &all.receipts {
        let receipt = &labelled.receipt;
        let key = ReceiptKey { image_id: receipt.image_id.clone(), receipt_id: receipt.receipt_id };
        let details = ReceiptDetails::read(&table, &key).await.unwrap().unwrap();
        let alone = details.receipt();
        assert!(alone.check().is_ok());
        assert_eq!(alone.words.len(), receipt.words.len());
        for (word, labels) in alone.words.iter().zip(&labelled.labels) {
            assert_eq!(word.label.as_ref(), labels.last(), "the last label by name is gold for one receipt");
        }
    }
    let (keys, malformed) = ReceiptDetails::keys(&table).await.unwrap();
    assert!(keys.len() >= all.receipts.len() && malformed.is_empty());
    assert_eq!(ReceiptDetails::read_all(&table, &keys).await.unwrap().len(), keys.len());
    let nobody = ReceiptKey { image_id: "nobody".into(), receipt_id: 1 };
    assert_eq!(ReceiptDetails::read(&table, &nobody).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_fails_at_once_and_says_what_to_check() {
    let stand = Stand::empty().await;
    let error = LoadOptions::default().load(&stand.aws, "NoSuchTable", &|_| {}).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("Query on table NoSuchTable (us-east-1), index GSI3: there is no such table"),
        "{text}"
    );
    assert!(matches!(error, AwsError::Call { .. }) && error.is_callers());
    assert_eq!(stand.proxy.count("ok"), 1, "a wrong name is not tried again");
}

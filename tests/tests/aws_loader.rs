//! Receipts loaded from the table over the network against what the present loader makes of the same table: word for
//! word, box for box, tag for tag, whatever the way they are loaded and whatever else is in the table.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../../trainer/tests/golden/mod.rs"]
mod golden;
#[path = "../../trainer/tests/table/mod.rs"]
mod table;

use std::collections::BTreeMap;

use golden::{LOADER, assert_examples_equal};
use layoutlm_aws::load::{LoadOptions, Source};
use layoutlm_aws::{Aws, Endpoints, RetryPolicy};
use layoutlm_emulators::{CREDENTIALS, Dynamo, Faults, Proxy};
use table::{Table, jsonl, shared};

const NAME: &str = "ReceiptsTable-golden";

/// Loads a table that holds these fixture sets.
async fn load(sets: &[&str], source: Source) -> Table {
    let dynamo = Dynamo::start().await;
    dynamo.create(NAME).await;
    for set in sets {
        dynamo.fill(NAME, &jsonl(&shared(&format!("fixtures/dynamodb/{set}.items.jsonl")).unwrap())).await;
    }
    let proxy = Proxy::start(&dynamo.url).await;
    proxy.set(Faults { throttle: 0.3, ..Faults::default() });
    let endpoints = Endpoints {
        dynamodb: Some(proxy.url.clone()),
        credentials: Some((CREDENTIALS.0.into(), CREDENTIALS.1.into())),
        ..Endpoints::default()
    };
    let aws = Aws::connect(Some("us-east-1"), endpoints, RetryPolicy::default()).await;
    let loaded = LoadOptions { source, ..LoadOptions::default() }.load(&aws, NAME, &|_| {}).await.unwrap();
    assert!(loaded.report.malformed.is_empty(), "{:?}", loaded.report.malformed);
    let (receipts, labels) = loaded.receipts.into_iter().map(|r| (r.receipt, r.labels)).unzip();
    Table { receipts, labels }
}

async fn compare(ways: [(&str, &[&str], Source); 2]) {
    if shared(LOADER).is_none() {
        assert!(std::env::var_os("CI").is_none(), "the goldens are not there");
        return;
    }
    let mut tables = BTreeMap::new();
    for (set, sets, source) in ways {
        tables.insert(set.to_string(), load(sets, source).await);
    }
    let copy = |set: &str| {
        let table = &tables[set];
        Table { receipts: table.receipts.clone(), labels: table.labels.clone() }
    };
    let compared = assert_examples_equal(copy);
    assert!(compared > 900, "{compared}");
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_of_the_table_read_by_its_indexes_equal_the_loaders_with_noise_in_it_too() {
    compare([("receipts", &["receipts"], Source::Indexes), ("edge", &["edge", "noise"], Source::Indexes)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_of_the_table_read_by_a_scan_equal_the_loaders_with_noise_in_it_too() {
    compare([("receipts", &["receipts"], Source::Scan), ("edge", &["edge", "noise"], Source::Scan)]).await;
}

//! Loading from an export of the table in S3.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use layoutlm_aws::AwsError;
use layoutlm_aws::load::{LoadOptions, Loaded, Source};
use layoutlm_emulators::Faults;
use serde_json::{Value, json};

use crate::support::{BUCKET, Stand, Store, fixture};

const FOLDER: &str = "exports/AWSDynamoDB/01763000000000-a1b2c3d4";

/// Writes an export of the items in files of 700, as DynamoDB does.
fn export(store: &Store, items: &[Value]) {
    let put = |key: &str, bytes: &[u8]| {
        let path = store.s3.object(BUCKET, &format!("{FOLDER}/{key}"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let mut manifest = String::new();
    for (i, chunk) in items.chunks(700).enumerate() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        for item in chunk {
            writeln!(gzip, "{}", json!({ "Item": item })).unwrap();
        }
        put(&format!("data/part{i}.json.gz"), &gzip.finish().unwrap());
        let key = format!("{FOLDER}/data/part{i}.json.gz");
        manifest += &json!({"itemCount": chunk.len(), "md5Checksum": "", "etag": "", "dataFileS3Key": key})
            .to_string();
        manifest.push('\n');
    }
    put("manifest-files.json", manifest.as_bytes());
    let summary = json!({"version": "2020-06-30", "outputFormat": "DYNAMODB_JSON", "itemCount": items.len()});
    put("manifest-summary.json", summary.to_string().as_bytes());
}

async fn load(store: &Store) -> Result<Loaded, AwsError> {
    let source = Source::Export(format!("s3://{BUCKET}/{FOLDER}").parse().unwrap());
    LoadOptions { source, ..LoadOptions::default() }.load(&store.aws, "unused", &|_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_what_the_table_holds() {
    let Some(stand) = Stand::with(&["receipts", "edge", "noise"]).await else { return };
    let by_index = stand.load(&LoadOptions::default()).await.unwrap();
    let store = Store::empty().await;
    let items = ["receipts", "edge", "noise"].map(|name| fixture(name).unwrap()).concat();
    export(&store, &items);
    assert_eq!(load(&store).await.unwrap().receipts, by_index.receipts);
    store.proxy.set(Faults { throttle: 0.3, cut: 0.2, ..Faults::default() });
    assert_eq!(load(&store).await.unwrap().receipts, by_index.receipts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_short_or_damaged_is_refused_by_name() {
    let Some(items) = fixture("edge") else { return };
    let store = Store::empty().await;
    export(&store, &items);
    let data = store.s3.object(BUCKET, &format!("{FOLDER}/data/part0.json.gz"));
    let whole = std::fs::read(&data).unwrap();
    std::fs::write(&data, &whole[..whole.len() / 2]).unwrap();
    let text = load(&store).await.unwrap_err().to_string();
    assert!(text.contains("data/part0.json.gz:") && text.contains("export again"), "{text}");

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    writeln!(gzip, "{}", json!({ "Item": items[0] })).unwrap();
    std::fs::write(&data, gzip.finish().unwrap()).unwrap();
    let text = load(&store).await.unwrap_err().to_string();
    assert!(text.contains("holds 1 items, the manifest says 700"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_another_format_is_refused() {
    let Some(items) = fixture("edge") else { return };
    let store = Store::empty().await;
    export(&store, &items);
    let summary = store.s3.object(BUCKET, &format!("{FOLDER}/manifest-summary.json"));
    std::fs::write(&summary, r#"{"outputFormat": "ION"}"#).unwrap();
    let text = load(&store).await.unwrap_err().to_string();
    assert!(text.contains("format is ION; export as DYNAMODB_JSON"), "{text}");
}

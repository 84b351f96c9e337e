//! Objects up and down, through faults, and never twice.

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_aws::Fault;
use layoutlm_aws::s3::{Fetch, RunPlace, RunSync, S3Uri, fetch_model, newest_model, resolve_latest};
use layoutlm_emulators::Faults;

use crate::support::{BUCKET, Store};

/// Bytes without repeats.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}

/// A run's folder with a big and small files.
fn run_folder(big: usize) -> tempfile::TempDir {
    let run = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = run.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    put("checkpoint-5/model.safetensors", &noise(big));
    put("checkpoint-5/config.json", b"{}");
    put("best/model.safetensors", &noise(1000));
    put("receipts/epoch-1/receipt-a-1.json", b"{}");
    put("run.json", b"{}");
    put(".stray.tmp", b"x");
    run
}

fn place() -> RunPlace {
    RunPlace::new(BUCKET, "job-1").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_lands_under_the_prefixes_that_readers_know_and_is_sent_once() {
    let store = Store::empty().await;
    let run = run_folder(100);
    let mut sync = RunSync::new(&store.aws, place(), run.path()).unwrap();
    RunSync::set_aside(run.path(), &run.path().join("checkpoint-5")).unwrap();
    assert_eq!(sync.checkpoints().await.unwrap().files, 2);
    assert_eq!(sync.checkpoints().await.unwrap().files, 0, "what was sent waits no longer");
    assert_eq!(sync.records().await.unwrap().files, 2);
    let first = sync.finish().await.unwrap();
    assert_eq!(
        store.s3.keys(BUCKET),
        [
            "runs/job-1/best/model.safetensors",
            "runs/job-1/checkpoint-5/config.json",
            "runs/job-1/checkpoint-5/model.safetensors",
            "runs/job-1/checkpoints/checkpoint-5/config.json",
            "runs/job-1/checkpoints/checkpoint-5/model.safetensors",
            "runs/job-1/receipts/epoch-1/receipt-a-1.json",
            "runs/job-1/run.json",
        ]
    );
    assert_eq!((first.files, first.unchanged), (3, 2));
    let again = RunSync::new(&store.aws, place(), run.path()).unwrap().finish().await.unwrap();
    assert_eq!((again.files, again.unchanged), (0, 5), "a new process knows what is there");
    std::fs::write(run.path().join("run.json"), b"{\"epoch_metrics\": []}").unwrap();
    assert_eq!(sync.records().await.unwrap().files, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn big_files_go_up_in_parts_and_come_down_whole_through_faults() {
    let store = Store::empty().await;
    let run = run_folder(40 << 20);
    store.proxy.set(Faults {
        throttle: 0.2,
        server_error: 0.1,
        drop_before: 0.1,
        cut: 0.2,
        ..Faults::default()
    });
    let mut sync = RunSync::new(&store.aws, place(), run.path()).unwrap();
    RunSync::set_aside(run.path(), &run.path().join("checkpoint-5")).unwrap();
    sync.checkpoints().await.unwrap();
    let down = tempfile::tempdir().unwrap();
    let bucket = store.aws.bucket(BUCKET);
    let prefix = place().checkpoint("checkpoint-5").key;
    let done = bucket.download_all(&prefix, down.path(), &Fetch::default()).await.unwrap();
    assert_eq!(done.files, 2);
    let file = |root: &Path, name: &str| std::fs::read(root.join(name)).unwrap();
    assert!(
        file(down.path(), "model.safetensors") == file(run.path(), "checkpoint-5/model.safetensors"),
        "40 MiB came back changed"
    );
    for fault in ["throttle", "server_error", "drop_before", "cut"] {
        assert!(store.proxy.count(fault) > 0, "no {fault}: {:?}", store.proxy.counts());
    }
    let again = bucket.download_all(&prefix, down.path(), &Fetch::default()).await.unwrap();
    assert_eq!((again.files, again.unchanged), (0, 2), "what is there with the right hash is not fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_cut_short_goes_on_with_the_parts_that_are_missing() {
    let store = Store::empty().await;
    let run = run_folder(60 << 20);
    let mut sync = RunSync::new(&store.aws, place(), run.path()).unwrap();
    store.proxy.set(Faults { down_after: Some(5), ..Faults::default() });
    RunSync::set_aside(run.path(), &run.path().join("checkpoint-5")).unwrap();
    // Pruned while it waits.
    std::fs::remove_dir_all(run.path().join("checkpoint-5")).unwrap();
    let error = sync.checkpoints().await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Unreachable));
    let text = error.to_string();
    assert!(text.contains("UploadPart on s3://layoutlm-training/runs/job-1/checkpoints/"), "{text}");
    drop(sync);

    store.proxy.set(Faults::default());
    let before = store.proxy.count("ok");
    let mut sync = RunSync::new(&store.aws, place(), run.path()).unwrap();
    sync.checkpoints().await.unwrap();
    let requests = store.proxy.count("ok") - before;
    assert!(requests < 8, "{requests} requests: parts that S3 has were sent again");
    let object = store.s3.object(BUCKET, "runs/job-1/checkpoints/checkpoint-5/model.safetensors");
    assert!(std::fs::read(object).unwrap() == noise(60 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_another_hash_is_never_given_its_name() {
    let store = Store::empty().await;
    store.aws.bucket(BUCKET).write("m/a.bin", b"changed", "text/plain").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fetch = Fetch { sha256: BTreeMap::from([("a.bin".into(), "00".repeat(32))]) };
    let error = store.aws.bucket(BUCKET).download_all("m/", folder.path(), &fetch).await.unwrap_err();
    assert!(error.to_string().contains("s3://layoutlm-training/m/a.bin: its SHA-256 is"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_run_wins_with_its_best_model_or_its_last_checkpoint() {
    let store = Store::empty().await;
    let bucket = store.aws.bucket(BUCKET);
    let runs: S3Uri = format!("s3://{BUCKET}/runs/").parse().unwrap();
    let none = newest_model(&store.aws, &runs).await.unwrap_err();
    assert!(none.to_string().contains("a run below s3://layoutlm-training/runs/"), "{none}");
    let put = |key: &'static str, seconds: u64| {
        let (bucket, path) = (bucket.clone(), store.s3.object(BUCKET, key));
        async move {
            bucket.write(key, b"w", "application/octet-stream").await.unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_763_000_000 + seconds);
            std::fs::File::open(path).unwrap().set_modified(time).unwrap();
        }
    };
    put("runs/old/best/model.safetensors", 1).await;
    put("runs/new/checkpoints/checkpoint-5/model.safetensors", 10).await;
    put("runs/new/checkpoints/checkpoint-10/model.safetensors", 20).await;
    let latest = |path: &str| {
        let uri: S3Uri = format!("s3://{BUCKET}/{path}").parse().unwrap();
        let aws = store.aws.clone();
        async move { resolve_latest(&aws, &uri).await.unwrap().key }
    };
    assert_eq!(latest("runs/latest").await, "runs/new/checkpoints/checkpoint-10/");
    put("runs/new/best/model.safetensors", 15).await;
    assert_eq!(latest("runs/latest/").await, "runs/new/best/");
    assert_eq!(latest("runs/latest/bundle/").await, "runs/new/bundle/");
    assert_eq!(latest("runs/old/best/").await, "runs/old/best/");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_comes_with_its_run_and_without_what_only_training_needs() {
    let store = Store::empty().await;
    let run = run_folder(100);
    std::fs::write(run.path().join("validation.jsonl"), "").unwrap();
    std::fs::write(run.path().join("best/trainer_state.safetensors"), "moments").unwrap();
    RunSync::new(&store.aws, place(), run.path()).unwrap().finish().await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    let fetch = |path: &str| {
        let uri: S3Uri = format!("s3://{BUCKET}/{path}").parse().unwrap();
        let (aws, cache) = (store.aws.clone(), cache.path().to_path_buf());
        async move { fetch_model(&aws, &uri, &cache).await }
    };
    let best = fetch("runs/job-1").await.unwrap();
    assert!(best.ends_with("best") && best.join("model.safetensors").is_file());
    assert!(!best.join("trainer_state.safetensors").exists());
    for name in ["run.json", "validation.jsonl"] {
        assert!(best.parent().unwrap().join(name).is_file(), "{name}");
    }
    assert_eq!(fetch("runs/latest/best").await.unwrap(), best);
    assert!(fetch("runs/job-1/checkpoint-5/").await.unwrap().ends_with("checkpoint-5"));
    let error = fetch("runs/job-1/receipts/").await.unwrap_err();
    assert!(error.to_string().contains("expected a bundle (manifest.json)"), "{error}");
}

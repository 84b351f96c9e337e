//! The trainer image in a real engine: SageMaker's contract, SIGTERM, and a mistake. `make docker-trainer` builds the image
//! and runs this; a card is the host's business, so training here is on the processor.
// Helpers of tests may fail the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use layoutlm_tests::docker::{docker, try_docker};
use serde_json::{Value, json};
use tempfile::TempDir;

fn image() -> String {
    std::env::var("LAYOUTLM_TRAINER_IMAGE").unwrap_or_else(|_| "layoutlm-trainer:latest".into())
}

/// What SageMaker mounts as `/opt/ml`: made-up receipts and hyperparameters.
fn opt_ml(hyperparameters: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (folder.path().join("input/config"), folder.path().join("input/data/training"));
    for sub in [&config, &data] {
        fs::create_dir_all(sub).unwrap();
    }
    fs::write(config.join("hyperparameters.json"), hyperparameters.to_string()).unwrap();
    let synth =
        "data synth --output /opt/ml/input/data/training --train 60 --validation 12 --test 12 --merchants 20";
    let made = in_image(folder.path(), &synth.split(' ').collect::<Vec<_>>());
    assert!(made.status.success(), "{}", text(&made));
    folder
}

/// Runs the image's program over `folder` as `/opt/ml`.
fn in_image(folder: &Path, command: &[&str]) -> Output {
    let mount = format!("{}:/opt/ml", folder.display());
    let image = image();
    let mut arguments = vec!["run", "--rm", "-v", &mount, &image];
    arguments.extend(command);
    try_docker(&arguments)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

fn small(more: Value) -> Value {
    let mut all = json!({
        "job_name": "image", "epochs": "1", "batch_size": "8",
        "no_frozen_val": "true", "scratch_hidden": "64", "scratch_layers": "1",
        "scratch_vocab": "300",
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[test]
fn the_program_was_built_for_cards_and_says_so() {
    let help = docker(&["run", "--rm", &image(), "train", "--help"]);
    assert!(help.contains("--device"), "{help}");
    let folder = opt_ml(&small(json!({"device": "cuda"})));
    let output = in_image(folder.path(), &["train"]);
    let said = text(&output);
    // Built without CUDA it would exit with 2 and say that.
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("driver"), "{said}");
    assert!(!said.contains("built without CUDA"), "{said}");
}

#[test]
fn sagemaker_starts_train_and_finds_a_model() {
    let folder = opt_ml(&small(json!({})));
    let output = in_image(folder.path(), &["train"]);
    assert!(output.status.success(), "{}", text(&output));
    for file in ["run.json", "best/model.safetensors"] {
        assert!(folder.path().join("model").join(file).is_file(), "{file}: {}", text(&output));
    }
}

#[test]
fn a_mistake_is_a_sentence_in_the_failure_file() {
    let folder = opt_ml(&small(json!({"epochs": "none"})));
    let output = in_image(folder.path(), &["train"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(!folder.path().join("model").join("run.json").exists());
    let failure = fs::read_to_string(folder.path().join("output/failure")).unwrap();
    assert!(failure.contains("--epochs") && failure.contains("none"), "{failure}");
}

#[test]
fn a_stop_ends_it_with_its_state_kept() {
    let folder = opt_ml(&small(json!({"epochs": "2000"})));
    let mount = format!("{}:/opt/ml", folder.path().display());
    let id = docker(&["run", "-d", "-v", &mount, &image(), "train"]);
    let checkpoint = || {
        let all = docker(&["exec", &id, "find", "/opt/ml", "-name", "trainer_state.json"]);
        (!all.is_empty()).then_some(all)
    };
    let until = Instant::now() + Duration::from_secs(120);
    while checkpoint().is_none() {
        assert!(Instant::now() < until, "{}", docker(&["logs", &id]));
        std::thread::sleep(Duration::from_millis(200));
    }
    let begun = Instant::now();
    docker(&["stop", "--time", "30", &id]);
    let took = begun.elapsed();
    let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", &id]);
    let logs = text(&try_docker(&["logs", &id]));
    docker(&["rm", "-f", &id]);
    assert_eq!(code, "130", "{logs}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

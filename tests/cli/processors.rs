//! The program on processors that lack what this one has: kernels are picked at run time, results stay the same.
//!
//! Emulated by `qemu-x86_64`. Where that is missing the test says so and is skipped, but fails in CI.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{arg, ok, small_run, stderr, synthesise};

const EMULATOR: &str = "qemu-x86_64";

fn emulator_is_there() -> bool {
    let there = cfg!(target_arch = "x86_64") && Command::new(EMULATOR).arg("--version").output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "{EMULATOR} is not installed (Debian: qemu-user)");
    if !there {
        eprintln!("skipped: {EMULATOR} is not installed");
    }
    there
}

/// Mean loss of each epoch of the run in a folder.
fn losses(runs: &Path) -> Vec<f64> {
    let record = std::fs::read(runs.join("small/run.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let epochs = record["epoch_metrics"].as_array().unwrap().iter();
    epochs.map(|epoch| epoch["train_loss"].as_f64().unwrap()).collect()
}

#[test]
fn processors_without_wide_vectors_train_to_the_same_losses() {
    if !emulator_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    synthesise(&data, 12);
    let runs = |name: &str| folder.path().join(name);
    ok(&small_run(arg(&data), arg(&runs("here"))));
    let expected = losses(&runs("here"));
    assert_eq!(expected.len(), 3);
    // AVX2 without AVX-512; neither.
    for processor in ["Haswell", "Nehalem"] {
        let mut emulated = Command::new(EMULATOR);
        emulated.args(["-cpu", processor, env!("CARGO_BIN_EXE_layoutlm-cli")]);
        let output = emulated.args(small_run(arg(&data), arg(&runs(processor)))).output().unwrap();
        assert!(output.status.success(), "{processor}: {}", stderr(&output));
        for (found, expected) in losses(&runs(processor)).iter().zip(&expected) {
            assert!((found / expected - 1.0).abs() < 1e-4, "{processor}: {found}, here {expected}");
        }
    }
}

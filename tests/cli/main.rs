//! The command line as a user meets it: real processes, real files, exit codes and sentences.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // A test fails by panicking.

mod audit;
mod aws;
mod data;
mod evaluation;
mod flags;
mod inputs;
mod labels;
mod parallel;
mod predict;
mod processors;
mod resume;
mod runs;
mod sweep;
mod training;

use std::path::Path;
use std::process::{Command, Output};

/// The program with the environment's own settings taken away.
fn cli() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layoutlm-cli"));
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("LAYOUTLM_")) {
        command.env_remove(name);
    }
    command.env_remove("WORLD_SIZE");
    command
}

/// Runs the program to its end.
fn run(args: &[&str]) -> Output {
    cli().args(args).output().unwrap()
}

/// Runs the program and expects success.
fn ok(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program and expects an exit code; gives what it said.
fn refused(args: &[&str], code: i32) -> String {
    let output = run(args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    said
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A path as an argument.
fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Makes a small synthetic data set in a folder.
fn synthesise(folder: &Path, train: usize) {
    let train = train.to_string();
    ok(&[
        "data",
        "synth",
        "--output",
        arg(folder),
        "--train",
        &train,
        "--validation",
        "6",
        "--test",
        "6",
        "--merchants",
        "9",
    ]);
}

/// The flags of a training run that takes seconds.
fn small_run<'a>(data: &'a str, runs: &'a str) -> Vec<&'a str> {
    let scratch =
        ["--scratch-hidden", "16", "--scratch-layers", "1", "--scratch-heads", "2", "--scratch-vocab", "400"];
    let mut args =
        vec!["train", "--job-name", "small", "--data", data, "--output-dir", runs, "--batch-size", "4"];
    args.extend(scratch);
    args.extend(["--lr", "1e-3", "--merge-amounts", "--threads", "1", "--epochs", "3"]);
    args
}

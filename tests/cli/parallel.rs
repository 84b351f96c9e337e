//! One run in two real processes over loopback: the numbers of one process, one folder, and no wait for the dead.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use layoutlm_trainer::run::RunRecord;
use layoutlm_trainer::weights::{Weights, read_tensor_file};

use crate::{arg, cli, ok, small_run, stderr, synthesise};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Process `rank` of two, as torchrun would start it.
fn process(rank: usize, port: u16, args: &[&str]) -> Command {
    let mut command = cli();
    command
        .args(args)
        .env("RANK", rank.to_string())
        .env("LOCAL_RANK", rank.to_string())
        .env("WORLD_SIZE", "2")
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", port.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn pair(args: [&[&str]; 2]) -> [Child; 2] {
    let port = free_port();
    let [first, second] = args;
    [(0, first), (1, second)].map(|(rank, args)| process(rank, port, args).spawn().unwrap())
}

fn wait(children: [Child; 2]) -> [Output; 2] {
    children.map(|child| child.wait_with_output().unwrap())
}

fn newest(runs: &Path) -> (u64, Weights) {
    let step = |name: String| name.strip_prefix("checkpoint-")?.parse::<u64>().ok();
    let entries = fs::read_dir(runs.join("small")).unwrap();
    let newest = entries.filter_map(|e| step(e.unwrap().file_name().into_string().ok()?)).max().unwrap();
    let file = runs.join(format!("small/checkpoint-{newest}/model.safetensors"));
    (newest, read_tensor_file(&file).unwrap())
}

/// Norm of the difference as a share of the norm.
fn distance(a: &Weights, b: &Weights) -> f64 {
    let (mut apart, mut whole) = (0.0, 0.0);
    for (name, x) in a.iter() {
        for (x, y) in x.data.iter().zip(&b.get(name).unwrap().data) {
            apart += f64::from(x - y).powi(2);
            whole += f64::from(*x).powi(2);
        }
    }
    (apart / whole).sqrt()
}

/// A small run with dropout, R-Drop, weighted classes and an average.
fn flags<'a>(data: &'a str, runs: &'a str, accumulation: &'a str) -> Vec<&'a str> {
    let mut args = small_run(data, runs);
    args.extend(["--dropout", "0.1", "--r-drop", "0.5", "--class-weights", "balanced", "--ema-decay", "0.9"]);
    args.extend(["--device", "cpu", "--gradient-accumulation-steps", accumulation]);
    args
}

#[test]
fn two_processes_train_as_one_with_the_same_global_batch() {
    let folder = tempfile::tempdir().unwrap();
    let [data, alone, together] = ["data", "alone", "together"].map(|name| folder.path().join(name));
    synthesise(&data, 40);
    ok(&flags(arg(&data), arg(&alone), "4"));
    let args = flags(arg(&data), arg(&together), "2");
    for output in wait(pair([&args, &args])) {
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let ((steps, one), (same, two)) = (newest(&alone), newest(&together));
    assert_eq!(steps, same);
    let apart = distance(&one, &two);
    assert!(apart < 1e-5, "{apart}");
    let [one, two] = [&alone, &together].map(|runs| RunRecord::read(&runs.join("small")).unwrap());
    assert_eq!((one.hardware.world_size, two.hardware.world_size), (1, 2));
    for (a, b) in one.epoch_metrics.iter().zip(&two.epoch_metrics) {
        assert_eq!(a.get("f1"), b.get("f1"));
        assert!((a.train_loss / b.train_loss - 1.0).abs() < 1e-5);
    }
    // One process alone goes on from where both ended: nothing is left to do, and nothing differs.
    ok(&flags(arg(&data), arg(&together), "4"));
    assert_eq!(newest(&together).0, steps);
}

#[test]
fn a_killed_process_ends_the_other_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let [data, runs] = ["data", "runs"].map(|name| folder.path().join(name));
    synthesise(&data, 40);
    for victim in [0, 1] {
        let _ = fs::remove_dir_all(&runs);
        let mut args = flags(arg(&data), arg(&runs), "1");
        args.extend(["--early-stopping-patience", "0"]);
        let first = args.iter().position(|a| *a == "--epochs").unwrap();
        args.drain(first..first + 2);
        args.extend(["--epochs", "500"]);
        let mut children = pair([&args, &args]);
        let deadline = Instant::now() + Duration::from_secs(120);
        while !runs.join("small/run.json").is_file() && Instant::now() < deadline {
            sleep(Duration::from_millis(20));
        }
        children[victim].kill().unwrap();
        let killed = Instant::now();
        let outputs = wait(children);
        assert!(killed.elapsed() < Duration::from_secs(30), "the other waited {:?}", killed.elapsed());
        let other = &outputs[1 - victim];
        let said = stderr(other);
        assert_eq!(other.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("error: rank {victim} is gone")), "{said}");
    }
}

#[test]
fn processes_with_other_flags_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let [data, runs] = ["data", "runs"].map(|name| folder.path().join(name));
    synthesise(&data, 12);
    let same = flags(arg(&data), arg(&runs), "1");
    let mut other = same.clone();
    other.extend(["--weight-decay", "0.5"]);
    let [first, second] = wait(pair([&same, &other]));
    assert_eq!((first.status.code(), second.status.code()), (Some(2), Some(2)), "{}", stderr(&first));
    assert!(stderr(&second).contains("--weight-decay"), "{}", stderr(&second));
}

#[test]
fn a_process_that_is_missing_a_variable_says_which() {
    let output =
        cli().args(["train", "--job-name", "a", "--data", "nowhere"]).env("WORLD_SIZE", "2").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("RANK is not set"), "{}", stderr(&output));
}

//! A run that is stopped, however roughly, ends with the weights of one that never was.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use layoutlm_trainer::model_folder::read_encoder;
use layoutlm_trainer::run::{EpochsRecord, RunRecord, load_moments, load_state};
use layoutlm_trainer::weights::read_tensor_file;
use serde_json::Value;

use crate::{arg, cli, ok, small_run, synthesise};

/// A file of the newest checkpoint.
fn newest(runs: &Path, file: &str) -> Vec<u8> {
    let run = runs.join("small");
    let newest = fs::read_dir(&run)
        .unwrap()
        .filter_map(|e| {
            e.unwrap().file_name().into_string().ok()?.strip_prefix("checkpoint-")?.parse::<u64>().ok()
        })
        .max()
        .unwrap();
    fs::read(run.join(format!("checkpoint-{newest}")).join(file)).unwrap()
}

/// What a run's record says of its results, times left out.
fn results(runs: &Path) -> Value {
    let mut record: Value =
        serde_json::from_str(&fs::read_to_string(runs.join("small/run.json")).unwrap()).unwrap();
    for epoch in record["epoch_metrics"].as_array_mut().unwrap() {
        let timed = |name: &String| {
            ["train_seconds", "eval_runtime", "eval_samples_per_second"].contains(&name.as_str())
        };
        epoch.as_object_mut().unwrap().retain(|name, _| !timed(name));
    }
    serde_json::json!([record["epoch_metrics"], record["best"], record["status"]])
}

/// A small run with everything that has a state of its own.
fn stateful<'a>(data: &'a str, runs: &'a str) -> Vec<&'a str> {
    let mut args = small_run(data, runs);
    args.extend(["--ema-decay", "0.9", "--r-drop", "0.5", "--dropout", "0.1", "--label-smoothing", "0.1"]);
    args.extend([
        "--class-weights",
        "balanced",
        "--layer-lr-decay",
        "0.9",
        "--gradient-accumulation-steps",
        "2",
    ]);
    args
}

fn start(args: &[&str]) -> Child {
    cli().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let status =
        std::process::Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Every file that carries its final name is whole: checkpoints with all their tensors, `best/`, both records.
fn check_state(runs: &Path) {
    let run = runs.join("small");
    let Ok(entries) = fs::read_dir(&run) else { return };
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name().into_string().unwrap(), entry.path());
        if name.starts_with("checkpoint-") || name == "best" {
            let state = load_state(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
            if name != "best" {
                load_moments(&path, &state).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            read_tensor_file(&path.join("model.safetensors")).unwrap_or_else(|e| panic!("{name}: {e}"));
            read_encoder(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        match name.as_str() {
            "run.json" => drop(RunRecord::read(&run).unwrap()),
            "epochs.json" => drop(EpochsRecord::read(&run).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn killed_at_random_moments_it_ends_with_the_same_weights_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    synthesise(&data, 40);
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let started = Instant::now();
    ok(&stateful(arg(&data), arg(&whole)));
    let took = started.elapsed();

    let args = stateful(arg(&data), arg(&broken));
    let mut kills = 0;
    // Moments spread over the run by the golden ratio: dense everywhere, the same on every machine.
    for round in 1..=20u32 {
        let mut child = start(&args);
        // Early in what is left, as every restart goes on from the last checkpoint and has less to do.
        sleep(took.mul_f64(0.3 * (f64::from(round) * 0.618_033_988_75).fract()));
        if round % 4 == 0 {
            signal(&child, "TERM");
        } else {
            let _ = child.kill();
        }
        let done = child.wait().unwrap().success();
        kills += usize::from(!done);
        check_state(&broken);
        if done {
            // Nothing is left in it to be stopped: begin anew.
            fs::remove_dir_all(&broken).unwrap();
        }
    }
    assert!(kills >= 5, "only {kills} of 20 were stopped before they ended");
    ok(&args);
    for file in ["model.safetensors", "trainer_state.safetensors"] {
        assert_eq!(newest(&whole, file), newest(&broken, file), "{file} differs after {kills} interruptions");
    }
    let best = |runs: &Path| fs::read(runs.join("small/best/model.safetensors")).unwrap();
    assert_eq!(best(&whole), best(&broken));
    assert_eq!(results(&whole), results(&broken));
    let evaluation = |runs: &Path| fs::read_to_string(runs.join("small/evaluation.json")).unwrap();
    assert_eq!(evaluation(&whole), evaluation(&broken));
}

#[test]
fn sigterm_saves_the_state_and_exits_130_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    synthesise(&data, 40);
    let mut args = small_run(arg(&data), arg(&runs));
    args.extend(["--epochs", "500", "--early-stopping-patience", "0"]);
    // The flag given last counts, so the epochs of the small run are dropped first.
    let first = args.iter().position(|a| *a == "--epochs").unwrap();
    args.drain(first..first + 2);
    let mut child = start(&args);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !runs.join("small/run.json").is_file() && Instant::now() < deadline {
        sleep(Duration::from_millis(20));
    }
    signal(&child, "TERM");
    let asked = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(20), "took {:?}", asked.elapsed());
    check_state(&runs);
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(runs.join("small/run.json")).unwrap()).unwrap();
    assert_eq!(record["status"], "interrupted");
}

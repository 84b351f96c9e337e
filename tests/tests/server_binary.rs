//! `layoutlm-server` as a container runs it: ready, healthy, stopped by a signal.
// Helpers of tests may fail the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::client::Client;

/// The program beside this test's own file; built here when only this crate was.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().nth(2).unwrap();
    let program = folder.join("layoutlm-server");
    if !program.is_file() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "-p", "layoutlm-inference", "--bin", "layoutlm-server"]);
        build.args((folder.file_name().unwrap() == "release").then_some("--release"));
        assert!(build.status().unwrap().success());
    }
    program
}

/// A started server and where it listens.
fn start(bundle: &Path) -> (Child, SocketAddr) {
    let (child, address, _) = start_as(Command::new(program()).args(["--workers", "2"]), bundle, "off");
    (child, address)
}

/// What a server writes to stderr once it is ready; read all the time, as a full pipe would hold it up.
type Log = JoinHandle<String>;

/// A server started in some way, where it listens, and its log.
#[allow(clippy::zombie_processes)] // The caller waits for it.
fn start_as(command: &mut Command, bundle: &Path, log: &str) -> (Child, SocketAddr, Log) {
    command.args(["--port", "0", "--bundle"]).arg(bundle).env("RUST_LOG", log);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
        if let Some(address) = line.trim().strip_prefix("layoutlm-server: ready at http://") {
            let address = address.parse().unwrap();
            let rest = std::thread::spawn(move || {
                let mut rest = String::new();
                stderr.read_to_string(&mut rest).unwrap();
                rest
            });
            return (child, address, rest);
        }
    }
}

/// CPU seconds a process has used.
fn cpu_seconds(child: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// Tells a server to stop and returns its log.
fn end(mut child: Child, log: Log) -> String {
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    log.join().unwrap()
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

#[test]
fn it_becomes_ready_is_healthy_and_stops_with_0_on_sigterm_and_sigint() {
    let bundle = TestBundle::small();
    for name in ["-TERM", "-INT"] {
        let (mut child, address) = start(&bundle.path());
        let health = Command::new(program())
            .args(["healthcheck", "--address", &address.to_string()])
            // Variables of the server itself, as in its container, are no business of the check.
            .env("ORT_DYLIB_PATH", "/elsewhere")
            .env("LAYOUTLM_THREADS", "1")
            .status()
            .unwrap();
        let receipt = r#"{"words":[{"text":"Total","box":[0,0,10,10]}]}"#;
        let answer = Client::new(address).post("/v1/classify", receipt);
        let told = Instant::now();
        signal(&child, name);
        let status = child.wait().unwrap();
        assert!(health.success());
        assert_eq!(answer.status, 200);
        assert_eq!(status.code(), Some(0), "{name}");
        assert!(told.elapsed() < Duration::from_secs(5), "an idle connection held up the end");
    }
}

#[test]
fn an_idle_server_uses_no_cpu() {
    let bundle = TestBundle::small();
    let (mut child, address) = start(&bundle.path());
    Client::new(address).post("/v1/classify", RECEIPT);
    std::thread::sleep(Duration::from_millis(500));
    let before = cpu_seconds(&child);
    std::thread::sleep(Duration::from_secs(3));
    let used = cpu_seconds(&child) - before;
    signal(&child, "-TERM");
    child.wait().unwrap();
    assert!(used <= 0.1, "{used} s of CPU in 3 s of idleness");
}

#[test]
fn workers_and_threads_are_as_many_as_the_process_has_cores() {
    let bundle = TestBundle::small();
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", "0"]).arg(program());
    let (child, address, log) = start_as(&mut pinned, &bundle.path(), "off");
    let runtime = Client::new(address).get("/v1/model").json()["runtime"].clone();
    end(child, log);
    assert_eq!((runtime["workers"].as_u64(), runtime["threads"].as_u64()), (Some(1), Some(1)), "{runtime}");
}

const RECEIPT: &str =
    r#"{"words":[{"text":"Xylophone","box":[0,0,10,10]},{"text":"4711.08","box":[20,0,40,10]}]}"#;

#[test]
fn the_log_holds_no_text_of_a_receipt_unless_asked_to() {
    let bundle = TestBundle::small();
    for (flags, expected) in [(&[][..], false), (&["--log-content"][..], true)] {
        let (child, address, log) = start_as(Command::new(program()).args(flags), &bundle.path(), "trace");
        let client = Client::new(address);
        assert_eq!(client.post("/v1/classify", RECEIPT).status, 200);
        // Refusals must not give words away either.
        assert_eq!(client.post("/v1/classify", RECEIPT.replace("10,10", "10,\"Xylophone\"")).status, 422);
        let log = end(child, log);
        assert_eq!(log.contains("Xylophone") && log.contains("4711.08"), expected, "{log}");
        assert_eq!(log.contains("Xylophone") || log.contains("4711.08"), expected, "{log}");
        for line in log.lines() {
            let value: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(value["timestamp"].is_string() && value["level"].is_string(), "{line}");
        }
        assert!(log.contains("\"trace_id\""), "{log}");
    }
}

#[test]
fn a_hangup_loads_the_bundle_again() {
    let bundle = TestBundle::small();
    let mut command = Command::new(program());
    command.args(["--workers", "1", "--reload-seconds", "0"]);
    let (child, address, log) = start_as(&mut command, &bundle.path(), "off");
    let taken = || {
        let text = Client::new(address).get("/metrics").text;
        let line = text.lines().find_map(|l| l.strip_prefix("layoutlm_reloads_total{outcome=\"taken\"} "));
        line.map_or(0, |n| n.parse::<u32>().unwrap())
    };
    assert_eq!(taken(), 1);
    signal(&child, "-HUP");
    let begun = Instant::now();
    while taken() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "never loaded again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(Client::new(address).post("/v1/classify", RECEIPT).status, 200);
    end(child, log);
}

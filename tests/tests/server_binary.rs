//! `layoutlm-server` as a container runs it: ready, healthy, stopped by a signal.
// Helpers of tests may fail the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
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
fn start(bundle: &TestBundle) -> (Child, SocketAddr) {
    let mut command = Command::new(program());
    command.args(["--port", "0", "--workers", "2", "--bundle"]).arg(bundle.path()).env("RUST_LOG", "off");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    let address = line.trim().rsplit("http://").next().unwrap().parse();
    (child, address.unwrap_or_else(|_| panic!("not ready: {line}")))
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

#[test]
fn it_becomes_ready_is_healthy_and_stops_with_0_on_sigterm_and_sigint() {
    let bundle = TestBundle::small();
    for name in ["-TERM", "-INT"] {
        let (mut child, address) = start(&bundle);
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

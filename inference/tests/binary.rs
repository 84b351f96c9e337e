//! The program itself: exit codes and sentences that a person or a container sees before anything is served.
// Helpers of tests may fail the test.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn server(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layoutlm-server"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("LAYOUTLM_") || text == "ORT_DYLIB_PATH" {
            command.env_remove(&name);
        }
    }
    command.env("RUST_LOG", "off").args(arguments).output().unwrap()
}

/// Exit code and stderr.
fn outcome(arguments: &[&str]) -> (i32, String) {
    let output = server(arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_missing_library_is_one_sentence_and_exit_2() {
    let (code, text) =
        outcome(&["--bundle", "nowhere", "--port", "0", "--onnxruntime", "/nowhere/libonnxruntime.so"]);
    assert_eq!(code, 2, "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("/nowhere/libonnxruntime.so") && text.contains("make onnxruntime"), "{text}");
}

#[test]
fn a_file_that_is_no_library_is_one_sentence_and_exit_2() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let (code, text) = outcome(&["--bundle", "nowhere", "--port", "0", "--onnxruntime", manifest]);
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    assert!(text.contains("can't be loaded") && text.contains("make onnxruntime"), "{text}");
}

#[test]
fn a_port_in_use_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, text) = outcome(&["--bundle", "nowhere", "--port", &port]);
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    assert!(text.contains("can't listen on 127.0.0.1") && text.contains("--port"), "{text}");
}

#[test]
fn no_bundle_is_a_usage_error() {
    let (code, text) = outcome(&[]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("--bundle"), "{text}");
}

#[test]
fn a_healthcheck_of_nobody_fails_with_exit_1() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (code, text) = outcome(&["healthcheck", "--port", &free]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("no answer from 127.0.0.1"), "{text}");
}

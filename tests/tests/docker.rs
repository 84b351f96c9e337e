//! The server image in a real engine: what is in it, and how it lives within a container's limits. `make docker-test`
//! builds the image and runs this.
// Helpers of tests may fail the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::docker::{CONFINED, Container, Image, docker, server_image, try_docker};
use layoutlm_tests::receipt::receipt;
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);

static BUNDLE: LazyLock<TestBundle> = LazyLock::new(TestBundle::small);

/// An image with the small model. Tests run side by side and share its layers.
fn image() -> Image {
    Image::with_bundle(&BUNDLE.path())
}

fn labels(answer: &Value) -> Vec<String> {
    answer["words"].as_array().unwrap().iter().map(|w| w["label"].as_str().unwrap().to_string()).collect()
}

/// The log line that says what is served.
fn ready_line(container: &Container) -> Value {
    let logs = container.logs();
    let lines = logs.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    lines.into_iter().find(|l| l["message"] == "ready").unwrap_or_else(|| panic!("no ready line in {logs}"))
}

#[test]
fn the_image_holds_60_mb_at_most_when_compressed() {
    let script = format!("set -o pipefail; docker save {} | gzip -6 | wc -c", server_image());
    let output = Command::new("bash").args(["-c", &script]).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let bytes: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    eprintln!("{} compressed: {:.1} MB", server_image(), bytes as f64 / 1e6);
    assert!((5_000_000..=60_000_000).contains(&bytes), "{bytes} bytes");
}

#[test]
fn the_image_names_its_user_entry_point_health_check_and_origin() {
    let found: Value = serde_json::from_str(&docker(&["image", "inspect", &server_image()])).unwrap();
    let config = &found[0]["Config"];
    assert_eq!(config["User"], "10001:10001");
    assert_eq!(config["Entrypoint"], json!(["/usr/local/bin/layoutlm-server"]));
    assert_eq!(
        config["Healthcheck"]["Test"],
        json!(["CMD", "/usr/local/bin/layoutlm-server", "healthcheck"])
    );
    assert_eq!(config["StopSignal"], "SIGTERM");
    for label in ["title", "version", "revision", "licenses", "created"] {
        let value = config["Labels"][format!("org.opencontainers.image.{label}")].as_str().unwrap();
        assert!(!value.is_empty() && value != "unknown" && value != "dev", "{label} is {value:?}");
    }
}

#[test]
fn the_image_has_no_shell_and_nothing_that_raises_privileges() {
    for shell in ["/bin/sh", "/bin/bash", "/bin/busybox", "/usr/bin/python3", "/usr/bin/apt-get"] {
        let output = try_docker(&["run", "--rm", "--entrypoint", shell, &server_image()]);
        assert_eq!(output.status.code(), Some(127), "{shell} starts");
    }
    let container = Created::of(&server_image());
    let listing = container.archive("/", &["-tv"]);
    let raised: Vec<&str> =
        listing.lines().filter(|l| l.get(3..7).is_some_and(|m| m.contains('s'))).collect();
    assert_eq!(raised, Vec::<&str>::new());
}

#[test]
fn the_package_list_names_every_crate_library_and_hash() {
    let text = Created::of(&server_image()).archive("/usr/share/sbom/layoutlm-server.cdx.json", &["-xO"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&list["bomFormat"], &list["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
    let components = list["components"].as_array().unwrap();
    let named: BTreeSet<(String, String)> = components
        .iter()
        .map(|c| (c["name"].as_str().unwrap().into(), c["version"].as_str().unwrap_or_default().into()))
        .collect();
    let absent: Vec<_> = compiled_in().into_iter().filter(|c| !named.contains(c)).collect();
    assert_eq!(absent, vec![]);
    for package in ["libc6", "libstdc++6", "libgcc-s1", "ca-certificates"] {
        let found =
            components.iter().find(|c| c["name"] == package).unwrap_or_else(|| panic!("no {package}"));
        assert!(found["purl"].as_str().unwrap().starts_with("pkg:deb/debian/"), "{found}");
    }
    let runtime = components.iter().find(|c| c["name"] == "onnxruntime").unwrap();
    assert_eq!(runtime["hashes"][0]["content"].as_str().unwrap().len(), 64);
}

/// Name and version of every crate that `cargo tree` says the server is built from.
fn compiled_in() -> Vec<(String, String)> {
    let features = std::env::var("LAYOUTLM_IMAGE_FEATURES").unwrap_or_default();
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "tree",
        "--locked",
        "-p",
        "layoutlm-inference",
        "-e",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]);
    command
        .args(["--features", &features, "--format", "{p}"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let crates = text.lines().filter_map(|line| {
        let mut parts = line.split_whitespace();
        Some((parts.next()?.to_string(), parts.next()?.trim_start_matches('v').to_string()))
    });
    let crates: BTreeSet<_> = crates.collect();
    assert!(crates.len() > 50, "{crates:?}");
    crates.into_iter().collect()
}

/// A container that never runs, to look into.
struct Created(String);

impl Created {
    fn of(image: &str) -> Self {
        Self(docker(&["create", image]))
    }

    /// What `tar` makes of a path of the image.
    fn archive(&self, path: &str, tar: &[&str]) -> String {
        let mut copy = Command::new("docker")
            .args(["cp", &format!("{}:{path}", self.0), "-"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Command::new("tar").args(tar).stdin(copy.stdout.take().unwrap()).output().unwrap();
        assert!(copy.wait().unwrap().success() && output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        let _ = try_docker(&["rm", "-v", &self.0]);
    }
}

#[test]
fn a_confined_container_labels_receipts_and_is_healthy() {
    let image = image();
    let container = Container::run(image.name(), &CONFINED, &[]);
    let client = container.wait_ready(MINUTE);
    let answer = client.classify(&receipt(40));
    assert_eq!(labels(&answer).len(), 40);
    assert!(labels(&answer).iter().any(|l| l != "O"));
    container.wait_health("healthy", MINUTE);
    assert_eq!(container.inspect("{{.State.OOMKilled}} {{.HostConfig.ReadonlyRootfs}}"), "false true");
}

#[test]
fn workers_follow_the_containers_share_of_the_processor() {
    let image = image();
    let container = Container::run(image.name(), &["--cpus", "1"], &[]);
    container.wait_ready(MINUTE);
    assert_eq!(ready_line(&container)["workers"], 1);
}

#[test]
fn sigterm_lets_requests_in_hand_finish_and_ends_with_0() {
    let image = image();
    let container = Container::run(image.name(), &CONFINED, &["--max-receipts", "512"]);
    let client = container.wait_ready(MINUTE);
    let many = Value::from(vec![receipt(700); 60]).to_string();
    let before = Instant::now();
    assert_eq!(client.post("/v1/classify", &many).status, 200);
    let usual = before.elapsed();
    let asking = thread::spawn(move || client.post("/v1/classify", many));
    thread::sleep(usual / 4);
    container.signal("TERM");
    let answer = asking.join().unwrap();
    let code = container.wait_exit(MINUTE);
    assert_eq!((answer.status, code), (200, 0), "{}", container.logs());
    assert_eq!(
        answer.json().as_array().map_or_else(|| answer.json()["results"].as_array().unwrap().len(), Vec::len),
        60
    );
}

#[test]
fn a_killed_or_restarted_container_comes_back_with_the_same_answers() {
    let image = image();
    let container = Container::run(image.name(), &CONFINED, &[]);
    let first = labels(&container.wait_ready(MINUTE).classify(&receipt(60)));
    container.signal("KILL");
    assert_eq!(container.wait_exit(MINUTE), 137);
    docker(&["start", container.id()]);
    assert_eq!(labels(&container.wait_ready(MINUTE).classify(&receipt(60))), first);
    docker(&["restart", "-t", "30", container.id()]);
    assert_eq!(labels(&container.wait_ready(MINUTE).classify(&receipt(60))), first);
}

//! Containers for tests, through the `docker` program of whatever engine `DOCKER_HOST` names.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;

/// What a task on Fargate with one vCPU is held to, and less.
pub const CONFINED: [&str; 14] = [
    "--memory",
    "512m",
    "--memory-swap",
    "512m",
    "--cpus",
    "1",
    "--read-only",
    "--user",
    "12345:12345",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--health-interval=1s",
];

/// The server image under test, without a model: `LAYOUTLM_IMAGE`, else `layoutlm-server:latest`.
pub fn server_image() -> String {
    std::env::var("LAYOUTLM_IMAGE").unwrap_or_else(|_| "layoutlm-server:latest".into())
}

/// Runs `docker` and hands out what came of it.
pub fn try_docker(arguments: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.args(arguments).env("DOCKER_BUILDKIT", "0").stdin(Stdio::null());
    command
        .output()
        .unwrap_or_else(|e| panic!("docker can't be run ({e}); `make docker-test` starts an engine"))
}

/// Runs `docker`, which must succeed; its stdout.
pub fn docker(arguments: &[&str]) -> String {
    let output = try_docker(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// An image made for one test; removed with the value.
pub struct Image(String);

impl Image {
    /// The server image with a bundle baked in by `docker/bundle.Dockerfile`.
    pub fn with_bundle(bundle: &Path) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("layoutlm-test-{}-{count}", std::process::id()), bundle)
    }

    /// The same under a name of one's own.
    pub fn named(name: &str, bundle: &Path) -> Self {
        let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker/bundle.Dockerfile");
        let base = format!("SERVER_IMAGE={}", server_image());
        let context = bundle.to_string_lossy();
        docker(&["build", "-q", "-f", recipe, "-t", name, "--build-arg", &base, &context]);
        Self(name.to_string())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = try_docker(&["rmi", "-f", &self.0]);
    }
}

/// A network of its own for containers that reach this machine; removed with the value.
pub struct Network(String);

impl Network {
    /// Makes one.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("layoutlm-test-{}-{count}", std::process::id());
        docker(&["network", "create", &name]);
        Self(name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// This machine's address in it.
    pub fn gateway(&self) -> IpAddr {
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        docker(&["network", "inspect", "--format", format, &self.0]).parse().unwrap()
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = try_docker(&["network", "rm", &self.0]);
    }
}

/// A container; removed with the value, running or not.
pub struct Container {
    id: String,
    started: Instant,
}

impl Container {
    /// `docker run` in the background, with port 8080 published on a free port of this machine. `DOCKER_RUN_OPTIONS` adds
    /// more options, such as `--cgroup-parent` on a machine whose other work takes processors away.
    pub fn run(image: &str, options: &[&str], command: &[&str]) -> Self {
        let started = Instant::now();
        let more = std::env::var("DOCKER_RUN_OPTIONS").unwrap_or_default();
        let mut arguments = vec!["run", "-d", "-p", "127.0.0.1::8080"];
        arguments.extend(more.split_whitespace());
        arguments.extend(options);
        arguments.push(image);
        arguments.extend(command);
        Self { id: docker(&arguments), started }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Time since `docker run` was called.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// A client of the published port, which a restart may change.
    pub fn client(&self) -> Client {
        let address = docker(&["port", &self.id, "8080/tcp"]);
        let first = address.lines().next().unwrap_or_default();
        Client::new(first.parse::<SocketAddr>().unwrap_or_else(|e| panic!("{e}: {address}\n{}", self.logs())))
    }

    /// A field of `docker inspect`.
    pub fn inspect(&self, format: &str) -> String {
        docker(&["inspect", "--format", format, &self.id])
    }

    /// Everything it said.
    pub fn logs(&self) -> String {
        let output = try_docker(&["logs", &self.id]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Waits until it answers `GET /health/ready` with 200.
    pub fn wait_ready(&self, limit: Duration) -> Client {
        let ready = |client: &Client| client.try_get("/health/ready").is_some_and(|a| a.status == 200);
        let client = self.client();
        self.wait_until("ready", limit, || ready(&client));
        client
    }

    /// Waits until the engine's own health check says `wanted`.
    pub fn wait_health(&self, wanted: &str, limit: Duration) {
        self.wait_until(wanted, limit, || self.inspect("{{.State.Health.Status}}") == wanted);
    }

    /// Its exit code, once it ended by itself within `limit`.
    pub fn wait_exit(&self, limit: Duration) -> i32 {
        let until = Instant::now() + limit;
        while self.is_running() {
            assert!(Instant::now() < until, "still running after {limit:?}: {}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.inspect("{{.State.ExitCode}}").parse().unwrap()
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.inspect("{{.State.Running}}") == "true"
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        docker(&["kill", "--signal", name, &self.id]);
    }

    fn wait_until(&self, what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + limit;
        while !holds() {
            assert!(self.is_running(), "it ended instead of being {what}: {}", self.logs());
            assert!(Instant::now() < until, "not {what} within {limit:?}: {}", self.logs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = try_docker(&["rm", "-f", "-v", &self.id]);
    }
}

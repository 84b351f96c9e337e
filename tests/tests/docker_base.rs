//! The server image with a base-size int8 model: what one vCPU and 512 MB are enough for, and what happens below.
//! `make docker-test-base` builds the image and runs this; it takes some minutes and wants a quiet machine.
// Helpers of tests may fail the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use layoutlm_exporter::VariantKind;
use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::docker::{Container, Image};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);

/// One image for all tests; made anew under the same name by every run.
static IMAGE: LazyLock<Image> =
    LazyLock::new(|| Image::named("layoutlm-test-base", &TestBundle::base(&[VariantKind::Int8]).path()));

/// A receipt of 100 words of three letters.
fn receipt() -> String {
    let words: Vec<Value> = (0..100)
        .map(|i| {
            let (x, y) = ((i % 5) * 100, (i / 5) * 20);
            json!({"line_id": i / 5, "word_id": i % 5, "text": "tax", "box": [x, y, x + 80, y + 15]})
        })
        .collect();
    json!({"image_id": "r", "receipt_id": 1, "width": 500, "height": 400, "words": words}).to_string()
}

fn limits(memory: &str, cpus: &str) -> Vec<String> {
    let fixed = ["--read-only", "--user", "12345:12345", "--cap-drop", "ALL", "--cpus", cpus];
    let memory = ["--memory", memory, "--memory-swap", memory];
    fixed.iter().chain(&memory).map(ToString::to_string).collect()
}

fn run(memory: &str, cpus: &str) -> Container {
    let limits = limits(memory, cpus);
    Container::run(IMAGE.name(), &limits.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

/// The most memory the server's process had at once, in MB.
fn peak_mb(container: &Container) -> f64 {
    let status = format!("/proc/{}/status", container.inspect("{{.State.Pid}}"));
    let text = std::fs::read_to_string(&status).unwrap();
    let line = text.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1000.0
}

/// `clients` callers, each asking again as soon as it is answered; receipts per second.
fn load(container: &Container, clients: usize, length: Duration) -> f64 {
    let begun = Instant::now();
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let client = container.client();
            thread::spawn(move || {
                let (body, mut answered) = (receipt(), 0);
                while begun.elapsed() < length {
                    let answer = client.post("/v1/classify", &body);
                    assert_eq!(answer.status, 200, "{}", answer.text);
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let answered: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    answered as f64 / begun.elapsed().as_secs_f64()
}

#[test]
fn the_first_answer_comes_within_two_seconds_of_docker_run() {
    LazyLock::force(&IMAGE);
    // The image's files are in the page cache after a first start, as after a pull.
    drop(run("512m", "1").wait_ready(MINUTE));
    let container = run("512m", "1");
    let client = container.wait_ready(MINUTE);
    let answer = client.post("/v1/classify", receipt());
    let first = container.age();
    assert_eq!(answer.status, 200, "{}", answer.text);
    let warm = (0..5).map(|_| {
        let begun = Instant::now();
        assert_eq!(client.post("/v1/classify", receipt()).status, 200);
        begun.elapsed()
    });
    let warm = warm.min().unwrap();
    eprintln!(
        "first answer {:.2} s after docker run, warm {:.0} ms",
        first.as_secs_f64(),
        warm.as_secs_f64() * 1e3
    );
    assert!(first <= Duration::from_secs(2), "first answer after {first:?}");
}

#[test]
fn memory_stays_within_512_mb_at_1_2_and_4_vcpus_under_load() {
    for cpus in ["1", "2", "4"] {
        let memory = if cpus == "1" { "512m" } else { "2g" };
        let container = run(memory, cpus);
        container.wait_ready(MINUTE);
        let rate = load(&container, 16, Duration::from_secs(8));
        let peak = peak_mb(&container);
        eprintln!("{cpus} vCPU of {}: {rate:.1} receipts/s, peak {peak:.0} MB", cores());
        assert!(container.is_running());
        assert!(peak <= 512.0, "{peak} MB at {cpus} vCPU");
    }
}

fn cores() -> usize {
    thread::available_parallelism().unwrap().get()
}

#[test]
fn half_the_memory_it_needs_is_a_clear_end_and_not_a_hang() {
    let needed = {
        let container = run("512m", "1");
        container.wait_ready(MINUTE).post("/v1/classify", receipt());
        peak_mb(&container)
    };
    let half = format!("{}m", (needed / 2.0) as u64);
    let container = run(&half, "1");
    let code = container.wait_exit(MINUTE);
    let killed = container.inspect("{{.State.OOMKilled}}");
    eprintln!("needs {needed:.0} MB; with {half}: exit code {code}, killed for memory: {killed}");
    assert!((code, killed.as_str()) == (137, "true") || code == 2, "exit code {code}, OOMKilled {killed}");
}

//! Twice what the server can do, for minutes, with clients that misbehave: it answers 200, 429 or 503, keeps its
//! memory and its promises.
//!
//! `soak --bundle DIR --receipts test.jsonl --seconds 600`. Exit code 3 where a promise is broken.
#![allow(clippy::print_stdout)] // The record is the product.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use layoutlm_benches::serve::load::{Target, closed, open};
use layoutlm_benches::serve::process::{Recipe, Server};
use layoutlm_benches::serve::summary::Summary;
use serde_json::json;

/// Overload a server and see that it keeps its promises
#[derive(Debug, Parser)]
struct Arguments {
    /// The server's program
    #[arg(long, default_value = "target/release/layoutlm-server")]
    server: PathBuf,
    /// Bundle to serve
    #[arg(long)]
    bundle: PathBuf,
    /// Variant of it
    #[arg(long)]
    variant: Option<String>,
    /// Receipts to ask for, one JSON object per line
    #[arg(long)]
    receipts: PathBuf,
    /// Seconds of overload
    #[arg(long, default_value_t = 600.0)]
    seconds: f64,
    /// Seconds a request may take: the server's own deadline, and the bound of p99
    #[arg(long, default_value_t = 10.0)]
    deadline: f64,
    /// Requests in hand that the server allows; more are refused
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Log of the server
    #[arg(long, default_value = "target/soak.log")]
    log: PathBuf,
}

/// Clients that send a byte of their headers now and then.
const LORIS: usize = 5;
/// Uploads that break off.
const ABORTED: usize = 100;
/// Between looks at the server's memory.
const BETWEEN_SAMPLES: Duration = Duration::from_millis(500);
/// Looks before the server counts as warm.
const WARMING: usize = 30;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let text = std::fs::read_to_string(&arguments.receipts).context("reading --receipts")?;
    let bodies: Vec<String> = text.lines().map(String::from).collect();
    let server = Server::start(&recipe(arguments)?, &arguments.log)?;
    let target = Target { address: server.address(), bodies: &bodies };
    let stretch = (arguments.seconds / 10.0).clamp(3.0, 15.0);
    closed(target, 16, stretch);
    let capacity = closed(target, 16, stretch);
    eprintln!("capacity {:.1} receipts/s, p99 {:.0} ms", capacity.per_second, capacity.p99_ms);
    if capacity.count(200) == 0 {
        bail!("the server answered {:?} {:?} at rest", capacity.statuses, capacity.failures);
    }
    let (answers, memory, misbehaved) = overload(arguments, &server, target, 2.0 * capacity.per_second);
    let summary = Summary::of(&answers, arguments.seconds);
    let after = closed(target, 16, stretch);
    let code = server.stop(Duration::from_secs(30))?;
    Ok(judge(arguments, &capacity, &summary, &memory, &misbehaved, &after, code))
}

fn recipe(arguments: &Arguments) -> Result<Recipe> {
    let text = |path: &PathBuf| path.to_str().map(String::from).context("a path that is not UTF-8");
    let mut command = vec![text(&arguments.server)?, "--bundle".into(), text(&arguments.bundle)?];
    command.extend(["--port", "{port}", "--header-seconds", "3"].map(String::from));
    command.extend(["--timeout-seconds".into(), arguments.deadline.to_string()]);
    command.extend(["--max-requests".into(), arguments.connections.to_string()]);
    if let Some(variant) = &arguments.variant {
        command.extend(["--variant".into(), variant.clone()]);
    }
    Ok(Recipe { name: "layoutlm-server".into(), command })
}

/// What clients that misbehave came to.
#[derive(Debug, Default)]
struct Misbehaved {
    loris_cut_off: AtomicUsize,
    aborted: AtomicUsize,
}

/// Resident memory once warm and at the end, MiB, and the most in between.
#[derive(Debug, Clone, Copy)]
struct Memory {
    warm: f64,
    end: f64,
}

fn overload(
    arguments: &Arguments,
    server: &Server,
    target: Target<'_>,
    per_second: f64,
) -> (Vec<layoutlm_benches::serve::summary::Answer>, Memory, Misbehaved) {
    let (over, misbehaved) = (AtomicBool::new(false), Misbehaved::default());
    let address = target.address;
    let length = Duration::from_secs_f64(arguments.seconds);
    let (answers, samples) = std::thread::scope(|scope| {
        for _ in 0..LORIS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    if loris(address, &over) {
                        misbehaved.loris_cut_off.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..ABORTED {
                if abort(address, target.bodies).is_ok() {
                    misbehaved.aborted.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(length / (ABORTED as u32 + 10));
            }
        });
        let sampling = scope.spawn(|| {
            let mut samples = Vec::new();
            while !over.load(Ordering::Relaxed) {
                samples.push(server.memory_mib().0);
                std::thread::sleep(BETWEEN_SAMPLES);
            }
            samples
        });
        let answers = open(target, per_second, arguments.connections + 64, arguments.seconds);
        over.store(true, Ordering::Relaxed);
        (answers, sampling.join().unwrap_or_default())
    });
    // The first quarter, and no less than a quarter of a minute, warms caches and arenas up.
    let warm =
        samples.get((samples.len() / 4).max(WARMING.min(samples.len() / 2))).copied().unwrap_or(f64::NAN);
    let memory = Memory { warm, end: samples.last().copied().unwrap_or(f64::NAN) };
    (answers, memory, misbehaved)
}

/// Sends headers a byte at a time; true when the server ends it.
fn loris(address: SocketAddr, over: &AtomicBool) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
    let request = b"POST /v1/classify HTTP/1.1\r\nhost: x\r\nx-slow: ".iter().chain(std::iter::repeat(&b'x'));
    let begun = Instant::now();
    for byte in request {
        if over.load(Ordering::Relaxed) || begun.elapsed() > Duration::from_secs(60) {
            return false;
        }
        if stream.write_all(&[*byte]).is_err() {
            return true;
        }
        // The server says nothing, or says goodbye.
        let mut said = [0; 512];
        match stream.read(&mut said) {
            Ok(0) => return true,
            Err(error)
                if !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                return true;
            }
            _ => {}
        }
    }
    false
}

/// Announces a body, sends half of it and hangs up.
fn abort(address: SocketAddr, bodies: &[String]) -> std::io::Result<()> {
    let body = bodies.first().map_or("", String::as_str);
    let mut stream = TcpStream::connect(address)?;
    let head = "POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ";
    write!(stream, "{head}{}\r\n\r\n", body.len())?;
    stream.write_all(body.as_bytes().get(..body.len() / 2).unwrap_or_default())
}

fn judge(
    arguments: &Arguments,
    capacity: &Summary,
    summary: &Summary,
    memory: &Memory,
    misbehaved: &Misbehaved,
    after: &Summary,
    code: i32,
) -> bool {
    let growth = memory.end / memory.warm - 1.0;
    let accepted = summary.count(200) as f64 / arguments.seconds;
    // What else the machine does comes and goes, so the capacity during the overload is taken as the mean of before and after.
    let within_reach = f64::midpoint(capacity.per_second, after.per_second);
    let (cut, aborted) =
        (misbehaved.loris_cut_off.load(Ordering::Relaxed), misbehaved.aborted.load(Ordering::Relaxed));
    let promises = [
        ("every request is answered", [capacity, summary, after].iter().all(|s| s.failures.is_empty())),
        ("only 200, 429 and 503", summary.statuses.keys().all(|s| [200, 429, 503].contains(s))),
        ("some were refused: it was more than the server can do", summary.count(429) > 0),
        ("p99 of accepted requests within the deadline", summary.p99_ms <= arguments.deadline * 1e3),
        ("three quarters of the capacity under overload", accepted >= 0.75 * within_reach),
        ("memory within 5 % once warm", growth.abs() <= 0.05),
        ("slow headers are cut off", cut >= LORIS),
        ("uploads that broke off", aborted == ABORTED),
        ("all is well afterwards", after.all_accepted()),
        ("stopped with 0", code == 0),
    ];
    println!(
        "{}",
        json!({"capacity": capacity, "overload": summary, "accepted_per_second": accepted, "memory_mib": {"warm": memory.warm,
            "end": memory.end}, "loris_cut_off": cut, "aborted_uploads": aborted, "afterwards": after, "exit_code": code})
    );
    for (promise, kept) in promises {
        eprintln!("{} {promise}", if kept { "kept  " } else { "BROKEN" });
    }
    promises.iter().all(|(_, kept)| *kept)
}

//! A peer program that does one piece of work for each line it is sent.
//!
//! It prints one JSON object when ready, one per piece of work, and a last one when its input ends.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A running peer.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a program and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start or ends before it is ready.
    pub fn start(program: &str, arguments: &[String]) -> Result<(Self, Value)> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take().context("the peer has no output")?);
        let mut peer = Self { child, input, output: BufReader::new(output) };
        let ready = peer.read()?;
        Ok((peer, ready))
    }

    /// Has it do one piece of work and returns what it says of it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn work(&mut self) -> Result<Value> {
        let input = self.input.as_mut().context("the peer has been stopped")?;
        input.write_all(b"\n").and_then(|()| input.flush()).context("the peer has ended")?;
        self.read()
    }

    /// Ends its input and returns its last words.
    ///
    /// # Errors
    /// When it fails.
    pub fn stop(mut self) -> Result<Value> {
        drop(self.input.take());
        let last = self.read()?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the peer ended with {status}");
        }
        Ok(last)
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the peer ended without an answer");
        }
        serde_json::from_str(&line).with_context(|| format!("the peer said {line:?}"))
    }
}

/// The process's peak resident memory in MiB, 0 where the system does not tell.
pub fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|p| p.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// CPU milliseconds this process has used on all threads, to a hundredth of a second; 0 where the system does not
/// tell. On a shared machine the ratio of CPU times is steadier than that of elapsed times.
pub fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields after the name, which may hold spaces: user and system time are the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 10.0
}

/// The middle of some measurements; NaN of none.
pub fn median(measurements: &[f64]) -> f64 {
    let mut sorted = measurements.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

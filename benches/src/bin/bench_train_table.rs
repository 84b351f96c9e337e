//! `bench_train` at every size, several times, as one table; exit code 3 where a size misses its goal.
//!
//! Each measurement is a process of its own, so that its peak memory is its own. A size holds when the median of its
//! repeats' ratios is at most `--ratio` and our peak memory is below PyTorch's in every repeat.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Parser;
use layoutlm_benches::peer::median;
use layoutlm_trainer::machine::cpu_name;
use serde::Deserialize;

/// Measures a training step beside PyTorch's at three sizes and prints a Markdown table.
#[derive(Debug, Parser)]
struct Arguments {
    /// Sizes, each `<model>:<windows>x<tokens>`.
    #[arg(long, value_delimiter = ',', default_value = "minilm:8x128,minilm:8x256,base:8x128")]
    sizes: Vec<String>,
    /// Times each size is measured.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Steps of each side in one measurement.
    #[arg(long, default_value_t = 12)]
    steps: usize,
    /// Threads of each side.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Python with torch and transformers.
    #[arg(long, env = "PEER_PYTHON")]
    python: String,
    /// Largest allowed ratio of our step time to PyTorch's.
    #[arg(long, default_value_t = 0.75)]
    ratio: f64,
}

/// What the table needs of one measurement.
#[derive(Debug, Deserialize)]
struct Measurement {
    ours_ms: f64,
    torch_ms: f64,
    ratio: f64,
    ours_cpu_ms: f64,
    torch_cpu_ms: f64,
    ours_peak_mib: u64,
    torch_peak_mib: u64,
}

impl Measurement {
    fn take(arguments: &Arguments, size: &str) -> Result<Self> {
        let (model, shape) =
            size.split_once(':').with_context(|| format!("{size:?} is no <model>:<shape>"))?;
        let program = std::env::current_exe()?.with_file_name("bench_train");
        let (threads, steps) = (arguments.threads.to_string(), arguments.steps.to_string());
        let output = Command::new(&program)
            .args(["--model", model, "--shape", shape, "--threads", &threads, "--steps", &steps])
            .args(["--python", &arguments.python])
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("starting {}", program.display()))?;
        if !output.status.success() {
            bail!("{size}: bench_train ended with {}", output.status);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).with_context(|| format!("{size}: bench_train said {text:?}"))
    }

    fn row(&self, size: &str, repeat: usize) -> String {
        format!(
            "| {size} | {} | {:.0} | {:.0} | {:.3} | {:.0} / {:.0} | {} / {} |",
            repeat + 1,
            self.ours_ms,
            self.torch_ms,
            self.ratio,
            self.ours_cpu_ms,
            self.torch_cpu_ms,
            self.ours_peak_mib,
            self.torch_peak_mib
        )
    }
}

#[allow(clippy::print_stdout)] // The result.
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    println!("{}, {} threads; median ms of {} steps\n", cpu_name(), arguments.threads, arguments.steps);
    println!("| size | repeat | ours, ms | PyTorch, ms | ratio | CPU ms a step | peak MiB |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut missed = Vec::new();
    for size in &arguments.sizes {
        let mut ratios = Vec::with_capacity(arguments.repeats);
        let mut lean = true;
        for repeat in 0..arguments.repeats {
            let measurement = Measurement::take(&arguments, size)?;
            println!("{}", measurement.row(size, repeat));
            ratios.push(measurement.ratio);
            lean &= measurement.ours_peak_mib < measurement.torch_peak_mib;
        }
        let ratio = median(&ratios);
        if ratio.is_nan() || ratio > arguments.ratio || !lean {
            missed.push(format!("{size}: ratio {ratio:.3}, less memory: {lean}"));
        }
    }
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nMissed (ratio {} and less memory are asked for): {}", arguments.ratio, missed.join("; "));
    Ok(ExitCode::from(3))
}

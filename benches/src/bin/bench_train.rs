//! One optimiser step (forward, backward, clipping, AdamW), ours and PyTorch's in turns.
//!
//! Prints a JSON line: median and quickest milliseconds of both sides, their ratio, peak memory. `bench_train_table`
//! runs it for all sizes and judges.

use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use clap::Parser;
use layoutlm_benches::peer::{Peer, cpu_ms, median, peak_memory_mib};
use layoutlm_benches::shape::{self, Numbers};
use layoutlm_core::label::{LabelId, LabelSet};
use layoutlm_core::window::Window;
use layoutlm_trainer::loss::LossConfig;
use layoutlm_trainer::model::{DropoutState, LayoutLm, PackedBatch};
use layoutlm_trainer::optim::{AdamW, AdamWConfig};
use layoutlm_trainer::weights::Weights;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Classes of the head: O and B-/I- of seven types.
const LABELS: usize = 15;
/// Batches that both sides go through in turn.
const BATCHES: usize = 8;

/// Times one training step beside PyTorch's.
#[derive(Debug, Parser)]
struct Arguments {
    /// Model size: minilm or base.
    #[arg(long, default_value = "minilm")]
    model: String,
    /// Windows x tokens of a batch.
    #[arg(long, default_value = "8x128")]
    shape: String,
    /// Threads of each side.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Steps of each side.
    #[arg(long, default_value_t = 12)]
    steps: usize,
    /// Python with torch and transformers; without it only our side is timed.
    #[arg(long, env = "PEER_PYTHON")]
    python: Option<String>,
    /// The peer's script.
    #[arg(long, default_value = "benches/peers/train_step.py")]
    script: String,
}

/// Our side of the measurement.
struct Trainer {
    model: LayoutLm,
    optimizer: AdamW,
    loss: LossConfig,
    batches: Vec<PackedBatch>,
    pass: u64,
}

/// Milliseconds of the three parts of a step.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    forward: f64,
    backward: f64,
    optimizer: f64,
    cpu: f64,
}

impl Times {
    fn total(&self) -> f64 {
        self.forward + self.backward + self.optimizer
    }
}

impl Trainer {
    fn new(arguments: &Arguments) -> Result<Self> {
        let config = shape::config(&arguments.model, LABELS)?;
        let (windows, tokens) = shape::parse(&arguments.shape)?;
        let weights = Weights::random(&config, LABELS, 1);
        let mut numbers = Numbers::new(7);
        let batches = (0..BATCHES).map(|_| batch(&mut numbers, windows, tokens)).collect::<Result<_>>()?;
        let model = LayoutLm::new(config, weights, &Device::Cpu)?;
        let optimizer = AdamW::new(AdamWConfig::default());
        Ok(Self { model, optimizer, loss: LossConfig::default(), batches, pass: 0 })
    }

    fn step(&mut self) -> Result<Times> {
        let batch = self.batches.get(self.pass as usize % BATCHES).context("no batch")?;
        let (start, cpu) = (Instant::now(), cpu_ms());
        let pass = self.model.forward_train(batch, DropoutState { seed: 1, pass: self.pass })?;
        let loss = self.loss.evaluate(pass.logits(), batch, batch.labelled_tokens() as f64)?;
        let forward = start.elapsed();
        pass.backward(&loss.gradient)?;
        let backward = start.elapsed();
        self.optimizer.step(&mut self.model, 1e-5)?;
        let end = start.elapsed();
        self.pass += 1;
        let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
        let (forward, backward, optimizer) = (ms(forward), ms(backward - forward), ms(end - backward));
        Ok(Times { forward, backward, optimizer, cpu: cpu_ms() - cpu })
    }
}

/// Random windows, half of their tokens labelled.
fn batch(numbers: &mut Numbers, windows: usize, tokens: usize) -> Result<PackedBatch> {
    let windows: Vec<Window> = (0..windows).map(|_| shape::window(numbers, tokens)).collect();
    let types = (0..LABELS / 2).map(|i| format!("TYPE{i}"));
    let set = LabelSet::from_entities(types)?;
    let mut batch = PackedBatch::pack(&windows.iter().collect::<Vec<_>>());
    let mut label = |_| -> Option<LabelId> {
        let class = numbers.below(2 * LABELS as u32) as usize;
        set.at(class)
    };
    batch.labels = Some((0..batch.tokens()).map(&mut label).collect());
    Ok(batch)
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global()?;
    let mut peer = match &arguments.python {
        Some(python) => {
            let (threads, batches, labels) = (arguments.threads, BATCHES, LABELS);
            let options = [&arguments.script, &arguments.model, &arguments.shape].map(Clone::clone);
            let numbers = [threads, batches, labels].map(|n| n.to_string());
            Some(Peer::start(python, &[options.as_slice(), &numbers].concat())?.0)
        }
        None => None,
    };
    let mut trainer = Trainer::new(&arguments)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for step in 0..arguments.steps + 2 {
        let times = trainer.step()?;
        let their = match &mut peer {
            Some(peer) => {
                let answer = peer.work()?;
                let time =
                    |name: &str| answer.get(name).and_then(serde_json::Value::as_f64).context("no time");
                [time("ms")?, time("cpu_ms")?]
            }
            None => [f64::NAN; 2],
        };
        // The first steps touch their memory for the first time.
        if step >= 2 {
            ours.push(times);
            theirs.push(their);
        }
    }
    let peer_memory = match peer {
        Some(peer) => peer.stop()?.get("peak_mib").and_then(serde_json::Value::as_u64),
        None => None,
    };
    report(&arguments, &ours, &theirs, peer_memory);
    Ok(())
}

#[allow(clippy::print_stdout)] // The result.
fn report(arguments: &Arguments, ours: &[Times], theirs: &[[f64; 2]], peer_memory: Option<u64>) {
    let part = |f: fn(&Times) -> f64| median(&ours.iter().map(f).collect::<Vec<_>>());
    let quickest = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let totals: Vec<f64> = ours.iter().map(Times::total).collect();
    let (their_totals, their_cpu): (Vec<f64>, Vec<f64>) =
        theirs.iter().map(|[total, cpu]| (*total, *cpu)).unzip();
    let ratio = median(&totals) / median(&their_totals);
    // The clock of CPU time is coarse: means.
    let mean = |times: &mut dyn Iterator<Item = f64>| times.sum::<f64>() / ours.len() as f64;
    let (cpu, their_cpu) = (mean(&mut ours.iter().map(|t| t.cpu)), mean(&mut their_cpu.into_iter()));
    let round = |x: f64| (x * 1000.0).round() / 1000.0;
    let line = serde_json::json!({
        "model": arguments.model, "shape": arguments.shape, "threads": arguments.threads, "steps": ours.len(),
        "ours_ms": round(median(&totals)), "ours_min_ms": round(quickest(&totals)),
        "forward_ms": round(part(|t| t.forward)), "backward_ms": round(part(|t| t.backward)),
        "optimizer_ms": round(part(|t| t.optimizer)),
        "torch_ms": round(median(&their_totals)), "torch_min_ms": round(quickest(&their_totals)),
        "ratio": round(ratio), "ratio_of_min": round(quickest(&totals) / quickest(&their_totals)),
        "ours_cpu_ms": round(cpu), "torch_cpu_ms": round(their_cpu), "ratio_of_cpu": round(cpu / their_cpu),
        "ours_peak_mib": peak_memory_mib(), "torch_peak_mib": peer_memory,
    });
    println!("{line}");
}

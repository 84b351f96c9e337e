//! A bundle in service: checked, proved on this machine, its workers running.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use layoutlm_core::bundle::Limits;
use layoutlm_core::encoder::{EncodedReceipt, Encoder};
use layoutlm_core::predict::{self, PredictError, ReceiptPrediction};
use layoutlm_core::probe::{ProbeWindow, Replayed};
use layoutlm_core::receipt::Receipt;
use layoutlm_core::tokenize::TokenizeError;
use layoutlm_core::window::Window;

use crate::bundle::{Bundle, OpenError};
use crate::config::ServerConfig;
use crate::engine::{Engine, Model, Share, WindowSession, available_cores};
use crate::metrics::Metrics;
use crate::pool::{BatchRule, Done, Lanes, Pool, PoolError, QueueLimits, Run};
use crate::replay::{ReplayError, judge, read_probe, replay};
use crate::runtime::{Runtime, RuntimeError};

/// Why a bundle did not come into service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The place that should say where the bundle is can't be read.
    #[error("{0}")]
    Source(std::io::Error),
    /// No usable ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The folder is no sound bundle.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The graph does not answer as it was proved to.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// No thread to be had.
    #[error("worker threads: {0}")]
    Threads(std::io::Error),
}

impl StartError {
    /// True when a proof did not hold, as opposed to input that can't be used.
    pub fn is_failed_proof(&self) -> bool {
        matches!(self, Self::Replay(ReplayError::Differs { .. }))
    }
}

/// A bundle whose workers run.
#[derive(Debug)]
pub struct Service {
    bundle: Bundle,
    variant: String,
    runtime_version: String,
    replayed: Replayed,
    pool: Pool,
    threads: usize,
    loaded_in: Duration,
    /// Opens the session of all threads.
    widening: Option<JoinHandle<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        // The process must not end with a thread inside ONNX Runtime, whose own state goes with it.
        if let Some(widening) = self.widening.take() {
            let _ = widening.join();
        }
    }
}

impl Service {
    /// Loads, checks, replays and starts the bundle in `folder`. Takes as long as reading the files and opening the
    /// sessions does.
    ///
    /// # Errors
    /// [`StartError`], a sentence that names the file and the way out.
    pub fn start(config: &ServerConfig, folder: &Path, metrics: &Arc<Metrics>) -> Result<Self, StartError> {
        let begun = Instant::now();
        let runtime = Runtime::load(config.onnxruntime.as_deref())?;
        let wanted = config.variant.as_deref();
        let (bundle, model) = Bundle::open_variant(folder, &runtime, wanted)?;
        let (variant, _, certificate) = bundle.variant(wanted)?;
        let (workers, threads) = sizes(config);
        let probe = read_probe(&bundle.probe_path(), bundle.manifest().labels.len())?;
        let (single, replayed) = prove(&bundle, &model, &probe, &certificate.limits, workers)?;
        let padding = single.first().is_some_and(WindowSession::takes_padding);
        let lanes = Lanes { single: single.into_iter().map(run_of).collect(), wide: None };
        let rule = if scales_over_the_batch(variant) { BatchRule::ALONE } else { config.batch_rule(padding) };
        // Room for reading and writing, and for a guess that was too hopeful: other work may slow this machine down.
        let limits = QueueLimits { windows: config.max_queue as usize, time: config.timeout().mul_f64(0.6) };
        let pool = Pool::start(lanes, rule, limits, metrics.clone()).map_err(StartError::Threads)?;
        let widening = (threads > 1).then(|| widen(&pool, model, probe, certificate.limits, threads));
        let widening = widening.transpose().map_err(StartError::Threads)?;
        if widening.is_none() {
            crate::memory::give_back();
        }
        let (variant, loaded_in, runtime_version) = (variant.to_string(), begun.elapsed(), runtime.version());
        Ok(Self { variant, runtime_version, replayed, pool, threads, loaded_in, widening, bundle })
    }

    /// The checked bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Receipts in, windows out.
    pub fn encoder(&self) -> &Encoder {
        self.bundle.encoder()
    }

    /// Name of the variant served.
    pub fn variant(&self) -> &str {
        &self.variant
    }

    /// Version of ONNX Runtime.
    pub fn runtime_version(&self) -> &str {
        &self.runtime_version
    }

    /// How the probe went.
    pub fn replayed(&self) -> Replayed {
        self.replayed
    }

    /// Time from the start until ready.
    pub fn loaded_in(&self) -> Duration {
        self.loaded_in
    }

    /// Windows waiting for a worker.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// Worker threads.
    pub fn workers(&self) -> usize {
        self.pool.workers()
    }

    /// Threads for a window that has no company.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Encodes receipts; blocks for as long as the tokenizer takes.
    ///
    /// # Errors
    /// The index of the receipt and what the tokenizer said.
    pub fn encode(&self, receipts: &[Receipt]) -> Result<Vec<EncodedReceipt>, (usize, TokenizeError)> {
        let encoder = self.encoder();
        receipts.iter().enumerate().map(|(i, r)| encoder.encode(r).map_err(|e| (i, e))).collect()
    }

    /// Runs every window of every receipt.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn compute(&self, encoded: Arc<Vec<EncodedReceipt>>) -> Result<Done, PoolError> {
        self.pool.run(encoded).await
    }

    /// Labels each receipt from its windows' logits.
    ///
    /// # Errors
    /// [`PredictError::Shape`], which would be a fault of this crate.
    pub fn label(
        &self,
        receipts: &[Receipt],
        encoded: &[EncodedReceipt],
        logits: &[Vec<Vec<f32>>],
    ) -> Result<Vec<ReceiptPrediction>, PredictError> {
        receipts
            .iter()
            .zip(encoded)
            .zip(logits)
            .map(|((receipt, encoded), logits)| predict::label(self.encoder(), encoded, receipt, logits))
            .collect()
    }
}

/// Opens a session for each worker and replays the probe on them. They are opened one after the other (see [`Model`]),
/// and each takes part in the replay as soon as it is there: cores are not idle while the next is opened.
fn prove(
    bundle: &Bundle,
    model: &Model,
    probe: &[ProbeWindow],
    limits: &Limits,
    workers: usize,
) -> Result<(Vec<WindowSession>, Replayed), StartError> {
    let windows: Vec<&Window> = probe.iter().map(|p| &p.window).collect();
    let share = Share::new(&windows);
    let share_ref = &share;
    let sessions = std::thread::scope(|scope| {
        let mut replaying = Vec::with_capacity(workers);
        for _ in 0..workers {
            let mut session = model.session(1).map_err(OpenError::from)?;
            bundle.check_session(model.path(), &session)?;
            replaying.push(scope.spawn(move || {
                share_ref.work(&mut session);
                session
            }));
        }
        let panicked = |_| StartError::Threads(std::io::Error::other("replaying the probe panicked"));
        let sessions = replaying.into_iter().map(|thread| thread.join().map_err(panicked));
        sessions.collect::<Result<Vec<_>, _>>()
    })?;
    let replayed = judge(probe, share.answers(), bundle.manifest().labels.len(), limits)?;
    Ok((sessions, replayed))
}

/// Opens the session of all threads while the workers serve already: the graph has proved itself, and until then a lone
/// window takes one thread.
fn widen(
    pool: &Pool,
    model: Model,
    probe: Vec<ProbeWindow>,
    limits: Limits,
    threads: usize,
) -> std::io::Result<JoinHandle<()>> {
    let widener = pool.widener();
    let open = move || {
        match wide_session(&model, &probe, &limits, threads) {
            Ok(session) => widener.widen(run_of(session)),
            Err(error) => tracing::error!(%error, "no session of several threads; every window takes one"),
        }
        drop(model);
        crate::memory::give_back();
    };
    std::thread::Builder::new().name("widening".into()).spawn(open)
}

/// Opened, seen to answer as the others do, and warm.
fn wide_session(
    model: &Model,
    probe: &[ProbeWindow],
    limits: &Limits,
    threads: usize,
) -> Result<WindowSession, StartError> {
    let shortest: Vec<_> = probe.iter().min_by_key(|p| p.window.len()).cloned().into_iter().collect();
    let wide = Engine::of(vec![model.session(threads).map_err(OpenError::from)?]);
    replay(&shortest, &wide, limits)?;
    let gone = || StartError::Threads(std::io::Error::other("the session is gone"));
    wide.into_sessions().pop().ok_or_else(gone)
}

/// Workers, and threads for a lone window.
fn sizes(config: &ServerConfig) -> (usize, usize) {
    let or_cores = |n: Option<u16>| n.map_or_else(available_cores, usize::from);
    (or_cores(config.workers), or_cores(config.threads))
}

/// Dynamically quantised graphs scale activations over the whole batch, so that answers depend on the company.
fn scales_over_the_batch(variant: &str) -> bool {
    variant.contains("int8")
}

fn run_of(mut session: WindowSession) -> Run {
    Box::new(move |windows| session.run_batch(windows))
}

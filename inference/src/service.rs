//! A bundle in service: checked, proved on this machine, its workers running.

use std::sync::Arc;
use std::time::{Duration, Instant};

use layoutlm_core::encoder::{EncodedReceipt, Encoder};
use layoutlm_core::predict::{self, PredictError, ReceiptPrediction};
use layoutlm_core::probe::Replayed;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::tokenize::TokenizeError;

use crate::bundle::{Bundle, OpenError};
use crate::config::ServerConfig;
use crate::pool::{Done, Pool, PoolError, Run};
use crate::replay::{ReplayError, read_probe, replay};
use crate::runtime::{Runtime, RuntimeError};

/// Why a bundle did not come into service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
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
    loaded_in: Duration,
}

impl Service {
    /// Loads, checks, replays and starts. Takes as long as reading the files and opening the sessions does.
    ///
    /// # Errors
    /// [`StartError`], a sentence that names the file and the way out.
    pub fn start(config: &ServerConfig) -> Result<Self, StartError> {
        let begun = Instant::now();
        let runtime = Runtime::load(config.onnxruntime.as_deref())?;
        let bundle = Bundle::open(&config.bundle)?;
        let wanted = config.variant.as_deref();
        let engine = bundle.engine(&runtime, wanted, config.engine_options())?;
        let (variant, _, certificate) = bundle.variant(wanted)?;
        let probe = read_probe(&bundle.probe_path(), bundle.manifest().labels.len())?;
        let replayed = replay(&probe, &engine, &certificate.limits)?;
        let runs = engine.into_sessions().into_iter().map(|mut session| {
            let run: Run = Box::new(move |window| session.run(window));
            run
        });
        let pool = Pool::start(runs.collect(), config.max_queue as usize).map_err(StartError::Threads)?;
        let (variant, loaded_in) = (variant.to_string(), begun.elapsed());
        Ok(Self { variant, runtime_version: runtime.version(), replayed, pool, loaded_in, bundle })
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

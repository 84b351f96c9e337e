//! A run that takes a second.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use layoutlm_core::receipt::Receipt;
use layoutlm_trainer::config::{Scratch, Start, TrainConfig};
use layoutlm_trainer::data::synthesize;
use layoutlm_trainer::run::RunRecord;
use layoutlm_trainer::train::{Observer, Outcome, Silent, TrainData, TrainError, train};

pub(crate) fn config(runs: &Path, name: &str) -> TrainConfig {
    TrainConfig {
        job_name: name.into(),
        output_dir: runs.into(),
        start: Start::Scratch(Scratch { hidden_size: 16, layers: 2, heads: 2, vocab_size: 400 }),
        epochs: 2,
        batch_size: 4,
        learning_rate: 2e-3,
        o_entity_ratio: None,
        threads: 1,
        ..TrainConfig::default()
    }
}

pub(crate) fn receipts() -> Vec<Receipt> {
    synthesize(11, 24, 6)
}

pub(crate) fn data() -> TrainData {
    let mut train = receipts();
    let validation = train.split_off(18);
    TrainData::given(train, validation, "made up".into())
}

pub(crate) fn run(config: TrainConfig) -> Outcome {
    run_on(config, data()).unwrap()
}

pub(crate) fn run_on(config: TrainConfig, data: TrainData) -> Result<Outcome, TrainError> {
    train(config, data, &mut Silent, &AtomicBool::new(false))
}

pub(crate) fn watched(
    config: TrainConfig,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Outcome {
    train(config, data(), observer, stop).unwrap()
}

pub(crate) fn record(outcome: &Outcome) -> RunRecord {
    RunRecord::read(&outcome.run_dir).unwrap()
}

/// The bytes of a file in the newest checkpoint.
pub(crate) fn newest(outcome: &Outcome, file: &str) -> Vec<u8> {
    let folder = outcome.run_dir.join(format!("checkpoint-{}", outcome.steps));
    std::fs::read(folder.join(file)).unwrap()
}

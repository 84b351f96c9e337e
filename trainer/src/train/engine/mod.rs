//! What computes: the one seam between the loop and a processor or a card.
//!
//! The loop decides which windows make up a pass, the learning rate, when to evaluate and what to keep; an engine only
//! computes. Both draw the same dropout masks and take each other's checkpoints.

mod card;
mod open;
mod processor;

pub(super) use open::Opener;

use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::config::ModelConfig;

use super::TrainError;
use super::persist::RAW_WEIGHTS;
use crate::loss::Denominators;
use crate::model::PackedBatch;
use crate::parallel::Communicator;
use crate::run::{CardState, Hardware};
use crate::weights::Weights;

/// What an engine starts from.
#[derive(Debug)]
pub(super) struct Parts {
    /// Dimensions and dropout.
    pub(super) config: ModelConfig,
    /// The weights that train.
    pub(super) weights: Weights,
    /// Their moving average; where one is kept and none is given, it starts from the weights.
    pub(super) average: Option<Weights>,
    /// The optimiser's moments and steps, unless it starts afresh.
    pub(super) moments: Option<(Weights, u64)>,
    /// What a card knew.
    pub(super) card: Option<CardState>,
}

/// What a checkpoint holds of an engine.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// What is evaluated: the average where one is kept, else the weights.
    pub(super) weights: Weights,
    /// The moments, and beside an average the weights themselves under [`RAW_WEIGHTS`].
    pub(super) state: Weights,
    /// What a card knows beside them.
    pub(super) card: Option<CardState>,
}

impl Snapshot {
    fn new(raw: Weights, average: Option<Weights>, mut state: Weights, card: Option<CardState>) -> Self {
        let weights = match average {
            None => raw,
            Some(average) => {
                for (name, array) in raw {
                    state.insert(format!("{RAW_WEIGHTS}{name}"), array);
                }
                average
            }
        };
        Self { weights, state, card }
    }
}

/// Losses of the steps since they were last asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Losses {
    /// Their sum over this process's passes.
    pub(super) sum: f64,
    /// A step could not be taken, because the loss or a gradient was not finite.
    pub(super) diverged: bool,
}

/// Computes passes and steps.
pub(super) trait Engine: Send {
    /// Dimensions and dropout.
    fn config(&self) -> &ModelConfig;

    /// Adds a pass to the gradients. `pass` numbers its dropout; `denominators` are those of the whole step. Gives the loss
    /// of the step so far where that is known without waiting.
    fn accumulate(
        &mut self,
        batch: &PackedBatch,
        pass: u64,
        denominators: Denominators,
    ) -> Result<Option<f64>, TrainError>;

    /// Forgets the passes since the last step.
    fn discard(&mut self) -> Result<(), TrainError>;

    /// Sums the gradients over all processes.
    fn exchange(&mut self, others: &dyn Communicator) -> Result<(), TrainError>;

    /// Refuses when a trainable tensor got no gradient.
    fn check_gradients(&self) -> Result<(), TrainError>;

    /// One optimiser step, and the average moves; `steps` were taken before.
    fn step(&mut self, learning_rate: f64, steps: u64) -> Result<(), TrainError>;

    /// Steps between two calls of [`Self::losses`]: waiting for a card each time would cost time.
    fn steps_between_losses(&self) -> u64;

    /// Waits for what was started, and takes the losses.
    fn losses(&mut self) -> Result<Losses, TrainError>;

    /// Copies out everything that a checkpoint holds.
    fn snapshot(&self) -> Result<Snapshot, TrainError>;

    /// Lends out what is evaluated: the averaged model where an average is kept.
    fn score(&mut self, work: &mut dyn FnMut(&dyn TokenClassifier)) -> Result<(), TrainError>;

    /// Tokens of a pass that this engine's memory asks for; nothing: as configured.
    fn pass_tokens(&self) -> Option<usize>;

    /// Settles on a number of tokens of a pass, where [`Self::pass_tokens`] gave one.
    fn settle_pass_tokens(&mut self, tokens: usize);

    /// What it is, and how much memory it took so far.
    fn hardware(&self) -> Hardware;
}

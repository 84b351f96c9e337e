//! Why a run did not start or did not go on.

use layoutlm_core::encoder::EncoderError;
use layoutlm_core::evaluate::EvaluateError;
use layoutlm_core::label::LabelError;
use layoutlm_core::predict::PredictError;
use layoutlm_core::tokenize::TokenizeError;

use crate::config::InvalidConfig;
use crate::data::DataError;
use crate::files::FileError;
use crate::gpu::GpuError;
use crate::model::ModelError;
use crate::model_folder::FolderError;
use crate::parallel::ParallelError;
use crate::run::RunError;
use crate::weights::WeightsError;

/// Why a run did not start or did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// An option no run can work with.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// There is nothing to learn.
    #[error("{0}")]
    NothingToLearn(String),
    /// The start's tokenizer and weights do not belong together.
    #[error(
        "the tokenizer has {tokens} tokens, but the model's table only {rows} rows: they do not belong together"
    )]
    Vocabulary {
        /// Ids of the tokenizer.
        tokens: usize,
        /// Rows of the embedding table.
        rows: usize,
    },
    /// The loss or gradient became NaN or infinite.
    #[error(
        "step {step}: the loss is {loss}; the batch's receipts are in {saved}; a lower --lr or more --warmup-ratio \
         usually helps"
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// What was computed.
        loss: f64,
        /// The file with the batch.
        saved: String,
    },
    /// A card was asked for, but the program has no code for one.
    #[error("this program was built without CUDA: build it with `--features cuda`, or give --device cpu")]
    WithoutCuda,
    /// A pass does not fit the card.
    #[error("{}", card_memory(.error, *.tokens, *.fits, *.windows))]
    CardMemory {
        /// What the card said.
        error: Box<GpuError>,
        /// Tokens of the pass.
        tokens: usize,
        /// Tokens that fit.
        fits: usize,
        /// Windows of the greatest length that fit.
        windows: usize,
    },
    /// A card.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The other processes of the run.
    #[error(transparent)]
    Parallel(#[from] ParallelError),
    /// Worker threads could not be started.
    #[error("worker threads: {0}")]
    Threads(String),
    /// Labels or merges.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// Encoding and tokenizer.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// Labelling validation receipts.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// Scoring validation receipts.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// First weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The start's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The run's folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Encoding receipts, or a frozen data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
}

impl TrainError {
    /// True when the caller can mend it: options, data, the start's files.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::NothingToLearn(_)
                | Self::Vocabulary { .. }
                | Self::Label(_)
                | Self::Tokenize(_)
                | Self::Folder(_)
                | Self::Weights(_)
                | Self::Data(_)
                | Self::Run(RunError::OtherRun { .. })
                | Self::WithoutCuda
                | Self::Gpu(GpuError::NoDevice { .. } | GpuError::Dimension { .. })
                | Self::Parallel(ParallelError::Launch(_) | ParallelError::Differs { .. })
        )
    }
}

fn card_memory(error: &GpuError, tokens: usize, fits: usize, windows: usize) -> String {
    let advice = match windows {
        0 => {
            "not even one of the longest windows fits: give --gradient-checkpointing, or use a smaller model"
                .into()
        }
        n => format!(
            "about {fits} fit, which is --batch-size {n} of the longest windows; or give --auto-batch or \
             --gradient-checkpointing"
        ),
    };
    format!("a pass of {tokens} tokens does not fit the card ({error}): {advice}")
}

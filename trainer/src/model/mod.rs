//! LayoutLM v1 with a token-classification head: forward, and backward written out layer by layer.

mod classifier;
mod error;
mod layoutlm;
mod packed;
mod parameter;

pub use classifier::CandleClassifier;
pub use error::ModelError;
pub use layoutlm::{DropoutState, LayoutLm, TrainPass};
pub use packed::{LabelledWindow, PackedBatch};
pub use parameter::{Parameter, ParameterPart};

//! LayoutLM v1 with a token-classification head: forward, and backward written out layer by layer.

mod classifier;
mod embeddings;
mod encoder;
mod error;
mod exchange;
mod layoutlm;
mod packed;
mod parameter;
mod pass;

pub use classifier::CandleClassifier;
pub use error::ModelError;
pub use layoutlm::LayoutLm;
pub use packed::{LabelledWindow, PackedBatch};
pub use parameter::{Parameter, ParameterPart};
pub use pass::{DropoutState, TrainPass};

pub(crate) use classifier::passes;
pub(crate) use pass::{Masks, Site, lookup_ids};

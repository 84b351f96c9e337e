//! Fine-tunes LayoutLM v1 for token classification.
//!
//! The network and its backward pass are written out by hand over candle tensors: [`model::LayoutLm`] computes
//! logits and, for training, keeps what [`model::TrainPass::backward`] needs. Gradients land in the model's own
//! buffers, from which [`optim::AdamW`] steps. Nothing here touches the network or the cloud.

pub mod audit;
pub mod batching;
pub mod config;
pub mod data;
pub mod files;
pub mod gpu;
pub mod loss;
pub mod machine;
pub mod model;
pub mod model_folder;
mod ops;
pub mod optim;
pub mod parallel;
mod random;
pub mod report;
pub mod run;
pub mod stats;
pub mod sweep;
pub mod train;
pub mod weights;

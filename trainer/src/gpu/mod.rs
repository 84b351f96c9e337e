//! The same network on a graphics card.
//!
//! Host code here says which kernel runs on which memory; what runs it is behind [`Compute`]: a CUDA card (feature
//! `cuda`), or in the tests an emulation that runs the very same kernel sources on the processor. Parameters, moments
//! and sums are f32 always; activations and matrix operands are of the chosen [`Precision`].
//!
//! Nothing waits for the card inside a step: norm, clipping, loss and loss scale stay there until they are asked for.
//! No sum uses atomics, so the same run gives the same bits.

mod average;
mod batch;
mod classifier;
mod compute;
#[cfg(feature = "cuda")]
mod cuda;
mod error;
mod exchange;
mod fit;
mod kernels;
mod layout;
mod memory;
mod model;
mod passes;
mod precision;
mod trainer;

pub use classifier::GpuClassifier;
pub use compute::{Arg, Compute, ElementKind, Launch, Memory, Operand, Product};
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use error::GpuError;
pub use kernels::{AdamWArg, AttentionArg, DropoutArg};
pub use precision::Precision;
pub use trainer::{Counters, GpuOptions, GpuTrainer, StepNumbers};

//! One run in several processes: each computes some batches of a step, and their gradients are added up.
//!
//! Processes are started by something else (torchrun, SageMaker, a shell); [`Launch`] reads what it says. They speak over
//! [`Tcp`], whose sums are made in the order of the ranks and so are the same each time; between cards sums go through NCCL
//! (feature `cuda`). A process that dies ends the others with a sentence, never a wait without end.

mod communicator;
mod error;
mod frame;
mod launch;
#[cfg(feature = "cuda")]
mod nccl;
mod tcp;
mod tensors;

pub use communicator::Communicator;
pub use error::ParallelError;
pub use launch::Launch;
#[cfg(feature = "cuda")]
pub use nccl::Nccl;
pub use tcp::{Patience, Tcp};
pub(crate) use tensors::broadcast_weights;

//! What processes of one run ask of each other.

use std::fmt::Debug;

use super::ParallelError;

/// Connects the processes of one run. All of them make the same calls in the same order; each call waits for the others.
pub trait Communicator: Debug + Send + Sync {
    /// This process, from 0. Rank 0 evaluates and writes the run's folder.
    fn rank(&self) -> usize;

    /// Number of processes.
    fn world_size(&self) -> usize;

    /// Replaces `values` by the sum over all processes, the same bits in each and at each call with the same values.
    ///
    /// # Errors
    /// [`ParallelError`].
    fn sum_f32(&self, values: &mut [f32]) -> Result<(), ParallelError>;

    /// As [`Self::sum_f32`].
    ///
    /// # Errors
    /// [`ParallelError`].
    fn sum_f64(&self, values: &mut [f64]) -> Result<(), ParallelError>;

    /// Gives every process the bytes of rank 0; those of the others are not looked at.
    ///
    /// # Errors
    /// [`ParallelError`].
    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ParallelError>;

    /// Waits until every process is here.
    ///
    /// # Errors
    /// [`ParallelError`].
    fn barrier(&self) -> Result<(), ParallelError> {
        self.sum_f64(&mut [])
    }

    /// As [`Self::sum_f32`] over `count` values at `address` in the card's memory, without leaving it. `false`: can't, and
    /// nothing was done; the same in every process.
    ///
    /// # Errors
    /// [`ParallelError`].
    fn sum_on_card(&self, address: u64, count: usize) -> Result<bool, ParallelError> {
        let _ = (address, count);
        Ok(false)
    }

    /// Tells the others that this process gives up, and why. They stop with that sentence at their next call.
    fn give_up(&self, reason: &str);
}

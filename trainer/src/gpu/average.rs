//! The moving average of the weights on the card: what is evaluated and kept while the weights themselves train on.

use super::{GpuError, GpuTrainer};
use crate::weights::Weights;

impl GpuTrainer {
    /// Keeps a moving average from now on, which starts from `weights`, or from the model's own.
    ///
    /// # Errors
    /// [`GpuError::Weights`] names a tensor that is missing or misshapen; [`GpuError::OutOfMemory`].
    pub fn keep_average(&mut self, weights: Option<&Weights>) -> Result<(), GpuError> {
        let flat = match weights {
            Some(weights) => self.layout.flatten(weights, "")?,
            None => self.flat.parameters.read(0, self.layout.elements())?,
        };
        self.average = Some(self.card.holding(&flat)?);
        Ok(())
    }

    /// Moves the average, if one is kept, towards the weights by `1 − decay`, as the CPU engine does.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn move_average(&self, decay: f64) -> Result<(), GpuError> {
        let Some(average) = &self.average else { return Ok(()) };
        let stretches = (&self.stretches.0, self.stretches.1);
        self.kernels().move_average(average, &self.flat.parameters, stretches, (1.0 - decay) as f32)
    }

    /// The average by Hugging Face name, where one is kept.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn average(&self) -> Result<Option<Weights>, GpuError> {
        let read = |buffer: &super::memory::Buffer| buffer.read(0, self.layout.elements());
        let flat = self.average.as_ref().map(read).transpose()?;
        Ok(flat.map(|flat| self.layout.tensors(&flat, "")))
    }

    /// Runs `work` on the model with the averaged weights, where an average is kept; the weights are back afterwards, to
    /// the bit.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn with_average<T>(&mut self, work: impl FnOnce(&Self) -> T) -> Result<T, GpuError> {
        self.swap()?;
        let result = work(self);
        self.swap()?;
        Ok(result)
    }

    fn swap(&self) -> Result<(), GpuError> {
        let Some(average) = &self.average else { return Ok(()) };
        self.kernels().swap(&self.flat.parameters, average, self.layout.elements())?;
        self.refresh_copies()
    }
}

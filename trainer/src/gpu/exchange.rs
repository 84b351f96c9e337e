//! Gradients summed over the processes of a run.

use super::trainer::PENDING;
use super::{GpuError, GpuTrainer};

impl GpuTrainer {
    /// Hands the gradients to `on_card` as the address and number of f32 in the card's memory; where that gives back
    /// `false`, copies them out for `on_host` and back.
    ///
    /// # Errors
    /// [`GpuError`], and whatever the closures give.
    pub fn exchange_gradients<E: From<GpuError>>(
        &self,
        on_card: impl FnOnce(u64, usize) -> Result<bool, E>,
        on_host: impl FnOnce(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let count = self.layout.elements();
        if on_card(self.flat.gradients.address(), count)? {
            return Ok(());
        }
        let mut flat: Vec<f32> = self.flat.gradients.read(0, count)?;
        on_host(&mut flat)?;
        Ok(self.flat.gradients.write(&flat)?)
    }

    /// Drops what was accumulated since the last step, its loss too.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn clear_gradients(&self) -> Result<(), GpuError> {
        self.flat.gradients.clear()?;
        self.card.compute().zero(self.state.address() + PENDING, 8)
    }
}

//! Buffers that outlive a pass: what one step gave back, the next takes, so that no memory is asked of the system
//! and no fresh page is touched in the middle of training.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Result, Tensor};

/// A store of f32 buffers on one device.
#[derive(Debug)]
pub(crate) struct Workspace {
    device: Device,
    free: Mutex<Vec<Tensor>>,
}

/// A tensor on loan from a [`Workspace`], with arbitrary content; goes back when dropped.
#[derive(Debug)]
pub(crate) struct Scratch<'w> {
    view: Tensor,
    buffer: Tensor,
    home: &'w Workspace,
}

impl Workspace {
    pub(crate) fn new(device: Device) -> Self {
        Self { device, free: Mutex::default() }
    }

    /// A contiguous tensor `[rows, columns]`. Its content is whatever was there.
    pub(crate) fn take(&self, rows: usize, columns: usize) -> Result<Scratch<'_>> {
        let elements = rows * columns;
        let buffer = match self.best_fit(elements) {
            Some(buffer) => buffer,
            None => {
                self.drop_one_below(elements);
                Tensor::zeros(size_class(elements), DType::F32, &self.device)?
            }
        };
        let view = buffer.narrow(0, 0, elements)?.reshape((rows, columns))?;
        Ok(Scratch { view, buffer, home: self })
    }

    /// Takes out the smallest free buffer that is large enough and not more than twice too large.
    fn best_fit(&self, elements: usize) -> Option<Tensor> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = elements..=elements.saturating_mul(2).max(1 << 12);
        let candidates = free.iter().enumerate().filter(|(_, b)| fits.contains(&b.elem_count()));
        let best = candidates.min_by_key(|(_, b)| b.elem_count()).map(|(i, _)| i)?;
        Some(free.swap_remove(best))
    }

    /// Gives up the largest free buffer that is too small, so that batches that grow do not leave all sizes behind.
    fn drop_one_below(&self, elements: usize) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let candidates = free.iter().enumerate().filter(|(_, b)| b.elem_count() < elements);
        if let Some(largest) = candidates.max_by_key(|(_, b)| b.elem_count()).map(|(i, _)| i) {
            free.swap_remove(largest);
        }
    }
}

/// Sizes are rounded up to an eighth of their power of two, so that batches of similar length share buffers.
fn size_class(elements: usize) -> usize {
    let step = (elements.max(1).next_power_of_two() / 16).max(1 << 10);
    elements.max(1).next_multiple_of(step)
}

impl Deref for Scratch<'_> {
    type Target = Tensor;
    fn deref(&self) -> &Tensor {
        &self.view
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        self.home.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.buffer.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_taken_again() {
        let workspace = Workspace::new(Device::Cpu);
        let first = workspace.take(100, 64).unwrap();
        let id = first.buffer.id();
        drop(first);
        let second = workspace.take(96, 64).unwrap();
        assert_eq!(second.buffer.id(), id);
        assert_eq!(second.dims(), [96, 64]);
        let third = workspace.take(96, 64).unwrap();
        assert_ne!(third.buffer.id(), id);
    }

    #[test]
    fn a_buffer_that_became_too_small_makes_room_for_a_larger_one() {
        let workspace = Workspace::new(Device::Cpu);
        for rows in [64, 300, 1000, 5000, 40] {
            drop(workspace.take(rows, 256).unwrap());
        }
        let kept: Vec<usize> = workspace.free.lock().unwrap().iter().map(Tensor::elem_count).collect();
        assert!(kept.len() == 2 && kept.iter().any(|&size| size >= 5000 * 256), "{kept:?}");
    }
}

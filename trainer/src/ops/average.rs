//! A running mean of tensors.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::{ELEMENTS_PER_TASK, storage};

/// `mean += (1 − decay) · (value − mean)`, elementwise.
pub(crate) fn average(mean: &Tensor, value: &Tensor, decay: f64) -> Result<()> {
    let share = (1.0 - decay) as f32;
    storage::write(mean, |mean| {
        storage::read([value], |[value]| {
            let parts = mean.par_chunks_mut(ELEMENTS_PER_TASK).zip(value.par_chunks(ELEMENTS_PER_TASK));
            parts.for_each(|(mean, value)| {
                for (m, v) in mean.iter_mut().zip(value) {
                    *m += share * (v - *m);
                }
            });
            Ok(())
        })
    })
}

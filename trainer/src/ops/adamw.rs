//! The element-wise part of AdamW and the norm of a gradient.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::simd::{sum_squares, vectorized};
use super::{ELEMENTS_PER_TASK, rows_per_task, storage};

/// Everything one update needs besides the tensors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    /// Factor of clipping.
    pub(crate) gradient_scale: f32,
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    /// Learning rate over the first moment's bias correction.
    pub(crate) step_size: f32,
    /// Root of the second moment's bias correction.
    pub(crate) correction2_root: f32,
    pub(crate) epsilon: f32,
    /// 1 − learning rate · decay.
    pub(crate) keep: f32,
}

/// What is known of a table's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RowState {
    /// No gradient ever: both moments are zero.
    #[default]
    Never,
    /// No gradient in this step.
    Idle,
    /// A gradient in this step.
    Touched,
}

vectorized! {
    fn update(value: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32], u: &Update) {
        for (((p, m), v), g) in value.iter_mut().zip(m).zip(v).zip(gradient) {
            let g = g * u.gradient_scale;
            *m = m.mul_add(u.beta1, (1.0 - u.beta1) * g);
            *v = v.mul_add(u.beta2, (1.0 - u.beta2) * g * g);
            let denominator = v.sqrt() / u.correction2_root + u.epsilon;
            *p = p.mul_add(u.keep, -(u.step_size * *m / denominator));
        }
    }

    fn scale(value: &mut [f32], factor: f32) {
        for x in value.iter_mut() {
            *x *= factor;
        }
    }

    fn squares(x: &[f32]) -> f64 {
        let mut total = 0.0;
        for part in x.chunks(1024) {
            total += sum_squares(part, 0.0);
        }
        total
    }
}

/// Updates a dense parameter; all tensors have one shape.
pub(crate) fn adamw(value: &Tensor, moments: [&Tensor; 2], gradient: &Tensor, u: &Update) -> Result<()> {
    with_all(value, moments, gradient, |value, m, v, gradient| {
        let n = ELEMENTS_PER_TASK;
        let moments = m.par_chunks_mut(n).zip(v.par_chunks_mut(n));
        let tasks = value.par_chunks_mut(n).zip(moments).zip(gradient.par_chunks(n));
        tasks.for_each(|((value, (m, v)), gradient)| update(value, m, v, gradient, u));
    })
}

/// Updates a table `[rows, width]` whose gradient is zero, bit for bit, in rows that are not touched.
pub(crate) fn adamw_table(
    value: &Tensor,
    moments: [&Tensor; 2],
    gradient: &Tensor,
    rows: &[RowState],
    u: &Update,
) -> Result<()> {
    let (_, width) = value.dims2()?;
    with_all(value, moments, gradient, |value, m, v, gradient| {
        let per_task = rows_per_task(width);
        let n = per_task * width;
        let moments = m.par_chunks_mut(n).zip(v.par_chunks_mut(n));
        let tasks =
            value.par_chunks_mut(n).zip(moments).zip(gradient.par_chunks(n)).zip(rows.par_chunks(per_task));
        tasks.for_each(|(((value, (m, v)), gradient), rows)| {
            let mut start = 0;
            for run in rows.chunk_by(|a, b| (*a == RowState::Never) == (*b == RowState::Never)) {
                let at = start..start + run.len() * width;
                start = at.end;
                if run.first() == Some(&RowState::Never) {
                    scale(&mut value[at], u.keep);
                } else {
                    update(&mut value[at.clone()], &mut m[at.clone()], &mut v[at.clone()], &gradient[at], u);
                }
            }
        });
    })
}

fn with_all(
    value: &Tensor,
    [m, v]: [&Tensor; 2],
    gradient: &Tensor,
    work: impl FnOnce(&mut [f32], &mut [f32], &mut [f32], &[f32]),
) -> Result<()> {
    storage::write(value, |value| {
        storage::write(m, |m| {
            storage::write(v, |v| {
                storage::read([gradient], |[gradient]| {
                    work(value, m, v, gradient);
                    Ok(())
                })
            })
        })
    })
}

/// Sum of squares in f64, of all elements or of the given rows of a table.
pub(crate) fn sum_of_squares(x: &Tensor, rows: Option<&[bool]>) -> Result<f64> {
    storage::read([x], |[data]| {
        let partial: Vec<f64> = match rows {
            None => data.par_chunks(ELEMENTS_PER_TASK).map(squares).collect(),
            Some(rows) => {
                let width = data.len() / rows.len().max(1);
                let touched =
                    rows.iter().zip(data.chunks_exact(width.max(1))).filter(|(touched, _)| **touched);
                touched.map(|(_, row)| squares(row)).collect()
            }
        };
        Ok(partial.iter().sum())
    })
}

/// Sets rows of a table to zero.
pub(crate) fn clear_rows(table: &Tensor, rows: &[bool]) -> Result<()> {
    storage::write(table, |table| {
        let width = table.len() / rows.len().max(1);
        for (_, row) in rows.iter().zip(table.chunks_exact_mut(width.max(1))).filter(|(touched, _)| **touched)
        {
            row.fill(0.0);
        }
        Ok(())
    })
}

/// `sum (+)= x`, of one shape.
pub(crate) fn accumulate(sum: &Tensor, x: &Tensor, accumulate: bool) -> Result<()> {
    storage::write(sum, |sum| {
        storage::read([x], |[x]| {
            if accumulate {
                sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
            } else {
                sum.copy_from_slice(x);
            }
            Ok(())
        })
    })
}

/// Which rows of two tables hold anything but zero.
pub(crate) fn rows_in_use(m: &Tensor, v: &Tensor) -> Result<Vec<bool>> {
    let (_, width) = m.dims2()?;
    storage::read([m, v], |[m, v]| {
        let rows = m.chunks_exact(width).zip(v.chunks_exact(width));
        Ok(rows.map(|(m, v)| m.iter().chain(v).any(|x| *x != 0.0)).collect())
    })
}

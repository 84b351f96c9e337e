//! Plain slices of contiguous f32 tensors on the CPU, to read and to write.
//!
//! This is the one door between candle's storage and the kernels. A kernel for another device looks at the tensor's
//! device before it comes here.

use std::cell::RefCell;

use candle_core::{CpuStorage, Error, InplaceOp1, Layout, Result, Storage, Tensor, bail};

/// Lends the elements of `tensor` to `f` for writing.
pub(crate) fn write<R>(tensor: &Tensor, f: impl FnOnce(&mut [f32]) -> Result<R>) -> Result<R> {
    let access = Access { work: RefCell::new(Some(f)), result: RefCell::new(None) };
    tensor.inplace_op1(&access)?;
    access.result.into_inner().ok_or_else(|| Error::Msg("the kernel did not run".into()))
}

/// Lends the elements of `tensors` to `f` for reading.
pub(crate) fn read<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *slice = match &**storage {
            Storage::Cpu(CpuStorage::F32(data)) => data.get(range(layout)?).ok_or_else(out_of_bounds)?,
            _ => bail!("this kernel runs on f32 tensors on the CPU only"),
        };
    }
    f(slices)
}

/// Shows the elements of `tensor`.
pub(crate) fn with_elements<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    read([tensor], |[elements]| Ok(f(elements)))
}

/// Lends the elements of `tensor` for writing.
pub(crate) fn with_elements_mut<R>(tensor: &Tensor, f: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    write(tensor, |elements| Ok(f(elements)))
}

fn range(layout: &Layout) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("kernels work on contiguous tensors, this one has strides {:?}", layout.stride()),
    }
}

fn out_of_bounds() -> Error {
    Error::Msg("a tensor's layout reaches beyond its storage".into())
}

/// Carries a closure into candle's in-place operation and its result out.
struct Access<F, R> {
    work: RefCell<Option<F>>,
    result: RefCell<Option<R>>,
}

impl<F: FnOnce(&mut [f32]) -> Result<R>, R> InplaceOp1 for Access<F, R> {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let CpuStorage::F32(data) = storage else { bail!("this kernel runs on f32 tensors only") };
        let slice = data.get_mut(range(layout)?).ok_or_else(out_of_bounds)?;
        if let Some(work) = self.work.take() {
            *self.result.borrow_mut() = Some(work(slice)?);
        }
        Ok(())
    }
}

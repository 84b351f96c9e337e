//! Memory of the card with an owner, and how much of it a run uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Compute, GpuError};

/// A card with the sum of what was taken from it.
#[derive(Debug)]
pub(crate) struct Card {
    compute: Arc<dyn Compute>,
    used: AtomicU64,
    peak: AtomicU64,
}

/// A stretch of the card's memory; given back when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    card: Arc<Card>,
    address: u64,
    bytes: usize,
}

impl Card {
    pub(crate) fn new(compute: Arc<dyn Compute>) -> Arc<Self> {
        Arc::new(Self { compute, used: AtomicU64::new(0), peak: AtomicU64::new(0) })
    }

    pub(crate) fn compute(&self) -> &dyn Compute {
        self.compute.as_ref()
    }

    /// Largest sum of buffers alive at one time, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// A buffer of undefined content.
    pub(crate) fn buffer(self: &Arc<Self>, bytes: usize) -> Result<Buffer, GpuError> {
        // Never empty, so that every address is one.
        let size = bytes.max(16);
        match self.compute.allocate(size)? {
            Some(address) => {
                let used = self.used.fetch_add(size as u64, Ordering::Relaxed) + size as u64;
                self.peak.fetch_max(used, Ordering::Relaxed);
                Ok(Buffer { card: Arc::clone(self), address, bytes: size })
            }
            None => Err(GpuError::OutOfMemory {
                requested: size as u64 >> 20,
                used: self.used.load(Ordering::Relaxed) >> 20,
                total: self.compute.memory()?.total >> 20,
            }),
        }
    }

    /// A buffer of zeros.
    pub(crate) fn zeros(self: &Arc<Self>, bytes: usize) -> Result<Buffer, GpuError> {
        let buffer = self.buffer(bytes)?;
        buffer.clear()?;
        Ok(buffer)
    }

    /// A buffer that holds `data`.
    pub(crate) fn holding<T: bytemuck::NoUninit>(self: &Arc<Self>, data: &[T]) -> Result<Buffer, GpuError> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.buffer(bytes.len())?;
        if !bytes.is_empty() {
            self.compute.upload(buffer.address, bytes)?;
        }
        Ok(buffer)
    }
}

impl Buffer {
    /// Where it lies.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Copies `data` to the front.
    pub(crate) fn write<T: bytemuck::NoUninit>(&self, data: &[T]) -> Result<(), GpuError> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        if bytes.len() > self.bytes {
            return Err(GpuError::device("an upload", "the data are larger than the buffer"));
        }
        self.card.compute.upload(self.address, bytes)
    }

    /// Waits and copies `count` elements out, from element `from`.
    pub(crate) fn read<T: bytemuck::Pod>(&self, from: usize, count: usize) -> Result<Vec<T>, GpuError> {
        let size = std::mem::size_of::<T>();
        if (from + count) * size > self.bytes {
            return Err(GpuError::device("a download", "the buffer holds less"));
        }
        let mut data = vec![T::zeroed(); count];
        self.card
            .compute
            .download(self.address + (from * size) as u64, bytemuck::cast_slice_mut(&mut data))?;
        Ok(data)
    }

    /// Fills it with zeros.
    pub(crate) fn clear(&self) -> Result<(), GpuError> {
        self.card.compute.zero(self.address, self.bytes)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.card.used.fetch_sub(self.bytes as u64, Ordering::Relaxed);
        self.card.compute.release(self.address, self.bytes);
    }
}

//! Sums between cards by NCCL; everything else goes over [`Tcp`].
//!
//! The library is looked up as `libnccl.so` when first used. Its sums are made in an order that the machines and their
//! wiring decide: the same each time on the same ones.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use cudarc::nccl::{result, sys};

use super::{Communicator, ParallelError, Tcp};
use crate::gpu::Cuda;

/// Bytes of NCCL's unique id.
const ID: usize = 128;

/// Cards connected by NCCL.
#[derive(Debug)]
pub struct Nccl {
    tcp: Tcp,
    card: Arc<Cuda>,
    /// Nothing where some process has no NCCL.
    handle: Option<Handle>,
}

#[derive(Debug)]
struct Handle(sys::ncclComm_t);
// SAFETY: NCCL allows calls from any thread, one at a time; the trainer's loop is one.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Nccl {
    /// Connects the cards of processes that met. Where a process has no NCCL, gradients go by way of the processors, which
    /// is slower, and a warning says so.
    ///
    /// # Errors
    /// [`ParallelError::Nccl`], and those of the exchange.
    pub fn connect(tcp: Tcp, card: Arc<Cuda>) -> Result<Self, ParallelError> {
        // SAFETY: asks the loader only.
        let present = unsafe { sys::is_culib_present() };
        let mut having = [f64::from(u8::from(present))];
        tcp.sum_f64(&mut having)?;
        let everywhere = having.iter().all(|n| *n > tcp.world_size() as f64 - 0.5);
        if !everywhere {
            tracing::warn!(
                "libnccl.so was not found in every process: gradients are added up by the processors, which is slower"
            );
            return Ok(Self { tcp, card, handle: None });
        }
        let id = if tcp.rank() == 0 {
            let id = result::get_uniqueid().map_err(failed)?;
            bytemuck::cast_slice::<c_char, u8>(&id.internal).to_vec()
        } else {
            Vec::new()
        };
        let id: [c_char; ID] = bytemuck::cast_slice::<u8, c_char>(&tcp.broadcast(id)?)
            .try_into()
            .map_err(|_| ParallelError::Nccl("rank 0 sent no id".into()))?;
        card.bind().map_err(|e| ParallelError::Nccl(e.to_string()))?;
        let mut handle = ptr::null_mut();
        let (world, rank) = (tcp.world_size() as c_int, tcp.rank() as c_int);
        // SAFETY: the context is bound; every process makes this call with the same id and a rank of its own.
        unsafe { result::comm_init_rank(&raw mut handle, world, sys::ncclUniqueId { internal: id }, rank) }
            .map_err(failed)?;
        Ok(Self { tcp, card, handle: Some(Handle(handle)) })
    }
}

fn failed(error: result::NcclError) -> ParallelError {
    ParallelError::Nccl(format!("{error:?}"))
}

impl Communicator for Nccl {
    fn rank(&self) -> usize {
        self.tcp.rank()
    }

    fn world_size(&self) -> usize {
        self.tcp.world_size()
    }

    fn sum_f32(&self, values: &mut [f32]) -> Result<(), ParallelError> {
        self.tcp.sum_f32(values)
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), ParallelError> {
        self.tcp.sum_f64(values)
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ParallelError> {
        self.tcp.broadcast(bytes)
    }

    fn sum_on_card(&self, address: u64, count: usize) -> Result<bool, ParallelError> {
        let Some(Handle(handle)) = &self.handle else { return Ok(false) };
        self.card.bind().map_err(|e| ParallelError::Nccl(e.to_string()))?;
        let values = address as *mut c_void;
        // SAFETY: the trainer owns `count` floats at the address; the sum runs on its stream, in order with its kernels.
        unsafe {
            result::all_reduce(
                values.cast_const(),
                values,
                count,
                sys::ncclDataType_t::ncclFloat32,
                sys::ncclRedOp_t::ncclSum,
                *handle,
                self.card.stream().cu_stream().cast(),
            )
        }
        .map_err(failed)?;
        Ok(true)
    }

    fn give_up(&self, reason: &str) {
        self.tcp.give_up(reason);
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        if let Some(Handle(handle)) = &self.handle {
            // SAFETY: the handle is valid and not used again. Aborting also frees a sum that waits for a dead process.
            if let Err(e) = unsafe { result::comm_abort(*handle) } {
                tracing::warn!("closing NCCL: {e:?}");
            }
        }
    }
}

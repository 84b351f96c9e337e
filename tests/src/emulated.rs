//! A card that is not there: kernels compiled for the processor, memory from the heap, products in plain loops.
//!
//! The one place of the tests with unsafe code: addresses a trainer was given here come back in launches.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::sync::Mutex;

use layoutlm_trainer::gpu::{Compute, ElementKind, GpuError, Launch, Memory, Operand, Product};

unsafe extern "C" {
    fn emulation_launch(
        name: *const c_char,
        grid: *const c_uint,
        threads: c_uint,
        shared: c_uint,
        arguments: *mut *mut c_void,
    ) -> c_int;
}

/// The emulation keeps its fibers in statics: one launch at a time in the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A card of a given memory, emulated.
#[derive(Debug)]
pub struct Emulated {
    capacity: u64,
    /// Blocks by address, in 16-byte units.
    blocks: Mutex<BTreeMap<u64, Vec<u128>>>,
}

impl Emulated {
    /// A card with `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        Self { capacity, blocks: Mutex::default() }
    }

    fn used(&self) -> u64 {
        self.blocks.lock().unwrap().values().map(|b| b.len() as u64 * 16).sum()
    }

    /// Panics unless `bytes` from `address` lie in one block: a kernel's arguments are checked as far as they can be.
    fn check(&self, address: u64, bytes: usize) {
        let blocks = self.blocks.lock().unwrap();
        let (start, block) = blocks.range(..=address).next_back().expect("an address of this card");
        assert!(address + bytes as u64 <= start + block.len() as u64 * 16, "beyond the end of a block");
    }
}

impl Compute for Emulated {
    fn name(&self) -> String {
        "emulation".into()
    }

    fn memory(&self) -> Result<Memory, GpuError> {
        Ok(Memory { free: self.capacity - self.used(), total: self.capacity })
    }

    fn allocate(&self, bytes: usize) -> Result<Option<u64>, GpuError> {
        if self.used() + bytes as u64 > self.capacity {
            return Ok(None);
        }
        // Filled with a pattern that is NaN as a float: what reads undefined memory shows.
        let block = vec![u128::MAX; bytes.div_ceil(16)];
        let address = block.as_ptr() as u64;
        self.blocks.lock().unwrap().insert(address, block);
        Ok(Some(address))
    }

    fn release(&self, address: u64, _: usize) {
        self.blocks.lock().unwrap().remove(&address);
    }

    fn upload(&self, address: u64, data: &[u8]) -> Result<(), GpuError> {
        self.check(address, data.len());
        // SAFETY: the range lies in a living block of ours.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), address as *mut u8, data.len()) };
        Ok(())
    }

    fn download(&self, address: u64, data: &mut [u8]) -> Result<(), GpuError> {
        self.check(address, data.len());
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(address as *const u8, data.as_mut_ptr(), data.len()) };
        Ok(())
    }

    fn zero(&self, address: u64, bytes: usize) -> Result<(), GpuError> {
        self.upload(address, &vec![0; bytes])
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<(), GpuError> {
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = CString::new(launch.kernel).unwrap();
        let mut arguments: Vec<*mut c_void> =
            launch.args.iter().map(layoutlm_trainer::gpu::Arg::pointer).collect();
        // SAFETY: the kernel reads its arguments through these pointers, which live until it returns; their addresses
        // are blocks of this card.
        let code = unsafe {
            emulation_launch(
                name.as_ptr(),
                launch.grid.as_ptr(),
                launch.threads,
                launch.shared,
                arguments.as_mut_ptr(),
            )
        };
        match code {
            0 => Ok(()),
            1 => Err(GpuError::device(launch.kernel, "there is no such kernel")),
            _ => Err(GpuError::device(launch.kernel, "too much shared memory")),
        }
    }

    fn multiply(&self, p: &Product) -> Result<(), GpuError> {
        let a = self.read(&p.a, p.m * p.k);
        let b = self.read(&p.b, p.k * p.n);
        let mut c = if p.beta == 0.0 { vec![0.0; p.m * p.n] } else { self.read(&p.c, p.m * p.n) };
        for row in 0..p.m {
            for column in 0..p.n {
                let term = |k: usize| {
                    let left = if p.a.transposed { a[k * p.m + row] } else { a[row * p.k + k] };
                    let right = if p.b.transposed { b[column * p.k + k] } else { b[k * p.n + column] };
                    f64::from(left) * f64::from(right)
                };
                let sum: f64 = (0..p.k).map(term).sum();
                let out = &mut c[row * p.n + column];
                *out = (f64::from(*out * p.beta) + sum) as f32;
            }
        }
        let bytes: Vec<u8> = match p.c.kind {
            ElementKind::F32 => c.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ElementKind::Bf16 => c.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
            ElementKind::F16 => c.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
        };
        self.upload(p.c.address, &bytes)
    }
}

impl Emulated {
    fn read(&self, operand: &Operand, count: usize) -> Vec<f32> {
        let mut bytes = vec![0; count * operand.kind.bytes()];
        self.download(operand.address, &mut bytes).unwrap();
        match operand.kind {
            ElementKind::F32 => {
                bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            ElementKind::Bf16 => {
                bytes.chunks(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            ElementKind::F16 => {
                bytes.chunks(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
        }
    }
}

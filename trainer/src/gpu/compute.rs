//! What runs kernels: a card, or its emulation in tests.

use std::ffi::c_void;
use std::fmt::Debug;

use super::kernels::{AdamWArg, AttentionArg, DropoutArg};
use super::{GpuError, Precision};

/// Format of elements in the card's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementKind {
    /// 32-bit float.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half.
    F16,
}

impl ElementKind {
    /// Size in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Suffix of the names of kernels for this format.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// An argument of a kernel; its memory is laid out as the kernel's parameter.
#[derive(Debug, Clone, Copy)]
pub enum Arg {
    /// An address in the card's memory, or 0.
    Address(u64),
    /// A signed integer.
    I32(i32),
    /// A count of elements.
    U64(u64),
    /// A float.
    F32(f32),
    /// A dropout site.
    Dropout(DropoutArg),
    /// The shape of attention.
    Attention(AttentionArg),
    /// Constants of the optimiser.
    AdamW(AdamWArg),
}

impl Arg {
    /// Where the value lies, for launch interfaces that take pointers to arguments.
    pub fn pointer(&self) -> *mut c_void {
        let pointer: *const c_void = match self {
            Self::Address(value) | Self::U64(value) => std::ptr::from_ref(value).cast(),
            Self::I32(value) => std::ptr::from_ref(value).cast(),
            Self::F32(value) => std::ptr::from_ref(value).cast(),
            Self::Dropout(value) => std::ptr::from_ref(value).cast(),
            Self::Attention(value) => std::ptr::from_ref(value).cast(),
            Self::AdamW(value) => std::ptr::from_ref(value).cast(),
        };
        pointer.cast_mut()
    }
}

/// One kernel launch.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Entry point.
    pub kernel: &'a str,
    /// Blocks in each direction.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Shared memory of a block in bytes, beside what the kernel declares.
    pub shared: u32,
    /// Arguments in order.
    pub args: &'a [Arg],
}

/// A matrix of a [`Product`], row-major and dense.
#[derive(Debug, Clone, Copy)]
pub struct Operand {
    /// Where it lies.
    pub address: u64,
    /// Its elements.
    pub kind: ElementKind,
    /// Whether the product takes it transposed.
    pub transposed: bool,
}

/// `c [m, n] = op(a) [m, k] · op(b) [k, n] + beta · c`, summed in f32.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// Left matrix.
    pub a: Operand,
    /// Right matrix.
    pub b: Operand,
    /// The result; never transposed.
    pub c: Operand,
    /// 0 overwrites the result, 1 adds to it.
    pub beta: f32,
    /// Whether f32 operands may be rounded to TF32.
    pub precision: Precision,
}

/// Memory of the card in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Not in use by anyone.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// Runs kernels and products in the order they are given. Addresses are the card's own.
pub trait Compute: Debug + Send + Sync {
    /// What it is, for the record: e.g. the card's name.
    fn name(&self) -> String;

    /// Memory free and there.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    fn memory(&self) -> Result<Memory, GpuError>;

    /// Reserves memory; its content is undefined. `None` when there is not enough.
    ///
    /// # Errors
    /// [`GpuError::Device`] for any other failure.
    fn allocate(&self, bytes: usize) -> Result<Option<u64>, GpuError>;

    /// Gives memory back once what was launched before is done.
    fn release(&self, address: u64, bytes: usize);

    /// Copies to the card. The source may be reused at once.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    fn upload(&self, address: u64, data: &[u8]) -> Result<(), GpuError>;

    /// Waits for everything launched so far and copies from the card.
    ///
    /// # Errors
    /// [`GpuError::Device`], also for a kernel that failed earlier.
    fn download(&self, address: u64, data: &mut [u8]) -> Result<(), GpuError>;

    /// Fills memory with zeros.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    fn zero(&self, address: u64, bytes: usize) -> Result<(), GpuError>;

    /// Starts a kernel.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    fn launch(&self, launch: &Launch<'_>) -> Result<(), GpuError>;

    /// Starts a matrix product.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    fn multiply(&self, product: &Product) -> Result<(), GpuError>;
}

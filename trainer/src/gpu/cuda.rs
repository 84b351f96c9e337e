//! A CUDA card behind [`Compute`]: the driver, cuBLAS and the kernels' PTX.
//!
//! The driver and cuBLAS are looked up when first used, so a program built with this feature starts on machines without
//! a card. The one file of the trainer that calls them.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CString, c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::cublas::{CudaBlas, result as blas, sys as blas_sys};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::{Compute, ElementKind, GpuError, Launch, Memory, Operand, Precision, Product};

/// The kernels, compiled by the build script for compute capability 8.6; the driver translates them for newer cards.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));
/// CUDA version whose drivers read [`PTX`].
const NEEDED: &str = env!("LAYOUTLM_CUDA_VERSION");
/// Lowest compute capability the kernels run on.
const CAPABILITY: (i32, i32) = (8, 6);
/// Shared memory every kernel may use without asking.
const PLAIN_SHARED: u32 = 48 * 1024;

/// Functions are handles of the driver, valid in every thread that has the context bound.
#[derive(Debug, Clone, Copy)]
struct Function(sys::CUfunction);
// SAFETY: see above.
unsafe impl Send for Function {}

/// One CUDA card.
#[derive(Debug)]
pub struct Cuda {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    blas: CudaBlas,
    module: Module,
    functions: Mutex<HashMap<String, Function>>,
    pooled: bool,
}

/// A loaded module; lives as long as the process.
#[derive(Debug, Clone, Copy)]
struct Module(sys::CUmodule);
// SAFETY: a handle of the driver, as functions are.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Cuda {
    /// Number of cards; 0 where there is no driver.
    pub fn count() -> usize {
        // SAFETY: asks the loader only.
        if !unsafe { sys::is_culib_present() } || result::init().is_err() {
            return 0;
        }
        CudaContext::device_count().ok().and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
    }

    /// Opens card `index` and loads the kernels.
    ///
    /// # Errors
    /// [`GpuError::Driver`] without a driver or cuBLAS, [`GpuError::NoDevice`] for an index beyond the cards,
    /// [`GpuError::OldDriver`] when the driver does not read the kernels.
    pub fn new(index: usize) -> Result<Self, GpuError> {
        // SAFETY: asks the loader only.
        if !unsafe { sys::is_culib_present() } {
            return Err(GpuError::Driver("libcuda.so was not found".into()));
        }
        result::init().map_err(|e| GpuError::Driver(e.to_string()))?;
        check_driver()?;
        let count = Self::count();
        if index >= count {
            return Err(GpuError::NoDevice { index, count });
        }
        // SAFETY: asks the loader only.
        if !unsafe { blas_sys::is_culib_present() } {
            return Err(GpuError::Driver(
                "libcublas.so was not found; install the CUDA runtime libraries".into(),
            ));
        }
        let context = CudaContext::new(index).map_err(|e| GpuError::Driver(e.to_string()))?;
        let capability = context.compute_capability().map_err(failed("asking for the compute capability"))?;
        if capability < CAPABILITY {
            let detail = format!("compute capability {}.{} of {CAPABILITY:?}", capability.0, capability.1);
            return Err(GpuError::device("loading the kernels", format!("the card is too old: {detail}")));
        }
        let stream = context.new_stream().map_err(failed("making a stream"))?;
        let blas = CudaBlas::new(Arc::clone(&stream)).map_err(|e| GpuError::device("starting cuBLAS", e))?;
        let module = load()?;
        let pooled = context.has_async_alloc();
        if pooled {
            keep_memory(&context)?;
        }
        Ok(Self { context, stream, blas, module, functions: Mutex::default(), pooled })
    }

    /// The stream everything runs on.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub(crate) fn bind(&self) -> Result<(), GpuError> {
        self.context.bind_to_thread().map_err(failed("binding the context"))
    }

    fn function(&self, name: &str, shared: u32) -> Result<Function, GpuError> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(name) {
            return Ok(*function);
        }
        let c_name = CString::new(name).map_err(|e| GpuError::device(name, e))?;
        // SAFETY: the module is loaded and its context bound.
        let function =
            unsafe { result::module::get_function(self.module.0, c_name) }.map_err(failed(name))?;
        if shared > PLAIN_SHARED {
            let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = c_int::try_from(shared).unwrap_or(c_int::MAX);
            // SAFETY: the function is valid; a size beyond the card's is an error.
            unsafe { result::function::set_function_attribute(function, attribute, bytes) }
                .map_err(failed(name))?;
        }
        functions.insert(name.to_string(), Function(function));
        Ok(Function(function))
    }
}

/// Refuses a driver of an older CUDA than the kernels', before it is asked for anything it may not have.
fn check_driver() -> Result<(), GpuError> {
    let mut version: c_int = 0;
    // SAFETY: the call writes one integer.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }
        .result()
        .map_err(failed("asking for the driver's version"))?;
    let found = (version / 1000, version % 1000 / 10);
    let mut needed = NEEDED.split('.').map(|part| part.parse().unwrap_or(0));
    if found < (needed.next().unwrap_or(0), needed.next().unwrap_or(0)) {
        let detail = format!("it is one for CUDA {}.{}", found.0, found.1);
        return Err(GpuError::OldDriver { detail, needed: NEEDED });
    }
    Ok(())
}

/// Memory given back stays with this process for its next passes, instead of going back to the driver at every wait.
fn keep_memory(context: &CudaContext) -> Result<(), GpuError> {
    let mut pool = std::ptr::null_mut();
    let mut all = u64::MAX;
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device is open; the attribute's value is a u64, which the call copies.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device())
            .result()
            .map_err(failed("a pool"))?;
        sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut all).cast()).result().map_err(failed("a pool"))
    }
}

fn load() -> Result<Module, GpuError> {
    let source = CString::new(PTX).map_err(|e| GpuError::device("loading the kernels", e))?;
    // SAFETY: a string that ends in zero, as the driver expects of PTX.
    match unsafe { result::module::load_data(source.as_ptr().cast::<c_void>()) } {
        Ok(module) => Ok(Module(module)),
        Err(DriverError(
            code
            @ (sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION | sys::CUresult::CUDA_ERROR_INVALID_PTX),
        )) => Err(GpuError::OldDriver { detail: DriverError(code).to_string(), needed: NEEDED }),
        Err(e) => Err(GpuError::device("loading the kernels", e)),
    }
}

fn failed(operation: &str) -> impl FnOnce(DriverError) -> GpuError {
    let operation = operation.to_string();
    move |e| GpuError::device(operation, e)
}

impl Compute for Cuda {
    fn name(&self) -> String {
        self.context.name().unwrap_or_else(|_| "CUDA device".into())
    }

    fn memory(&self) -> Result<Memory, GpuError> {
        let (free, total) = self.context.mem_get_info().map_err(failed("asking for memory"))?;
        Ok(Memory { free: free as u64, total: total as u64 })
    }

    fn allocate(&self, bytes: usize) -> Result<Option<u64>, GpuError> {
        self.bind()?;
        // SAFETY: the stream and context are alive; the content is undefined, as promised.
        let memory = unsafe {
            if self.pooled {
                result::malloc_async(self.stream.cu_stream(), bytes)
            } else {
                result::malloc_sync(bytes)
            }
        };
        match memory {
            Ok(address) => Ok(Some(address)),
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Ok(None),
            Err(e) => Err(GpuError::device("reserving memory", e)),
        }
    }

    fn release(&self, address: u64, _: usize) {
        if self.bind().is_err() {
            return;
        }
        // SAFETY: the address came from `allocate` and is released once.
        let freed = unsafe {
            if self.pooled {
                result::free_async(address, self.stream.cu_stream())
            } else {
                result::free_sync(address)
            }
        };
        if let Err(e) = freed {
            tracing::warn!(%e, "giving memory back to the card failed");
        }
    }

    fn upload(&self, address: u64, data: &[u8]) -> Result<(), GpuError> {
        self.bind()?;
        // SAFETY: the caller owns the range. The source is pageable, so the driver has read it when this returns.
        unsafe { result::memcpy_htod_async(address, data, self.stream.cu_stream()) }
            .map_err(failed("an upload"))
    }

    fn download(&self, address: u64, data: &mut [u8]) -> Result<(), GpuError> {
        self.bind()?;
        // SAFETY: the caller owns the range, and waits before the target is used.
        unsafe { result::memcpy_dtoh_async(data, address, self.stream.cu_stream()) }
            .map_err(failed("a download"))?;
        self.stream.synchronize().map_err(failed("waiting for the card"))
    }

    fn zero(&self, address: u64, bytes: usize) -> Result<(), GpuError> {
        self.bind()?;
        // SAFETY: the caller owns the range.
        unsafe { result::memset_d8_async(address, 0, bytes, self.stream.cu_stream()) }
            .map_err(failed("clearing memory"))
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<(), GpuError> {
        self.bind()?;
        let function = self.function(launch.kernel, launch.shared)?;
        let mut args: Vec<*mut c_void> = launch.args.iter().map(super::Arg::pointer).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: arguments are laid out as the kernel's parameters; the driver copies them before it returns.
        unsafe {
            result::launch_kernel(
                function.0,
                (x, y, z),
                (launch.threads, 1, 1),
                launch.shared,
                self.stream.cu_stream(),
                &mut args,
            )
        }
        .map_err(failed(launch.kernel))
    }

    fn multiply(&self, p: &Product) -> Result<(), GpuError> {
        self.bind()?;
        let (alpha, beta) = (1f32, p.beta);
        // cuBLAS counts by columns: the transposed product, with the operands changing places.
        let (stored_b, stored_a) =
            (if p.b.transposed { p.k } else { p.n }, if p.a.transposed { p.m } else { p.k });
        // SAFETY: dimensions and leading dimensions describe dense matrices that the caller owns.
        unsafe {
            blas::gemm_ex(
                *self.blas.handle(),
                operation(&p.b),
                operation(&p.a),
                int(p.n),
                int(p.m),
                int(p.k),
                std::ptr::from_ref(&alpha).cast(),
                p.b.address as *const c_void,
                kind(p.b.kind),
                int(stored_b),
                p.a.address as *const c_void,
                kind(p.a.kind),
                int(stored_a),
                std::ptr::from_ref(&beta).cast(),
                p.c.address as *mut c_void,
                kind(p.c.kind),
                int(p.n),
                compute_type(p.precision),
                blas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .map_err(|e| GpuError::device("a matrix product", e))
    }
}

fn int(size: usize) -> c_int {
    c_int::try_from(size).unwrap_or(c_int::MAX)
}

fn operation(operand: &Operand) -> blas_sys::cublasOperation_t {
    if operand.transposed {
        blas_sys::cublasOperation_t::CUBLAS_OP_T
    } else {
        blas_sys::cublasOperation_t::CUBLAS_OP_N
    }
}

fn kind(kind: ElementKind) -> blas_sys::cudaDataType {
    match kind {
        ElementKind::F32 => blas_sys::cudaDataType::CUDA_R_32F,
        ElementKind::Bf16 => blas_sys::cudaDataType::CUDA_R_16BF,
        ElementKind::F16 => blas_sys::cudaDataType::CUDA_R_16F,
    }
}

fn compute_type(precision: Precision) -> blas_sys::cublasComputeType_t {
    match precision {
        Precision::Tf32 => blas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
        Precision::Fp32 | Precision::Bf16 | Precision::Fp16 => {
            blas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F
        }
    }
}

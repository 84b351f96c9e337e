//! What can go wrong on a card.

/// Why a computation on the card failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// There is no driver, or none that this program can use.
    #[error("no usable CUDA driver: {0}; install the NVIDIA driver, or train with --device cpu")]
    Driver(String),
    /// The card asked for does not exist.
    #[error(
        "there is no CUDA device {index}: this machine has {count}, numbered from 0; give another --device, or cpu"
    )]
    NoDevice {
        /// The device asked for.
        index: usize,
        /// Devices there are.
        count: usize,
    },
    /// The driver is too old for the kernels.
    #[error(
        "the CUDA driver is too old for these kernels ({detail}); update it to one for CUDA {needed} or newer, or \
         train with --device cpu"
    )]
    OldDriver {
        /// What the driver said.
        detail: String,
        /// The version the kernels were compiled for.
        needed: &'static str,
    },
    /// The card's memory is used up.
    #[error(
        "out of memory on the card: {requested} MiB more were asked for with {used} of {total} MiB in use by this run"
    )]
    OutOfMemory {
        /// Size of the request in MiB.
        requested: u64,
        /// Memory held by this run in MiB.
        used: u64,
        /// Memory of the card in MiB.
        total: u64,
    },
    /// A dimension no kernel was made for.
    #[error("{what} is {value}, but on a card it must be {expected}; train with --device cpu")]
    Dimension {
        /// The configuration's field.
        what: &'static str,
        /// Its value.
        value: usize,
        /// What kernels exist for.
        expected: &'static str,
    },
    /// A kernel or library call failed.
    #[error("{operation} failed on the card: {detail}")]
    Device {
        /// What was being done.
        operation: String,
        /// What the driver or library said.
        detail: String,
    },
    /// The batch does not fit the model.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// A weight is missing or misshapen.
    #[error(transparent)]
    Weights(#[from] crate::weights::WeightsError),
}

impl GpuError {
    /// A failed call.
    pub fn device(operation: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::Device { operation: operation.into(), detail: detail.to_string() }
    }
}

//! What computes.

use layoutlm_trainer::config::{Device, PrecisionChoice, TrainConfig};

/// Flags about the machine.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Machine")]
pub struct DeviceArgs {
    /// What computes: cuda (cuda:n for card n), cpu, or auto: a card where there is a usable one.
    #[arg(long, env = "LAYOUTLM_DEVICE", default_value = "auto")]
    pub device: Device,
    /// Number format on a card: fp32, tf32, bf16, fp16, or auto, which is bf16; a processor computes in fp32.
    #[arg(long, env = "LAYOUTLM_PRECISION", default_value = "auto")]
    pub precision: PrecisionChoice,
    /// Keep only each layer's input on a card and compute the rest again: less memory, more time.
    #[arg(long, env = "LAYOUTLM_GRADIENT_CHECKPOINTING")]
    pub gradient_checkpointing: bool,
    /// Compute batches in passes as large as a card's memory allows; steps stay those of --batch-size.
    #[arg(long, env = "LAYOUTLM_AUTO_BATCH")]
    pub auto_batch: bool,
    /// Threads of the CPU kernels; all cores by default.
    #[arg(long, env = "LAYOUTLM_THREADS")]
    pub threads: Option<usize>,
}

impl DeviceArgs {
    /// Sets everything these flags decide.
    pub fn apply(&self, config: TrainConfig) -> TrainConfig {
        TrainConfig {
            device: self.device,
            precision: self.precision,
            gradient_checkpointing: self.gradient_checkpointing,
            auto_batch: self.auto_batch,
            threads: self.threads.unwrap_or(config.threads),
            ..config
        }
    }
}

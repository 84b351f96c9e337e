//! One file per command.

pub mod data;
mod encode;
mod evaluate;
mod export;
mod fetch;
mod model;
mod predict;
mod quickstart;
mod receipts;
mod runs;
mod serve;
mod sweep;
mod train;
mod verify;

use clap::Subcommand;

pub use train::Args as TrainArgs;

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Synthesise receipts, train a small model, export it, prove it and serve it.
    Quickstart(quickstart::Args),
    /// Fine-tune LayoutLM on labelled receipts.
    Train(Box<train::Args>),
    /// Score a checkpoint or bundle on labelled receipts.
    Evaluate(evaluate::Args),
    /// Write a checkpoint as an ONNX bundle with its proof.
    Export(export::Args),
    /// Replay a bundle's proof on this machine.
    Verify(verify::Args),
    /// Label receipts from a JSONL file.
    Predict(predict::Args),
    /// Show exactly what the network is fed, one JSON object per window.
    Encode(encode::Args),
    /// Make, import and inspect data.
    #[command(subcommand)]
    Data(data::Command),
    /// Look at past runs.
    #[command(subcommand)]
    Runs(runs::Command),
    /// Train several runs over varied flags and compare them.
    Sweep(sweep::Args),
    /// Serve a bundle over HTTP.
    Serve(serve::Args),
}

/// What becomes of freed memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// It is kept for the same again, as in training.
    Keep,
    /// It is given back at once, as one large model makes room for the next.
    GiveBack,
    /// As the allocator does by itself.
    AsUsual,
}

impl Command {
    /// What suits the command.
    pub fn memory(&self) -> Memory {
        match self {
            Self::Quickstart(_) | Self::Train(_) | Self::Evaluate(_) | Self::Sweep(_) => Memory::Keep,
            Self::Data(data::Command::Audit(_)) => Memory::Keep,
            Self::Export(_) | Self::Verify(_) => Memory::GiveBack,
            _ => Memory::AsUsual,
        }
    }
}

/// Runs one command to its end.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Quickstart(args) => quickstart::run(args),
        Command::Train(args) => train::run(*args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Export(args) => export::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Encode(args) => encode::run(args),
        Command::Data(command) => data::run(command),
        Command::Runs(command) => runs::run(command),
        Command::Sweep(args) => sweep::run(&args),
        Command::Serve(args) => serve::run(args),
    }
}

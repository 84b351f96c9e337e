//! `layoutlm-cli`: one binary that puts the rooms together. It parses, converts and hands over; no logic of its own.
#![allow(unreachable_pub)] // A binary hands nothing out.

mod allocator;
mod commands;
mod exit;
mod interrupt;
mod progress;

use std::process::ExitCode;

use clap::Parser;

/// Train, export and serve LayoutLM for receipts.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 a check or proof did not hold, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "layoutlm-cli", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    exit::code_of(commands::run(cli.command))
}

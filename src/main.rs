//! `layoutlm-cli`: one binary that puts the rooms together. It parses, converts and hands over; no logic of its own.
#![allow(unreachable_pub)] // A binary hands nothing out.

mod allocator;
mod arguments;
mod cloud;
mod commands;
mod config_file;
mod effective;
mod exit;
mod interrupt;
mod progress;
mod sagemaker;

use std::process::ExitCode;

use commands::Memory;

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    let parsed = sagemaker::take_over(&argv).and_then(|()| arguments::parse(argv));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return exit::code_of(Err(error)),
    };
    match cli.command.memory() {
        Memory::Keep => allocator::keep_freed_memory(),
        Memory::GiveBack => allocator::give_back_freed_memory(),
        Memory::AsUsual => {}
    }
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    exit::code_of(commands::run(cli.command))
}

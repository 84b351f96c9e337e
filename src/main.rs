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

use std::io::IsTerminal;
use std::process::ExitCode;

use commands::Memory;
use tracing_subscriber::EnvFilter;

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
    log_to_stderr();
    exit::code_of(commands::run(cli.command))
}

/// Warnings go to stderr, or what RUST_LOG asks for; in colour only where somebody looks on.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !plain)
        .init();
}

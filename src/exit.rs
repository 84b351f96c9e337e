//! From an error to one line on stderr and a documented exit code.

use std::process::ExitCode;

/// The input or the flags were wrong: exit 2.
#[derive(Debug)]
pub struct Usage(pub anyhow::Error);

/// A check or proof did not hold: exit 3.
#[derive(Debug)]
pub struct NotProven(pub anyhow::Error);

/// Stopped by a signal, work kept: exit 130.
#[derive(Debug)]
pub struct Interrupted(pub String);

macro_rules! shows_inner {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:#}", self.0)
            }
        }
        impl std::error::Error for $name {}
    };
}
shows_inner!(Usage);
shows_inner!(NotProven);
shows_inner!(Interrupted);

/// Marks an error as the caller's: wrong flags or unreadable input.
pub fn usage<E: Into<anyhow::Error>>(error: E) -> anyhow::Error {
    Usage(error.into()).into()
}

/// Marks an error as a proof that failed.
pub fn not_proven<E: Into<anyhow::Error>>(error: E) -> anyhow::Error {
    NotProven(error.into()).into()
}

/// Prints the error, if any, on one line and gives its code.
pub fn code_of(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let broken_pipe = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let code = if error.is::<Usage>() {
        2
    } else if error.is::<NotProven>() {
        3
    } else if error.is::<Interrupted>() {
        130
    } else {
        1
    };
    eprintln!("error: {error:#}");
    ExitCode::from(code)
}

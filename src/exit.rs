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

macro_rules! shown_as {
    ($name:ident, $text:expr) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$text(&self.0))
            }
        }
        impl std::error::Error for $name {}
    };
}
shown_as!(Usage, sentence);
shown_as!(NotProven, sentence);
shown_as!(Interrupted, String::clone);

/// An error and its causes on one line.
///
/// Most errors here spell out their cause themselves, so that a log line made of one is complete, and still give it as
/// their source, so that its kind can be asked for: what was said already is not said again.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

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
    eprintln!("error: {}", sentence(&error));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Context;
    use layoutlm_trainer::files::FileError;

    use super::*;

    #[test]
    fn causes_are_told_once_whether_or_not_their_error_tells_them() {
        let missing = || std::io::Error::other("no such file");
        let complete = FileError::at(Path::new("a.json"))(missing());
        assert_eq!(sentence(&complete.into()), "a.json: no such file");
        let bare = Err::<(), _>(missing()).context("--config a.toml").unwrap_err();
        assert_eq!(sentence(&bare), "--config a.toml: no such file");
        assert_eq!(usage(bare).to_string(), "--config a.toml: no such file");
    }
}

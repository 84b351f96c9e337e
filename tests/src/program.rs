//! `layoutlm-server` as a program of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The program beside the test's own file; built here when only the test's crate was.
pub fn server_program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().nth(2).unwrap();
    let program = folder.join("layoutlm-server");
    if !program.is_file() {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "-p", "layoutlm-inference", "--bin", "layoutlm-server"]);
        build.args((folder.file_name().unwrap() == "release").then_some("--release"));
        assert!(build.status().unwrap().success());
    }
    program
}

/// A program that is ended with the test.
pub struct Running(pub Child);

impl Running {
    /// Starts a command with its stderr kept.
    pub fn start(command: &mut Command) -> Self {
        Self(command.stderr(Stdio::piped()).spawn().unwrap())
    }

    /// The first line on stderr.
    pub fn first_line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
        line
    }

    /// Sends a signal by its name, e.g. `-TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

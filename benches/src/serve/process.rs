//! A server in a process of its own, and what the system says of it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// How to start a server. `{port}` in an argument becomes its port.
#[derive(Debug, Clone, Deserialize)]
pub struct Recipe {
    /// As the table calls it.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    ready_in: Duration,
}

impl Server {
    /// Starts a server and waits until `/health/ready` answers 200.
    ///
    /// # Errors
    /// When it ends or is not ready within two minutes.
    pub fn start(recipe: &Recipe, log: &Path) -> Result<Self> {
        // Free now and in all likelihood a moment later.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let fill = |argument: &String| argument.replace("{port}", &address.port().to_string());
        let (program, arguments) = recipe.command.split_first().context("a recipe without a program")?;
        let log = std::fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let begun = Instant::now();
        let child = Command::new(program)
            .args(arguments.iter().map(fill))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let mut server = Self { child, address, ready_in: Duration::ZERO };
        while !server.is_ready() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended with {status} before it was ready", recipe.name);
            }
            if begun.elapsed() > Duration::from_secs(120) {
                bail!("{} was not ready within two minutes", recipe.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        server.ready_in = begun.elapsed();
        Ok(server)
    }

    fn is_ready(&self) -> bool {
        let url = format!("http://{}/health/ready", self.address);
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2)));
        let agent: ureq::Agent = config.build().into();
        agent.get(url).call().is_ok()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Time from its start to its first ready answer.
    pub fn ready_in(&self) -> Duration {
        self.ready_in
    }

    /// Resident and peak memory of its process, MiB.
    pub fn memory_mib(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(self.proc("status")).unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(f64::NAN)
                / 1024.0
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// CPU seconds it has used, to a hundredth.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(self.proc("stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// Sends SIGTERM and waits; the exit code.
    ///
    /// # Errors
    /// When it has to be killed after `patience`.
    pub fn stop(mut self, patience: Duration) -> Result<i32> {
        let told = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        let until = Instant::now() + patience;
        while told.success() && Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code().unwrap_or(-1));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the server did not stop within {patience:?}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The server's options: one definition for flags, environment variables, defaults and help.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::EngineOptions;

/// Options of `layoutlm-server` and `layoutlm-cli serve`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct ServerConfig {
    /// Bundle folder to serve, as written by `layoutlm-cli export`
    #[arg(long, env = "LAYOUTLM_BUNDLE", value_name = "DIR")]
    pub bundle: PathBuf,

    /// Variant of the bundle to serve (fp32, fused, int8) [default: the bundle's own default]
    #[arg(long, env = "LAYOUTLM_VARIANT", value_name = "NAME")]
    pub variant: Option<String>,

    /// ONNX Runtime library, or the folder it is in [default: searched]
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,

    /// Address to listen on
    #[arg(long, env = "LAYOUTLM_HOST", value_name = "IP", default_value = "127.0.0.1")]
    pub host: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "LAYOUTLM_PORT", value_name = "PORT", default_value_t = 8080)]
    pub port: u16,

    /// Windows computed side by side [default: one per core of this process]
    #[arg(long, env = "LAYOUTLM_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Threads per worker
    #[arg(long, env = "LAYOUTLM_THREADS", value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,

    /// Largest request body in bytes (413 above)
    #[arg(long, env = "LAYOUTLM_MAX_BODY_BYTES", value_name = "BYTES", default_value_t = 8 << 20,
          value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub max_body_bytes: u32,

    /// Most words of one receipt (422 above)
    #[arg(long, env = "LAYOUTLM_MAX_WORDS", value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_words: u32,

    /// Most receipts of one call (422 above)
    #[arg(long, env = "LAYOUTLM_MAX_RECEIPTS", value_name = "N", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_receipts: u32,

    /// Most windows (of up to 512 tokens) that may wait for a worker (429 above)
    #[arg(long, env = "LAYOUTLM_MAX_QUEUE", value_name = "N", default_value_t = 512,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_queue: u32,

    /// Most requests in hand at once, counted from their headers on (429 above)
    #[arg(long, env = "LAYOUTLM_MAX_REQUESTS", value_name = "N", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_requests: u32,

    /// Seconds a request may take from its last byte on (504 after)
    #[arg(long, env = "LAYOUTLM_TIMEOUT_SECONDS", value_name = "S", default_value_t = 30.0,
          value_parser = seconds)]
    pub timeout_seconds: f64,

    /// Seconds a request may take to send its body (408 after)
    #[arg(long, env = "LAYOUTLM_BODY_SECONDS", value_name = "S", default_value_t = 10.0,
          value_parser = seconds)]
    pub body_seconds: f64,

    /// Seconds that requests in hand may still take after SIGTERM
    #[arg(long, env = "LAYOUTLM_DRAIN_SECONDS", value_name = "S", default_value_t = 20.0,
          value_parser = seconds)]
    pub drain_seconds: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number of seconds".to_string())?;
    if (0.001..=86_400.0).contains(&value) {
        Ok(value)
    } else {
        Err("expected 0.001 to 86400 seconds".into())
    }
}

impl ServerConfig {
    /// The defaults for a bundle folder, environment variables left aside.
    pub fn new(bundle: impl Into<PathBuf>) -> Self {
        Self {
            bundle: bundle.into(),
            variant: None,
            onnxruntime: None,
            host: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            port: 8080,
            workers: None,
            threads: 1,
            max_body_bytes: 8 << 20,
            max_words: 10_000,
            max_receipts: 128,
            max_queue: 512,
            max_requests: 256,
            timeout_seconds: 30.0,
            body_seconds: 10.0,
            drain_seconds: 20.0,
        }
    }

    /// Sessions and threads of the engine.
    pub fn engine_options(&self) -> EngineOptions {
        let sessions = self.workers.map_or_else(|| EngineOptions::throughput().sessions, usize::from);
        EngineOptions { sessions, threads: usize::from(self.threads) }
    }

    /// Time a request may take from its last byte on.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout_seconds)
    }

    /// Time a body may take to arrive.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.body_seconds)
    }

    /// Time to finish what is in hand when told to stop.
    pub fn drain(&self) -> Duration {
        Duration::from_secs_f64(self.drain_seconds)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        config: ServerConfig,
    }

    #[test]
    fn the_flags_defaults_are_those_of_new() {
        // The environment of the test run may name a library.
        let mut parsed = Program::try_parse_from(["x", "--bundle", "b"]).unwrap().config;
        parsed.onnxruntime = None;
        assert_eq!(parsed, ServerConfig::new("b"));
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for bad in
            [["--timeout-seconds", "nan"], ["--workers", "0"], ["--port", "70000"], ["--drain-seconds", "-1"]]
        {
            let args = ["x", "--bundle", "b", bad[0], bad[1]];
            assert!(Program::try_parse_from(args).is_err(), "{bad:?}");
        }
    }
}

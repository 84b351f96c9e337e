//! The server's options: one definition for flags, environment variables, defaults and help.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::pool::BatchRule;

/// Options of `layoutlm-server` and `layoutlm-cli serve`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct ServerConfig {
    /// Bundle folder to serve, as written by `layoutlm-cli export`; or a text file that holds the folder's path; with the
    /// feature `s3` also an s3://… address
    #[arg(long, visible_alias = "model", env = "LAYOUTLM_BUNDLE", value_name = "DIR")]
    pub bundle: PathBuf,

    /// Variant of the bundle to serve (fp32, fused, int8) [default: the bundle's own default]
    #[arg(long, env = "LAYOUTLM_VARIANT", value_name = "NAME")]
    pub variant: Option<String>,

    /// Seconds between looks at where --bundle points; a change is loaded as on SIGHUP; 0 never looks
    #[arg(long, env = "LAYOUTLM_RELOAD_SECONDS", value_name = "S", default_value_t = 5.0, value_parser = seconds_or_never)]
    pub reload_seconds: f64,

    /// ONNX Runtime library, or the folder it is in [default: searched]
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,

    /// Address to listen on
    #[arg(long, env = "LAYOUTLM_HOST", value_name = "IP", default_value = "127.0.0.1")]
    pub host: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "LAYOUTLM_PORT", value_name = "PORT", default_value_t = 8080)]
    pub port: u16,

    /// Windows computed side by side under load, one thread each [default: one per core of this process's share]
    #[arg(long, env = "LAYOUTLM_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Threads for a window that has no company; 1 opens no session for it [default: one per core of this process's
    /// share]
    #[arg(long, env = "LAYOUTLM_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Most tokens computed in one run, padding counted; 0 runs every window alone. Has no effect on int8, whose
    /// answers would depend on the company
    #[arg(long, env = "LAYOUTLM_BATCH_TOKENS", value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(..=1 << 20))]
    pub batch_tokens: u32,

    /// Milliseconds that a window may wait for others to share its run
    #[arg(long, env = "LAYOUTLM_BATCH_DELAY_MS", value_name = "MS", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(..=1000))]
    pub batch_delay_ms: u32,

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

    /// Most connections at once; further ones wait to be accepted
    #[arg(long, env = "LAYOUTLM_MAX_CONNECTIONS", value_name = "N", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub max_connections: u32,

    /// Seconds a request may take from its last byte on (504 after)
    #[arg(long, env = "LAYOUTLM_TIMEOUT_SECONDS", value_name = "S", default_value_t = 30.0,
          value_parser = seconds)]
    pub timeout_seconds: f64,

    /// Seconds a connection may take to send a request's headers, or be idle (closed after)
    #[arg(long, env = "LAYOUTLM_HEADER_SECONDS", value_name = "S", default_value_t = 30.0,
          value_parser = seconds)]
    pub header_seconds: f64,

    /// Seconds a request may take to send its body (408 after)
    #[arg(long, env = "LAYOUTLM_BODY_SECONDS", value_name = "S", default_value_t = 10.0,
          value_parser = seconds)]
    pub body_seconds: f64,

    /// Seconds that requests in hand may still take after SIGTERM
    #[arg(long, env = "LAYOUTLM_DRAIN_SECONDS", value_name = "S", default_value_t = 20.0,
          value_parser = seconds)]
    pub drain_seconds: f64,

    /// File whose first line is the API key that calls must bring [default: no key]
    #[arg(long, env = "LAYOUTLM_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,

    /// The API key itself; a file keeps it out of the process list
    #[arg(long, env = "LAYOUTLM_API_KEY", value_name = "KEY", hide_env_values = true, conflicts_with = "api_key_file",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub api_key: Option<String>,

    /// Origin of pages that may call from a browser, e.g. `https://till.example`; may be given again [default: none]
    #[arg(long = "cors-origin", env = "LAYOUTLM_CORS_ORIGIN", value_name = "URL", value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<String>,

    /// Words below this confidence count as low in /metrics
    #[arg(long, env = "LAYOUTLM_LOW_CONFIDENCE", value_name = "P", default_value_t = 0.5, value_parser = probability)]
    pub low_confidence: f32,

    /// Write the words of receipts to the log; without it no text of a receipt is logged
    #[arg(long, env = "LAYOUTLM_LOG_CONTENT")]
    pub log_content: bool,

    /// Base URL of an OpenTelemetry collector that takes OTLP/HTTP, e.g. http://localhost:4318 [default: none]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = plain_http)]
    pub otlp_endpoint: Option<String>,
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "expected a number of seconds".to_string())
}

fn seconds(text: &str) -> Result<f64, String> {
    let value = number(text)?;
    if (0.001..=86_400.0).contains(&value) {
        Ok(value)
    } else {
        Err("expected 0.001 to 86400 seconds".into())
    }
}

fn seconds_or_never(text: &str) -> Result<f64, String> {
    if number(text)? == 0.0 { Ok(0.0) } else { seconds(text) }
}

fn probability(text: &str) -> Result<f32, String> {
    let value = text.parse().ok().filter(|p| (0.0..=1.0).contains(p));
    value.ok_or_else(|| "expected 0 to 1".to_string())
}

fn origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    if host.is_empty() || host.contains(['/', '?', '#', ' ']) || !text.is_ascii() {
        return Err("expected scheme and host without a path, such as https://till.example".into());
    }
    Ok(text.to_string())
}

fn plain_http(text: &str) -> Result<String, String> {
    match text.strip_prefix("http://") {
        Some(host) if !host.is_empty() => Ok(text.trim_end_matches('/').to_string()),
        _ => {
            Err("expected http://host:port; the collector is asked without TLS, put it beside the server"
                .into())
        }
    }
}

impl ServerConfig {
    /// The defaults for a bundle folder, environment variables left aside.
    pub fn new(bundle: impl Into<PathBuf>) -> Self {
        Self {
            bundle: bundle.into(),
            variant: None,
            reload_seconds: 5.0,
            onnxruntime: None,
            host: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            port: 8080,
            workers: None,
            threads: None,
            batch_tokens: 0,
            batch_delay_ms: 0,
            max_body_bytes: 8 << 20,
            max_words: 10_000,
            max_receipts: 128,
            max_queue: 512,
            max_requests: 256,
            max_connections: 1024,
            timeout_seconds: 30.0,
            header_seconds: 30.0,
            body_seconds: 10.0,
            drain_seconds: 20.0,
            api_key_file: None,
            api_key: None,
            cors_origins: Vec::new(),
            low_confidence: 0.5,
            log_content: false,
            otlp_endpoint: None,
        }
    }

    /// Time a request may take from its last byte on.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout_seconds)
    }

    /// Time a body may take to arrive.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.body_seconds)
    }

    /// Time headers may take to arrive.
    pub fn header_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.header_seconds)
    }

    /// Time to finish what is in hand when told to stop.
    pub fn drain(&self) -> Duration {
        Duration::from_secs_f64(self.drain_seconds)
    }

    /// Time between looks at where the bundle is.
    pub fn reload_every(&self) -> Option<Duration> {
        (self.reload_seconds > 0.0).then(|| Duration::from_secs_f64(self.reload_seconds))
    }

    /// How windows are put together, for a graph that takes padding or not.
    pub fn batch_rule(&self, padding: bool) -> BatchRule {
        let delay = Duration::from_millis(u64::from(self.batch_delay_ms));
        BatchRule { tokens: self.batch_tokens as usize, delay, padding }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

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
        for bad in [
            ["--timeout-seconds", "nan"],
            ["--workers", "0"],
            ["--port", "70000"],
            ["--drain-seconds", "-1"],
            ["--reload-seconds", "-1"],
            ["--low-confidence", "2"],
            ["--cors-origin", "*"],
            ["--cors-origin", "https://a.example/path"],
            ["--api-key", ""],
            ["--otlp-endpoint", "https://collector"],
        ] {
            let args = ["x", "--bundle", "b", bad[0], bad[1]];
            assert!(Program::try_parse_from(args).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_flag_has_a_variable_and_is_in_the_handbook() {
        let handbook = include_str!("../../docs/serving.md");
        for argument in Program::command().get_arguments() {
            let Some(flag) = argument.get_long().filter(|f| !["help", "version"].contains(f)) else {
                continue;
            };
            assert!(argument.get_env().is_some(), "--{flag} has no environment variable");
            assert!(argument.get_help().is_some(), "--{flag} has no help");
            let (row, variable) = (format!("| `--{flag}`"), argument.get_env().unwrap().to_str().unwrap());
            let line = handbook
                .lines()
                .find(|l| l.starts_with(&row))
                .unwrap_or_else(|| panic!("--{flag} is not in docs/serving.md"));
            assert!(line.contains(variable), "{line}");
            let default = argument.get_default_values().first().and_then(|d| d.to_str());
            assert!(
                default.is_none_or(|d| line.contains(&format!("| {d} |"))),
                "{line}: the default is {default:?}"
            );
        }
    }
}

//! `layoutlm-server`: serves one bundle over HTTP. Exit codes: 0 stopped when told to, 1 failed, 2 usage or unusable
//! bundle, 3 the probe did not replay.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser};
use layoutlm_inference::config::ServerConfig;
use layoutlm_inference::http::App;
use layoutlm_inference::server::{ServeError, Signals, serve_with};
use layoutlm_inference::telemetry::{self, LogFormat};
use layoutlm_inference::{healthcheck, hosting, service::StartError};

type Routes = utoipa_axum::router::OpenApiRouter<Arc<App>>;

/// Labels receipts over HTTP
///
/// `layoutlm-server healthcheck` asks a running server whether it is ready; it has a --help of its own.
/// `layoutlm-server serve` starts as Amazon SageMaker starts a container: with its folder, port and every address.
#[derive(Debug, Parser)]
#[command(name = "layoutlm-server", version)]
struct Program {
    #[command(flatten)]
    config: ServerConfig,

    #[cfg(feature = "s3")]
    #[command(flatten)]
    cloud: layoutlm_inference::cloud::CloudConfig,

    /// How log lines on stderr look
    #[arg(long, env = "LAYOUTLM_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

/// Asks a running server whether it is ready (exit 0) or not (exit 1)
#[derive(Debug, Parser)]
#[command(name = "layoutlm-server healthcheck", version)]
struct Healthcheck {
    /// Its address
    #[arg(long, env = "LAYOUTLM_HEALTHCHECK", value_name = "IP:PORT")]
    address: Option<SocketAddr>,
    /// Port on this machine, where no address is given
    #[arg(long, env = "LAYOUTLM_PORT", default_value_t = 8080)]
    port: u16,
    /// Seconds to wait for an answer
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    timeout_seconds: u16,
}

fn main() -> ExitCode {
    // Two parsers, not a subcommand: the server's variables are set in a container where only its health is asked.
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|a| a == "healthcheck") {
        arguments.remove(1);
        return check_health(&Healthcheck::parse_from(arguments));
    }
    let mut command = hosting::named_by_platform(Program::command());
    let is_hosted = arguments.get(1).is_some_and(|a| a == hosting::ARGUMENT);
    if is_hosted {
        arguments.remove(1);
        command = hosting::hosted(command);
    }
    let mut program =
        Program::from_arg_matches(&command.get_matches_from(arguments)).unwrap_or_else(|e| e.exit());
    if is_hosted {
        program.config.bundle = hosting::locate(&program.config.bundle);
    }
    telemetry::init(program.log_format);
    run(program)
}

fn check_health(asked: &Healthcheck) -> ExitCode {
    let address = asked.address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], asked.port)));
    match healthcheck::ask(address, Duration::from_secs(asked.timeout_seconds.into())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

fn run(program: Program) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, 1),
    };
    let outcome = runtime.block_on(live(program));
    // A bundle that is still being fetched or loaded must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((error, code)) => failed(&error, code),
    }
}

/// Prepares and serves until told to stop; why it could not, and the exit code.
async fn live(mut program: Program) -> Result<(), (String, u8)> {
    // From the beginning: the first process of a container is deaf to signals that it does not wait for.
    let mut signals = Signals::of_the_system();
    let routes = tokio::select! {
        routes = prepare(&mut program) => routes?,
        () = signals.told_to_stop() => return Ok(()),
    };
    let ready = |address: SocketAddr| eprintln!("layoutlm-server: ready at http://{address}");
    let outcome = serve_with(program.config, routes, signals, ready).await;
    outcome.map_err(|error| (error.to_string(), exit_code(&error)))
}

/// Fetches a bundle from S3 and makes the routes over a table, where they are asked for.
#[cfg(feature = "s3")]
async fn prepare(program: &mut Program) -> Result<Routes, (String, u8)> {
    let code = |error: &layoutlm_aws::AwsError| if error.is_callers() { 2 } else { 1 };
    program.cloud.prepare(&mut program.config).await.map_err(|error| (error.to_string(), code(&error)))
}

#[cfg(not(feature = "s3"))]
async fn prepare(program: &mut Program) -> Result<Routes, (String, u8)> {
    let bundle = program.config.bundle.to_string_lossy().into_owned();
    if bundle.starts_with("s3://") {
        return Err((
            format!("--bundle {bundle}: this server was built without S3; build it with --features s3"),
            2,
        ));
    }
    Ok(Routes::new())
}

fn exit_code(error: &ServeError) -> u8 {
    match error {
        ServeError::Start(error) if error.is_failed_proof() => 3,
        ServeError::Start(StartError::Threads(_)) | ServeError::Io(_) => 1,
        ServeError::Start(_) | ServeError::Listen { .. } | ServeError::Config(_) => 2,
        _ => 1,
    }
}

fn failed(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("layoutlm-server: {error}");
    ExitCode::from(code)
}

//! `serve`: the HTTP server, the same as `layoutlm-server`.

use layoutlm_inference::ServerConfig;
use layoutlm_inference::server::{Signals, serve_with};
use utoipa_axum::router::OpenApiRouter;

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ServerConfig,
}

/// Runs the command until it is told to stop.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ready = |address| eprintln!("ready: http://{address}/");
    Ok(runtime.block_on(async {
        serve_with(args.config, OpenApiRouter::new(), Signals::of_the_system(), ready).await
    })?)
}

//! `serve`: the HTTP server, the same as `layoutlm-server`.

use layoutlm_inference::ServerConfig;
use layoutlm_inference::cloud::CloudConfig;
use layoutlm_inference::server::{Signals, serve_with};

use crate::cloud::sort;

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ServerConfig,
    #[command(flatten)]
    cloud: CloudConfig,
}

/// Runs the command until it is told to stop.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ready = |address| eprintln!("ready: http://{address}/");
    let Args { mut config, cloud } = args;
    let routes = runtime.block_on(cloud.prepare(&mut config)).map_err(sort)?;
    Ok(runtime.block_on(async { serve_with(config, routes, Signals::of_the_system(), ready).await })?)
}

//! Serves LayoutLM bundles: ONNX Runtime sessions, a bounded scheduler and an HTTP server around them.
//!
//! Data flows one way: [`runtime`] finds the library, [`bundle`] checks a folder, [`engine`] runs its graph,
//! [`replay`] proves it on this machine, [`pool`] shares it between requests, [`http`] speaks to the outside and [`metrics`] tell of it.
//! Knows nothing of training; everything between a receipt and its numbers is the core crate's.

mod accept;
pub mod bundle;
#[cfg(feature = "s3")]
pub mod cloud;
pub mod config;
pub mod engine;
pub mod healthcheck;
pub mod hosting;
pub mod http;
mod linger;
mod memory;
pub mod metrics;
pub mod offline;
mod otlp;
pub mod pool;
mod reload;
pub mod replay;
pub mod runtime;
pub mod server;
pub mod service;
pub mod source;
pub mod telemetry;
pub mod trace;

pub use bundle::{Bundle, OpenError};
pub use config::ServerConfig;
pub use engine::{Engine, EngineError, EngineOptions};
pub use runtime::{Runtime, RuntimeError};
pub use server::{ServeError, serve};

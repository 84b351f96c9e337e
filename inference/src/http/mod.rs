//! The outside: routes, requests, answers and errors.

mod app;
mod classify;
mod error;
mod health;
mod model;
mod object;
mod options;
mod page;
mod request;
mod routes;

pub use app::{App, Phase};
pub use error::ApiError;
pub use options::{BoxUnit, Options};
pub use request::{Call, CallShape, RequestLimits, parse};
pub use routes::router;

//! The outside: routes, requests, answers and errors.
//!
//! A room that brings routes of its own writes handlers over [`App`] and [`Work`] and hands an
//! `OpenApiRouter<Arc<App>>` to [`router`]; body limits, deadlines, logs and the net under panics surround them like all others.

mod answer;
mod app;
mod auth;
mod body;
mod classify;
mod docs;
mod error;
mod error_code;
mod health;
mod items;
mod leftover;
mod metrics;
mod model;
mod object;
mod observe;
mod oip;
mod openapi;
mod options;
mod page;
mod request;
mod routes;
mod sagemaker;
mod textract;
mod work;

#[cfg(feature = "s3")]
pub(crate) use answer::answers;
pub use app::{App, AppError, InHand, Phase};
pub use body::{expect_json, media_type, receive};
pub use error::{ApiError, ErrorAnswer};
pub use error_code::ErrorCode;
pub use openapi::openapi;
pub use options::{BoxUnit, Options};
pub use request::{Call, CallShape, RequestLimits, parse};
pub use routes::router;
pub use work::{Counts, Labelled, Work};

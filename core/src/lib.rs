//! The one truth about how a receipt becomes numbers, and numbers become labels.
//!
//! Data flows one way: [`receipt`] → [`reading_order`] → [`tokenize`] → [`window`] → [`batch`] → logits
//! (of a [`classifier`]) → [`decode`] → [`entity`] → [`line_items`] → [`arithmetic`]. Training, evaluation, the
//! exporter's proof and the server call the same functions. This crate does no network or file access of its own and
//! knows no tensor library.

pub mod arithmetic;
pub mod batch;
pub mod bbox;
pub mod bundle;
pub mod calibration;
pub mod certificate;
pub mod classifier;
pub mod config;
pub mod decode;
pub mod encoder;
pub mod encoding;
pub mod entity;
pub mod evaluate;
pub mod heldout;
pub mod label;
pub mod line_items;
pub mod metrics;
pub mod predict;
pub mod probe;
pub mod reading_order;
pub mod receipt;
pub mod tokenize;
pub mod unit_page;
pub mod value;
pub mod window;

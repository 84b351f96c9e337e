//! ONNX graphs of LayoutLM v1, written out operator by operator.

mod attention;
mod builder;
mod embeddings;
mod form;
mod initializer;
mod layer;
mod linear;
mod model;
mod norm;
mod op;

use norm::{cast_to_float, layer_norm};

pub use form::{Product, Signature, TableStorage, UnknownVariant, VariantKind};

pub(crate) use form::{Form, Smoothing};
pub(crate) use initializer::Initializer;
pub(crate) use model::{Model, build};

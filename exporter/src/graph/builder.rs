//! Collects operators and constants in order; names are given by the caller and become the names in the file.

use std::collections::BTreeSet;

use layoutlm_trainer::weights::{Array, Weights, WeightsError};

use super::initializer::{Initializer, Storage};
use super::op::Op;
use crate::onnx_proto::tensor_proto::DataType;
use crate::onnx_proto::tensor_shape_proto::{Dimension, dimension};
use crate::onnx_proto::{GraphProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};

/// Name of a tensor that flows through the graph.
pub(crate) type Value = String;

/// A dimension of an input or output.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dim<'a> {
    /// Known when the graph is written.
    Fixed(usize),
    /// Known when the graph runs.
    Named(&'a str),
}

/// A graph under construction over the weights of one checkpoint.
#[derive(Debug)]
pub(crate) struct GraphBuilder<'w> {
    weights: &'w Weights,
    nodes: Vec<NodeProto>,
    initializers: Vec<Initializer>,
    known: BTreeSet<String>,
}

impl<'w> GraphBuilder<'w> {
    /// An empty graph.
    pub(crate) fn new(weights: &'w Weights) -> Self {
        Self { weights, nodes: Vec::new(), initializers: Vec::new(), known: BTreeSet::new() }
    }

    /// Adds an operator of one output, which is named like the operator.
    pub(crate) fn add(&mut self, op: Op) -> Value {
        let name = op.name().to_string();
        self.add_as(op, &name)
    }

    /// Adds an operator of one output with a name of its own.
    pub(crate) fn add_as(&mut self, op: Op, output: &str) -> Value {
        self.nodes.push(op.with_outputs(vec![output.to_string()]));
        output.to_string()
    }

    /// Adds an operator of several outputs, named `<operator>/<part>`.
    pub(crate) fn add_many<const N: usize>(&mut self, op: Op, parts: [&str; N]) -> [Value; N] {
        let outputs = parts.map(|part| format!("{}/{part}", op.name()));
        self.nodes.push(op.with_outputs(outputs.to_vec()));
        outputs
    }

    /// A tensor of the checkpoint, to compute constants from.
    ///
    /// # Errors
    /// [`WeightsError::Missing`].
    pub(crate) fn tensor(&self, tensor: &str) -> Result<&'w Array, WeightsError> {
        self.weights.require(tensor)
    }

    /// A tensor of the checkpoint as a constant; asked for twice, it is written once.
    ///
    /// # Errors
    /// [`WeightsError::Missing`].
    pub(crate) fn weight(&mut self, tensor: &str, storage: Storage) -> Result<Value, WeightsError> {
        let shape = &self.weights.require(tensor)?.shape;
        Ok(self.constant(Initializer::weight(tensor.to_string(), tensor, shape, storage)))
    }

    /// A constant; one of a name already known is taken to be the same.
    pub(crate) fn constant(&mut self, initializer: Initializer) -> Value {
        let name = initializer.name.clone();
        if self.known.insert(name.clone()) {
            self.initializers.push(initializer);
        }
        name
    }

    /// An int64 list, e.g. axes or a shape.
    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) -> Value {
        self.constant(Initializer::integers(name, &[values.len() as i64], values))
    }

    /// An int64 scalar.
    pub(crate) fn integer(&mut self, name: &str, value: i64) -> Value {
        self.constant(Initializer::integers(name, &[], &[value]))
    }

    /// An f32 scalar.
    pub(crate) fn float(&mut self, name: &str, value: f32) -> Value {
        self.constant(Initializer::floats(name, &[], &[value]))
    }

    /// The finished graph without its constants, and the constants in the order they were asked for.
    pub(crate) fn finish(
        self,
        name: &str,
        input: Vec<ValueInfoProto>,
        output: Vec<ValueInfoProto>,
    ) -> (GraphProto, Vec<Initializer>) {
        let graph =
            GraphProto { name: Some(name.into()), node: self.nodes, input, output, ..GraphProto::default() };
        (graph, self.initializers)
    }
}

/// Name, element type and shape of an input or output.
pub(crate) fn value_info(name: &str, data_type: DataType, dims: &[Dim<'_>]) -> ValueInfoProto {
    let dim = dims.iter().map(|d| {
        let value = match *d {
            Dim::Fixed(size) => dimension::Value::DimValue(size as i64),
            Dim::Named(name) => dimension::Value::DimParam(name.into()),
        };
        Dimension { value: Some(value), ..Dimension::default() }
    });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let tensor = type_proto::Tensor { elem_type: Some(data_type as i32), shape };
    let r#type =
        Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: Some(name.into()), r#type, ..ValueInfoProto::default() }
}

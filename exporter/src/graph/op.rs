//! One operator of a graph, put together attribute by attribute.

use crate::onnx_proto::attribute_proto::AttributeType;
use crate::onnx_proto::{AttributeProto, GraphProto, NodeProto};

/// Operator domain of ONNX Runtime's own operators.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// A node under construction; the builder gives it its outputs.
#[derive(Debug, Clone)]
pub(crate) struct Op(NodeProto);

impl Op {
    /// An operator of the ONNX standard.
    pub(crate) fn standard(kind: &str, name: impl Into<String>) -> Self {
        Self(NodeProto { op_type: Some(kind.into()), name: Some(name.into()), ..NodeProto::default() })
    }

    /// An operator of ONNX Runtime.
    pub(crate) fn microsoft(kind: &str, name: impl Into<String>) -> Self {
        let mut op = Self::standard(kind, name);
        op.0.domain = Some(MICROSOFT.into());
        op
    }

    /// Appends inputs; an empty name leaves an optional input out.
    pub(crate) fn inputs<S: AsRef<str>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.0.input.extend(names.into_iter().map(|n| n.as_ref().to_string()));
        self
    }

    /// Sets an integer attribute.
    pub(crate) fn int(self, name: &str, value: i64) -> Self {
        self.attribute(name, AttributeType::Int, |a| a.i = Some(value))
    }

    /// Sets an attribute of several integers.
    pub(crate) fn ints(self, name: &str, values: &[i64]) -> Self {
        self.attribute(name, AttributeType::Ints, |a| a.ints = values.to_vec())
    }

    /// Sets a float attribute.
    pub(crate) fn float(self, name: &str, value: f32) -> Self {
        self.attribute(name, AttributeType::Float, |a| a.f = Some(value))
    }

    /// Sets a subgraph attribute.
    pub(crate) fn graph(self, name: &str, graph: GraphProto) -> Self {
        self.attribute(name, AttributeType::Graph, |a| a.g = Some(graph))
    }

    fn attribute(mut self, name: &str, kind: AttributeType, set: impl FnOnce(&mut AttributeProto)) -> Self {
        let mut attribute = AttributeProto {
            name: Some(name.into()),
            r#type: Some(kind as i32),
            ..AttributeProto::default()
        };
        set(&mut attribute);
        self.0.attribute.push(attribute);
        self
    }

    /// The node's own name, from which its outputs are named.
    pub(crate) fn name(&self) -> &str {
        self.0.name()
    }

    /// The finished node.
    pub(crate) fn with_outputs(mut self, outputs: Vec<String>) -> NodeProto {
        self.0.output = outputs;
        self.0
    }
}

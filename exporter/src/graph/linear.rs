//! Products with weights: `y = x Wᵀ + b`, in f32 or in int8.
//!
//! int8: activations are quantised to u8 at run time, one scale for the whole tensor, once for all products that read
//! them; weights ahead of time, one scale per output channel.

use layoutlm_trainer::weights::WeightsError;

use super::builder::{GraphBuilder, Value};
use super::initializer::{Initializer, Storage};
use super::op::Op;
use crate::quantize::row_scales;

/// A tensor that products read, with its quantised form once one of them wanted it.
#[derive(Debug, Clone)]
pub(super) struct Activations {
    float: Value,
    quantized: Option<[Value; 3]>,
}

impl From<Value> for Activations {
    fn from(float: Value) -> Self {
        Self { float, quantized: None }
    }
}

impl Activations {
    /// u8 values, scale, zero point.
    fn quantized(&mut self, g: &mut GraphBuilder<'_>) -> [Value; 3] {
        let float = &self.float;
        self.quantized
            .get_or_insert_with(|| {
                let op = Op::standard("DynamicQuantizeLinear", format!("{float}/quantize")).inputs([float]);
                g.add_many(op, ["values", "scale", "zero_point"])
            })
            .clone()
    }
}

/// Adds the product with the linear layer `module` of the checkpoint: `[…, in]` → `[…, out]`, named `output`.
pub(super) fn linear(
    g: &mut GraphBuilder<'_>,
    output: &str,
    module: &str,
    x: &mut Activations,
    int8: bool,
) -> Result<Value, WeightsError> {
    let (weight, bias) = (format!("{module}.weight"), format!("{module}.bias"));
    let bias = g.weight(&bias, Storage::Float)?;
    if !int8 {
        let weight = g.weight(&weight, Storage::FloatTransposed)?;
        let product = g.add(Op::standard("MatMul", format!("{output}/product")).inputs([&x.float, &weight]));
        return Ok(g.add(Op::standard("Add", output).inputs([&product, &bias])));
    }
    let scales = row_scales(g.tensor(&weight)?);
    let channels = [scales.len() as i64];
    let scale = g.constant(Initializer::floats(&format!("{weight}.scale"), &channels, &scales));
    let zero =
        Initializer::bytes(&format!("int8_zero_points_{}", scales.len()), &channels, &vec![0; scales.len()]);
    let zero = g.constant(zero);
    let weight = g.weight(&weight, Storage::Int8Transposed(scales))?;
    let [values, x_scale, x_zero] = x.quantized(g);
    let inputs = [&values, &weight, &x_scale, &scale, &x_zero, &zero, &bias];
    Ok(g.add(Op::microsoft("MatMulIntegerToFloat", output).inputs(inputs)))
}

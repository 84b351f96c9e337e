//! Products with weights: `y = x Wᵀ + b`, in f32 or in int8.
//!
//! int8: activations are quantised to u8 at run time, one scale for the whole tensor, once for all products that read
//! them; weights ahead of time, one scale per output channel. Outlier channels of the activations can be divided by a
//! factor that the weights are multiplied by. Source: SmoothQuant (Xiao et al. 2023), §4.

use layoutlm_trainer::weights::WeightsError;

use super::builder::{GraphBuilder, Value};
use super::initializer::{Initializer, Storage};
use super::op::Op;
use crate::quantize::row_scales;

/// How a product is computed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Precision<'a> {
    /// In f32.
    Float,
    /// In int8.
    Int8 {
        /// The input's channels are divided by these, and the weights multiplied; nothing leaves both as they are.
        smoothing: Option<&'a [f32]>,
        /// Where the division takes place.
        divided: Divided,
        /// The output's channels are divided by these for the product that reads them.
        output: Option<&'a [f32]>,
    },
}

impl<'a> Precision<'a> {
    /// The same, with output channels divided as well.
    pub(super) fn dividing_output(self, divisors: Option<&'a [f32]>) -> Self {
        match self {
            Self::Int8 { smoothing, divided, .. } => Self::Int8 { smoothing, divided, output: divisors },
            Self::Float => Self::Float,
        }
    }
}

/// Where an input is divided by its smoothing factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Divided {
    /// Here, by an operator.
    Here,
    /// Already, by the product that made it.
    Already,
}

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
    /// u8 values, scale, zero point. All products of one input divide it alike, so the first one's factors count.
    fn quantized(&mut self, g: &mut GraphBuilder<'_>, divide_by: Option<&[f32]>) -> [Value; 3] {
        let input = &self.float;
        self.quantized
            .get_or_insert_with(|| {
                let float = match divide_by {
                    None => input.clone(),
                    Some(factors) => {
                        let inverse: Vec<f32> = factors.iter().map(|f| 1.0 / f).collect();
                        let dims = [inverse.len() as i64];
                        let inverse =
                            g.constant(Initializer::floats(&format!("{input}/smoothing"), &dims, &inverse));
                        g.add(Op::standard("Mul", format!("{input}/smoothed")).inputs([input, &inverse]))
                    }
                };
                let op = Op::standard("DynamicQuantizeLinear", format!("{float}/quantize")).inputs([&float]);
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
    precision: Precision<'_>,
) -> Result<Value, WeightsError> {
    let (weight, bias) = (format!("{module}.weight"), format!("{module}.bias"));
    let Precision::Int8 { smoothing, divided, output: output_divisors } = precision else {
        let bias = g.weight(&bias, Storage::Float)?;
        let weight = g.weight(&weight, Storage::FloatTransposed)?;
        let product = g.add(Op::standard("MatMul", format!("{output}/product")).inputs([&x.float, &weight]));
        return Ok(g.add(Op::standard("Add", output).inputs([&product, &bias])));
    };
    let columns = smoothing.unwrap_or_default();
    let scales = row_scales(g.tensor(&weight)?, columns);
    let channels = [scales.len() as i64];
    let divided_by = |values: &[f32]| -> Vec<f32> {
        let divisors = output_divisors.unwrap_or_default().iter().copied().chain(std::iter::repeat(1.0));
        values.iter().zip(divisors).map(|(value, divisor)| value / divisor).collect()
    };
    let bias = match output_divisors {
        None => g.weight(&bias, Storage::Float)?,
        Some(_) => {
            let values = divided_by(&g.tensor(&bias)?.data);
            g.constant(Initializer::floats(&bias, &channels, &values))
        }
    };
    let scale = g.constant(Initializer::floats(&format!("{weight}.scale"), &channels, &divided_by(&scales)));
    let zero =
        Initializer::bytes(&format!("int8_zero_points_{}", scales.len()), &channels, &vec![0; scales.len()]);
    let zero = g.constant(zero);
    let weight = g.weight(&weight, Storage::Int8Transposed { scales, columns: columns.to_vec() })?;
    let divide_by = smoothing.filter(|_| divided == Divided::Here);
    let [values, x_scale, x_zero] = x.quantized(g, divide_by);
    let inputs = [&values, &weight, &x_scale, &scale, &x_zero, &zero, &bias];
    Ok(g.add(Op::microsoft("MatMulIntegerToFloat", output).inputs(inputs)))
}

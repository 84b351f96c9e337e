//! Runs a portable graph in tract, a runtime that shares no code with ONNX Runtime, on a bundle's probe.
//!
//!     read-with-tract <model.onnx> <probe.safetensors>
//!
//! Ends with 0 when every label is the trained model's and no logit is further than 1e-3 away, with 3 otherwise.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use safetensors::SafeTensors;
use tract_onnx::prelude::*;

/// Largest |Δlogit| that counts as equal.
const TOLERANCE: f32 = 1e-3;

struct Probe {
    ids: Vec<i64>,
    boxes: Vec<i64>,
    logits: Vec<f32>,
    first: Vec<i64>,
}

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let (model, probe) = arguments.next().zip(arguments.next()).context("usage: read-with-tract MODEL PROBE")?;
    let bytes = std::fs::read(&probe).with_context(|| probe.clone())?;
    let windows = read(&SafeTensors::deserialize(&bytes)?)?;
    ensure!(!windows.is_empty(), "{probe} holds no windows");
    let (mut worst, mut flips, mut words) = (0.0f32, 0, 0);
    for window in &windows {
        let found = run(&model, window)?;
        ensure!(found.len() == window.logits.len(), "tract gives {} logits", found.len());
        let classes = window.logits.len() / window.ids.len();
        for &position in &window.first {
            let range = position as usize * classes..(position as usize + 1) * classes;
            let (expected, found) = (&window.logits[range.clone()], &found[range]);
            worst = expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(worst, f32::max);
            flips += usize::from(largest(expected) != largest(found));
            words += 1;
        }
    }
    println!("tract on {} windows: max |Δlogit| {worst:.1e}, {flips} of {words} labels differ", windows.len());
    Ok(if worst <= TOLERANCE && flips == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn read(file: &SafeTensors<'_>) -> Result<Vec<Probe>> {
    let integers = |name: String| -> Result<Vec<i64>> {
        let tensor = file.tensor(&name).with_context(|| name)?;
        Ok(tensor.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap_or_default())).collect())
    };
    let mut windows = Vec::new();
    while file.tensor(&format!("w{}.input_ids", windows.len())).is_ok() {
        let name = |part: &str| format!("w{}.{part}", windows.len());
        let logits = file.tensor(&name("logits"))?.data().chunks_exact(4);
        windows.push(Probe {
            ids: integers(name("input_ids"))?,
            boxes: integers(name("bbox"))?,
            logits: logits.map(|b| f32::from_le_bytes(b.try_into().unwrap_or_default())).collect(),
            first: integers(name("first"))?,
        });
    }
    Ok(windows)
}

/// Logits of one window, `[tokens, labels]` row-major.
fn run(model: &str, window: &Probe) -> Result<Vec<f32>> {
    let tokens = window.ids.len();
    let mut graph = tract_onnx::onnx().model_for_path(model)?;
    let mut inputs = TVec::new();
    for (index, outlet) in graph.input_outlets()?.to_vec().into_iter().enumerate() {
        let name = graph.node(outlet.node).name.clone();
        let (shape, values): (Vec<usize>, Vec<i64>) = match name.as_str() {
            "input_ids" => (vec![1, tokens], window.ids.clone()),
            "bbox" => (vec![1, tokens, 4], window.boxes.clone()),
            "attention_mask" => (vec![1, tokens], vec![1; tokens]),
            "token_type_ids" => (vec![1, tokens], vec![0; tokens]),
            other => anyhow::bail!("the graph wants an input {other:?}"),
        };
        graph.set_input_fact(index, InferenceFact::dt_shape(i64::datum_type(), &shape))?;
        inputs.push(Tensor::from_shape(&shape, &values)?.into());
    }
    let outputs = graph.into_optimized()?.into_runnable()?.run(inputs)?;
    Ok(outputs[0].to_plain_array_view::<f32>()?.iter().copied().collect())
}

fn largest(row: &[f32]) -> usize {
    let mut best = 0;
    row.iter().enumerate().for_each(|(class, value)| best = if *value > row[best] { class } else { best });
    best
}

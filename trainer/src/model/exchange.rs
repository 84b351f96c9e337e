//! Gradients summed over the processes of a run.

use super::{LayoutLm, ModelError, Parameter};
use crate::ops;

/// Which rows of a parameter's gradient are exchanged.
enum Part {
    /// None: no process computed it.
    Nothing,
    All,
    /// Of a table: those that some process reached.
    Rows(Vec<bool>),
}

impl LayoutLm {
    /// Replaces every gradient by its sum over all processes, which `sum` works out in place. It is called twice, with the
    /// same lengths in every process: once over what was computed at all, once over the values. Of a table only the rows
    /// that some process reached are exchanged.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails, and whatever `sum` gives.
    pub fn exchange_gradients<E: From<ModelError>>(
        &self,
        mut sum: impl FnMut(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let trainable: Vec<&Parameter> = self.parameters().iter().filter(|p| p.is_trainable()).collect();
        let mut reached = Vec::new();
        for parameter in &trainable {
            let rows = table_rows(parameter)?;
            let gradient = parameter.lock_gradient();
            let flag = |reached: bool| f32::from(u8::from(reached));
            reached.push(flag(gradient.filled));
            let of_row = |row: usize| gradient.rows.get(row).copied().unwrap_or(false) && gradient.filled;
            reached.extend((0..rows).map(|row| flag(of_row(row))));
        }
        sum(&mut reached)?;
        let mut reached = reached.into_iter().map(|count| count > 0.0);
        let (mut parts, mut values) = (Vec::with_capacity(trainable.len()), Vec::new());
        for parameter in &trainable {
            let filled = reached.next().unwrap_or(false);
            let rows: Vec<bool> = reached.by_ref().take(table_rows(parameter)?).collect();
            let part = match (filled, parameter.is_table()) {
                (false, _) => Part::Nothing,
                (true, true) => Part::Rows(rows),
                (true, false) => Part::All,
            };
            collect(parameter, &part, &mut values)?;
            parts.push(part);
        }
        sum(&mut values)?;
        let mut rest = values.as_slice();
        for (parameter, part) in trainable.into_iter().zip(parts) {
            rest = put_back(parameter, part, rest)?;
        }
        Ok(())
    }
}

fn table_rows(parameter: &Parameter) -> Result<usize, ModelError> {
    Ok(if parameter.is_table() { parameter.value().dim(0)? } else { 0 })
}

/// Appends what is exchanged of a gradient.
fn collect(parameter: &Parameter, part: &Part, values: &mut Vec<f32>) -> Result<(), ModelError> {
    let elements = parameter.value().elem_count();
    let gradient = parameter.lock_gradient();
    let sum = gradient.sum.as_ref().filter(|_| gradient.filled);
    match (part, sum) {
        (Part::Nothing, _) => {}
        (Part::All, None) => values.resize(values.len() + elements, 0.0),
        (Part::All, Some(sum)) => ops::with_elements(sum, |own| values.extend_from_slice(own))?,
        (Part::Rows(rows), sum) => {
            let width = elements / rows.len().max(1);
            let reached = rows.iter().filter(|r| **r).count();
            let Some(sum) = sum else {
                values.resize(values.len() + reached * width, 0.0);
                return Ok(());
            };
            // Rows that this process did not reach are zero.
            ops::with_elements(sum, |own| {
                let of_rows = own.chunks_exact(width).zip(rows).filter(|(_, reached)| **reached);
                of_rows.for_each(|(row, _)| values.extend_from_slice(row));
            })?;
        }
    }
    Ok(())
}

/// Takes a gradient's sum from the front of `values`; gives the rest.
fn put_back<'v>(parameter: &Parameter, part: Part, values: &'v [f32]) -> Result<&'v [f32], ModelError> {
    let elements = parameter.value().elem_count();
    let mut rest = values;
    let mut take = |count: usize| {
        let (own, after) = rest.split_at(count.min(rest.len()));
        rest = after;
        own
    };
    match part {
        Part::Nothing => {}
        Part::All => {
            let own = take(elements);
            parameter.accumulate(|sum, _, _| ops::with_elements_mut(sum, |sum| sum.copy_from_slice(own)))?;
        }
        Part::Rows(reached) => {
            let width = elements / reached.len().max(1);
            let own = take(reached.iter().filter(|r| **r).count() * width);
            parameter.accumulate(|sum, _, rows| {
                rows.clone_from(&reached);
                ops::with_elements_mut(sum, |sum| {
                    let of_rows = sum.chunks_exact_mut(width).zip(&reached).filter(|(_, reached)| **reached);
                    of_rows.zip(own.chunks_exact(width)).for_each(|((row, _), own)| row.copy_from_slice(own));
                })
            })?;
        }
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use layoutlm_core::bbox::NormalizedBox;
    use layoutlm_core::config::ModelConfig;
    use layoutlm_core::label::LabelSet;
    use layoutlm_core::window::Window;

    use super::*;
    use crate::loss::LossConfig;
    use crate::model::{DropoutState, PackedBatch};
    use crate::weights::Weights;

    fn model() -> LayoutLm {
        let text = r#"{"model_type":"layoutlm","vocab_size":40,"hidden_size":16,"num_hidden_layers":1,
            "num_attention_heads":2,"intermediate_size":32,"max_position_embeddings":20}"#;
        let mut config = ModelConfig::from_json(text).unwrap();
        let labels = LabelSet::from_entities(["DATE".to_string()]).unwrap();
        config.set_labels(&labels);
        LayoutLm::new(config.clone(), Weights::random(&config, 3, 1), &Device::Cpu).unwrap()
    }

    fn batch(ids: &[u32]) -> PackedBatch {
        let window = Window {
            word_indices: vec![],
            input_ids: ids.to_vec(),
            bbox: vec![NormalizedBox::new([1, 2, 30, 40]).unwrap(); ids.len()],
            word_ids: vec![None; ids.len()],
        };
        let mut batch = PackedBatch::pack(&[&window]);
        let labels = LabelSet::from_entities(["DATE".to_string()]).unwrap();
        batch.labels = Some((0..ids.len()).map(|i| labels.at(i % 3)).collect());
        batch
    }

    fn add(model: &LayoutLm, batch: &PackedBatch) {
        let pass = model.forward_train(batch, DropoutState { seed: 1, pass: 2 }).unwrap();
        let part = LossConfig::default().evaluate(pass.logits(), batch, 8.0).unwrap();
        pass.backward(&part.gradient).unwrap();
    }

    /// What a model would send, with the other's values added to what it gets back.
    fn sent(model: &LayoutLm) -> Vec<Vec<f32>> {
        let mut all = Vec::new();
        let copy: Result<(), ModelError> = model.exchange_gradients(|values| {
            all.push(values.to_vec());
            Ok(())
        });
        copy.unwrap();
        all
    }

    #[test]
    fn a_process_without_a_batch_ends_with_the_gradients_of_the_one_that_had_one() {
        let (busy, idle) = (model(), model());
        add(&busy, &batch(&[3, 4, 5, 3]));
        let of_busy = sent(&busy);
        let mut calls = of_busy.iter();
        let result: Result<(), ModelError> = idle.exchange_gradients(|values| {
            let other = calls.next().unwrap();
            assert_eq!(values.len(), other.len());
            values.iter_mut().zip(other).for_each(|(v, o)| *v += o);
            Ok(())
        });
        result.unwrap();
        for name in busy.weights().unwrap().iter().map(|(name, _)| name) {
            assert_eq!(busy.gradient(name).unwrap(), idle.gradient(name).unwrap(), "{name}");
        }
        // Rows that nobody reached are not sent.
        assert!(of_busy[1].len() < busy.weights().unwrap().elements());
    }
}

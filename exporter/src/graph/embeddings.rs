//! The nine look-ups and their sum.
//!
//! Source: LayoutLM (Xu et al. 2020), §3.1; x and y tables serve two corners each, h and w are y1−y0 and x1−x0.

use layoutlm_core::config::ModelConfig;
use layoutlm_trainer::weights::WeightsError;

use super::builder::{GraphBuilder, Value};
use super::form::{Form, Signature, TableStorage};
use super::initializer::{Initializer, Storage};
use super::op::Op;
use super::{cast_to_float, layer_norm};
use crate::quantize::row_scales;

/// `[batch, seq, hidden]` after layer normalisation, from `input_ids`, `bbox` and, where the form takes it,
/// `token_type_ids`.
pub(super) fn embeddings(
    g: &mut GraphBuilder<'_>,
    config: &ModelConfig,
    form: &Form,
) -> Result<Value, WeightsError> {
    let mut corner = |name: &str, index: i64| {
        let index = g.integer(&format!("embeddings/index_{index}"), index);
        g.add(Op::standard("Gather", format!("embeddings/{name}")).inputs(["bbox", &index]).int("axis", 2))
    };
    let (x0, y0, x1, y1) = (corner("x0", 0), corner("y0", 1), corner("x1", 2), corner("y1", 3));
    let height = g.add(Op::standard("Sub", "embeddings/h").inputs([&y1, &y0]));
    let width = g.add(Op::standard("Sub", "embeddings/w").inputs([&x1, &x0]));
    let mut tables = Tables { g, storage: form.tables };
    let mut sum = tables.look_up("word", "word_embeddings", "input_ids")?;
    let typed = form.signature == Signature::Padded;
    let positions = if typed { tables.positions()? } else { tables.positions_of_type_0(config)? };
    let mut rows = vec![
        tables.look_up("x_left", "x_position_embeddings", &x0)?,
        tables.look_up("y_upper", "y_position_embeddings", &y0)?,
        tables.look_up("x_right", "x_position_embeddings", &x1)?,
        tables.look_up("y_lower", "y_position_embeddings", &y1)?,
        tables.look_up("height", "h_position_embeddings", &height)?,
        tables.look_up("width", "w_position_embeddings", &width)?,
    ];
    if typed {
        rows.push(tables.look_up("token_type", "token_type_embeddings", "token_type_ids")?);
    }
    for (i, term) in std::iter::once(&positions).chain(&rows).enumerate() {
        sum = g.add(Op::standard("Add", format!("embeddings/sum_{i}")).inputs([&sum, term]));
    }
    layer_norm(g, "embeddings/LayerNorm", "layoutlm.embeddings.LayerNorm", &sum, config)
}

struct Tables<'g, 'w> {
    g: &'g mut GraphBuilder<'w>,
    storage: TableStorage,
}

impl Tables<'_, '_> {
    /// Rows of a table by id: `[batch, seq]` → `[batch, seq, hidden]`.
    fn look_up(&mut self, name: &str, table: &str, ids: &str) -> Result<Value, WeightsError> {
        let scope = format!("embeddings/{name}");
        self.rows(&scope, table, |g, scope, table| g.add(Op::standard("Gather", scope).inputs([table, ids])))
    }

    /// The first rows of the position table, one per token: `[seq, hidden]`.
    fn positions(&mut self) -> Result<Value, WeightsError> {
        let first = self.first_rows();
        self.rows("embeddings/position", "position_embeddings", first)
    }

    /// As [`Self::positions`], with the row of token type 0 added to each ahead of time.
    fn positions_of_type_0(&mut self, config: &ModelConfig) -> Result<Value, WeightsError> {
        let tensor = |table: &str| format!("layoutlm.embeddings.{table}_embeddings.weight");
        let positions = self.g.tensor(&tensor("position"))?;
        let types = self.g.tensor(&tensor("token_type"))?;
        let hidden = config.hidden_size.max(1);
        let sums: Vec<f32> = positions
            .data
            .chunks(hidden)
            .flat_map(|row| row.iter().zip(&types.data).map(|(position, kind)| position + kind))
            .collect();
        let dims = [(sums.len() / hidden) as i64, hidden as i64];
        let (name, scope) = ("layoutlm.embeddings.position_and_type_0", "embeddings/position");
        let first = self.first_rows();
        if self.storage == TableStorage::Float {
            let table = self.g.constant(Initializer::floats(name, &dims, &sums));
            return Ok(first(self.g, scope.into(), &table));
        }
        // Too small a table for int8 to be worth its rounding.
        let table = self.g.constant(Initializer::halves(name, &dims, &sums));
        let rows = first(self.g, format!("{scope}/half"), &table);
        Ok(cast_to_float(self.g, scope, &rows))
    }

    /// Picks as many rows of a table as the window has tokens.
    fn first_rows(&mut self) -> impl Fn(&mut GraphBuilder<'_>, String, &str) -> Value + use<> {
        let length =
            Op::standard("Shape", "embeddings/length").inputs(["input_ids"]).int("start", 1).int("end", 2);
        let length = self.g.add(length);
        let zero = self.g.integers("embeddings/zero", &[0]);
        move |g, scope, table| {
            g.add(Op::standard("Slice", scope).inputs([table, zero.as_str(), &length, &zero]))
        }
    }

    /// Picks rows of a stored table and brings them to f32.
    fn rows(
        &mut self,
        scope: &str,
        table: &str,
        pick: impl Fn(&mut GraphBuilder<'_>, String, &str) -> Value,
    ) -> Result<Value, WeightsError> {
        let tensor = format!("layoutlm.embeddings.{table}.weight");
        match self.storage {
            TableStorage::Float => {
                let table = self.g.weight(&tensor, Storage::Float)?;
                Ok(pick(self.g, scope.to_string(), &table))
            }
            TableStorage::Half => {
                let table = self.g.weight(&tensor, Storage::Half)?;
                let rows = pick(self.g, format!("{scope}/half"), &table);
                Ok(cast_to_float(self.g, scope, &rows))
            }
            TableStorage::Int8 => {
                let scales = row_scales(self.g.tensor(&tensor)?, &[]);
                let dims = [scales.len() as i64, 1];
                let scale_table = Initializer::floats(&format!("{tensor}.scale"), &dims, &scales);
                let scale_table = self.g.constant(scale_table);
                let table = self.g.weight(&tensor, Storage::Int8Rows(scales))?;
                let rows = pick(self.g, format!("{scope}/int8"), &table);
                let rows = cast_to_float(self.g, &format!("{scope}/unscaled"), &rows);
                let scales = pick(self.g, format!("{scope}/scale"), &scale_table);
                Ok(self.g.add(Op::standard("Mul", scope).inputs([&rows, &scales])))
            }
        }
    }
}

//! Word, position, box and token-type tables, then normalisation and dropout.

use candle_core::{Result, Tensor};

use super::PackedBatch;
use super::layoutlm::LayoutLm;
use super::pass::{Masks, Site, lookup_ids, norm_gradients};
use crate::ops::{self, LOOKUPS, Lookup, Scratch};

/// Where the tables are among the model's parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Embeddings {
    /// Table of each lookup: word, position, x0, y0, x1, y1, height, width, token type.
    pub(super) tables: [usize; LOOKUPS],
    pub(super) norm: [usize; 2],
    /// The row that is never trained, as an embedding's `padding_idx` elsewhere.
    pub(super) pad_token_id: u32,
}

/// What the backward pass needs.
#[derive(Debug)]
pub(super) struct SavedEmbeddings<'w> {
    sum: Scratch<'w>,
    ids: [Vec<u32>; LOOKUPS],
}

impl Embeddings {
    /// Hidden states `[tokens, hidden]`.
    pub(super) fn forward<'m>(
        &self,
        model: &'m LayoutLm,
        masks: &Masks,
        batch: &PackedBatch,
    ) -> Result<(Scratch<'m>, SavedEmbeddings<'m>)> {
        let (tokens, hidden) = (batch.tokens(), model.config().hidden_size);
        let (sum, out) = (model.workspace.take(tokens, hidden)?, model.workspace.take(tokens, hidden)?);
        let ids = lookup_ids(batch);
        let lookups: Vec<Lookup<'_>> = self
            .tables
            .iter()
            .zip(&ids)
            .map(|(&t, ids)| Lookup { table: model.parameter(t).value(), ids })
            .collect();
        let lookups = <[Lookup<'_>; LOOKUPS]>::try_from(lookups)
            .map_err(|_| candle_core::Error::Msg("the embeddings have nine tables".into()))?;
        ops::embed(&sum, lookups)?;
        ops::layer_norm(&out, &sum, &model.norm(self.norm.map(|i| model.parameter(i))))?;
        ops::dropout(&out, masks.at(Site::Embeddings).as_ref())?;
        Ok((out, SavedEmbeddings { sum, ids }))
    }

    /// Scatters `gradient` `[tokens, hidden]` into the tables; its content is used up.
    pub(super) fn backward(
        &self,
        model: &LayoutLm,
        masks: &Masks,
        gradient: &Tensor,
        saved: SavedEmbeddings<'_>,
    ) -> Result<()> {
        ops::dropout(gradient, masks.at(Site::Embeddings).as_ref())?;
        norm_gradients(model, self.norm.map(|i| model.parameter(i)), gradient, &saved.sum, None)?;
        let mut done = Vec::with_capacity(LOOKUPS);
        for &table in &self.tables {
            if done.contains(&table) {
                continue;
            }
            done.push(table);
            let parameter = model.parameter(table);
            if !parameter.is_trainable() {
                continue;
            }
            let reads = self.reads(table, &saved.ids);
            parameter.accumulate(|sum, _, rows| {
                for (row, _) in &reads {
                    if let Some(row) = rows.get_mut(*row as usize) {
                        *row = true;
                    }
                }
                ops::embed_gradient(sum, gradient, &reads)
            })?;
        }
        Ok(())
    }

    /// (row, token) of every read of a table, sorted.
    fn reads(&self, table: usize, ids: &[Vec<u32>; LOOKUPS]) -> Vec<(u32, u32)> {
        let words = self.tables.first() == Some(&table);
        let of_table = self.tables.iter().zip(ids).filter(|(t, _)| **t == table);
        let mut reads: Vec<(u32, u32)> = of_table
            .flat_map(|(_, ids)| ids.iter().copied().zip(0..))
            .filter(|(row, _)| !(words && *row == self.pad_token_id))
            .collect();
        reads.sort_unstable();
        reads
    }
}

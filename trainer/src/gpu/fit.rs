//! How many tokens a pass may hold with the memory there is.

use super::{GpuError, GpuTrainer};

/// Share of the free memory that passes may use: the rest is for cuBLAS, and for pieces lost between buffers.
const USABLE: f64 = 0.85;

impl GpuTrainer {
    /// Memory that one token of a training pass takes, in bytes; `passes` of them are alive at a time (2 with R-Drop).
    pub fn bytes_per_token(&self, passes: usize) -> usize {
        let c = &self.config;
        let (hidden, inner, labels) = (c.hidden_size, c.intermediate_size, self.labels());
        let element = self.options.precision.element().bytes();
        let layer = (7 * hidden + 2 * inner) * element + 4 * c.num_attention_heads;
        let kept =
            if self.options.gradient_checkpointing { hidden * element } else { layer + hidden * element };
        let pass = 2 * hidden * element + c.num_hidden_layers * kept + labels * (4 + element);
        // One layer's backward pass: two hidden states, the gradient of query, key and value, and its own activations
        // where they are computed again.
        let again = if self.options.gradient_checkpointing { layer + hidden * element } else { 0 };
        let backward = 5 * hidden * element + 4 * c.num_attention_heads + again;
        // Indices of the nine lookups, labels, the reads of their gradient with its partial sums, and the losses.
        let batch = 9 * 4 + 4 + 9 * 8 + 9 * hidden + 8;
        passes * pass + backward + batch
    }

    /// Tokens of the largest pass that fits the memory that is free now. To be asked before the first pass.
    ///
    /// # Errors
    /// [`GpuError::Device`].
    pub fn tokens_that_fit(&self, passes: usize) -> Result<usize, GpuError> {
        let free = self.card.compute().memory()?.free;
        Ok((free as f64 * USABLE) as usize / self.bytes_per_token(passes).max(1))
    }
}

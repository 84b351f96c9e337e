//! The sizes measured, and input of those sizes.

use anyhow::{Result, bail};
use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::config::ModelConfig;
use layoutlm_core::window::Window;

/// A model of a published size with `labels` classes and dropout 0.1.
///
/// # Errors
/// For a name other than `minilm` (6 layers, 384 wide) and `base` (12 layers, 768 wide).
pub fn config(size: &str, labels: usize) -> Result<ModelConfig> {
    let (layers, hidden, inner) = match size {
        "minilm" => (6, 384, 1536),
        "base" => (12, 768, 3072),
        _ => bail!("unknown model size {size:?}: expected minilm or base"),
    };
    let ids: serde_json::Map<String, serde_json::Value> =
        (0..labels).map(|i| (i.to_string(), format!("LABEL_{i}").into())).collect();
    let text = serde_json::json!({
        "model_type": "layoutlm", "vocab_size": 30522, "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": 12, "intermediate_size": inner, "id2label": ids,
    });
    Ok(ModelConfig::from_json(&text.to_string())?)
}

/// A `batch`x`tokens` shape as text, e.g. `8x128`.
///
/// # Errors
/// For any other text.
pub fn parse(shape: &str) -> Result<(usize, usize)> {
    match shape.split_once('x').map(|(b, t)| (b.parse(), t.parse())) {
        Some((Ok(batch), Ok(tokens))) => Ok((batch, tokens)),
        _ => bail!("{shape:?} is no shape: expected <batch>x<tokens>, e.g. 8x128"),
    }
}

/// Numbers that look random and are the same in every run.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(limit)) >> 32) as u32
    }
}

/// A window of `tokens` random tokens with boxes, one token to a word.
pub fn window(numbers: &mut Numbers, tokens: usize) -> Window {
    let mut span = |limit: u32| {
        let (a, b) = (numbers.below(limit) as u16, numbers.below(limit) as u16);
        (a.min(b), a.max(b))
    };
    let bbox = (0..tokens)
        .filter_map(|_| {
            let ((x0, x1), (y0, y1)) = (span(1001), span(1001));
            NormalizedBox::new([x0, y0, x1, y1]).ok()
        })
        .collect();
    let input_ids = (0..tokens).map(|_| 1000 + numbers.below(29_000)).collect();
    let word_ids = (0..tokens as u32).map(Some).collect();
    Window { word_indices: (0..tokens).collect(), input_ids, bbox, word_ids }
}

//! Cross-entropy and its gradient in one pass.

use candle_core::{Result, Tensor};
use layoutlm_core::label::LabelId;

/// Settings of [`cross_entropy`].
pub(crate) struct CrossEntropy<'a> {
    /// Label smoothing, 0..1.
    pub(crate) smoothing: f64,
    /// Class weights `[labels]`.
    pub(crate) weights: Option<&'a [f32]>,
    /// Factor on sum and gradient.
    pub(crate) scale: f64,
}

/// Loss and ∂loss/∂logits of `[tokens, labels]` logits; rows without a label have gradient 0.
pub(crate) fn cross_entropy(
    logits: &Tensor,
    labels: &[Option<LabelId>],
    settings: &CrossEntropy<'_>,
) -> Result<(f64, Tensor)> {
    let (tokens, classes) = logits.dims2()?;
    let rows = logits.to_vec2::<f32>()?;
    let mut gradient = vec![0f32; tokens * classes];
    let mut sum = 0.0;
    for ((row, label), out) in rows.iter().zip(labels).zip(gradient.chunks_exact_mut(classes.max(1))) {
        if let Some(label) = label {
            sum += one_token(row, *label, settings, out);
        }
    }
    Ok((sum * settings.scale, Tensor::from_vec(gradient, (tokens, classes), logits.device())?))
}

/// Adds nothing to `scale`: returns the unscaled loss of a token, writes the scaled gradient.
fn one_token(logits: &[f32], label: LabelId, settings: &CrossEntropy<'_>, gradient: &mut [f32]) -> f64 {
    let weight = |c: usize| settings.weights.and_then(|w| w.get(c)).map_or(1.0, |w| f64::from(*w));
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&x| f64::from(x - largest).exp()).sum();
    let log_total = f64::from(largest) + total.ln();
    let spread = settings.smoothing / logits.len() as f64;
    // Target mass of class c is q[c] = w[c]·(spread + (1 − e)·[c = label]); ∂/∂z = Σq · softmax − q.
    let target = |c: usize| {
        let sharp = if c == label.index() { 1.0 - settings.smoothing } else { 0.0 };
        weight(c) * (spread + sharp)
    };
    let mass: f64 = (0..logits.len()).map(target).sum();
    let mut loss = 0.0;
    for (c, (&logit, out)) in logits.iter().zip(gradient).enumerate() {
        let log_probability = f64::from(logit) - log_total;
        loss -= target(c) * log_probability;
        *out = ((mass * log_probability.exp() - target(c)) * settings.scale) as f32;
    }
    loss
}

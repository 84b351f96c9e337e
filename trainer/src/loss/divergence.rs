//! How far two dropout passes over one batch disagree, with the gradients of both.

use candle_core::{Device, Tensor};
use layoutlm_core::label::LabelId;

use crate::model::ModelError;

/// The divergence of two passes.
#[derive(Debug)]
pub struct Divergence {
    /// This batch's share of the step's divergence.
    pub value: f64,
    /// ∂divergence/∂logits of each pass, `[tokens, labels]`.
    pub gradients: [Tensor; 2],
}

/// `scale · Σ (KL(p‖q) + KL(q‖p))` over the labelled tokens, p and q the class probabilities of the two passes.
///
/// # Errors
/// [`ModelError::Labels`] when the logits differ in shape or do not fit the labels.
///
/// Source: R-Drop (Liang et al. 2021), §2.1, eq. 2.
pub fn divergence(
    [a, b]: [&Tensor; 2],
    labels: &[Option<LabelId>],
    scale: f64,
) -> Result<Divergence, ModelError> {
    let (tokens, classes) = a.dims2()?;
    if b.dims() != a.dims() || labels.len() != tokens {
        let text = format!("logits {:?} and {:?} for {} labels", a.dims(), b.dims(), labels.len());
        return Err(ModelError::Labels(text));
    }
    let (x, y) = (a.flatten_all()?.to_vec1::<f32>()?, b.flatten_all()?.to_vec1::<f32>()?);
    let mut gradients = [vec![0.0f32; x.len()], vec![0.0f32; y.len()]];
    let [gx, gy] = &mut gradients;
    let mut value = 0.0;
    let rows = x.chunks(classes).zip(y.chunks(classes));
    let out = gx.chunks_mut(classes).zip(gy.chunks_mut(classes));
    for (((x, y), (gx, gy)), label) in rows.zip(out).zip(labels) {
        if label.is_some() {
            value += scale * token(x, y, gx, gy, scale);
        }
    }
    let tensor = |data: Vec<f32>, device: &Device| Tensor::from_vec(data, (tokens, classes), device);
    let [gx, gy] = gradients;
    Ok(Divergence { value, gradients: [tensor(gx, a.device())?, tensor(gy, b.device())?] })
}

/// Both divergences of one token summed; writes the scaled gradients.
fn token(x: &[f32], y: &[f32], gx: &mut [f32], gy: &mut [f32], scale: f64) -> f64 {
    let (p, q) = (log_softmax(x), log_softmax(y));
    let kl = |from: &[f64], to: &[f64]| from.iter().zip(to).map(|(f, t)| f.exp() * (f - t)).sum::<f64>();
    let (forward, backward) = (kl(&p, &q), kl(&q, &p));
    for (((p, q), gx), gy) in p.iter().zip(&q).zip(gx).zip(gy) {
        let (distance, gap) = (p - q, p.exp() - q.exp());
        *gx = (scale * (p.exp() * (distance - forward) + gap)) as f32;
        *gy = (scale * (q.exp() * (-distance - backward) - gap)) as f32;
    }
    forward + backward
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = row.iter().map(|&v| f64::from(v - top));
    let total = shifted.clone().map(f64::exp).sum::<f64>().ln();
    shifted.map(|v| v - total).collect()
}

#[cfg(test)]
mod tests {
    use layoutlm_core::label::LabelSet;

    use super::*;

    fn labels() -> Vec<Option<LabelId>> {
        let set = LabelSet::from_entities(["DATE".to_string()]).unwrap();
        vec![set.id("O"), None, set.id("B-DATE")]
    }

    fn value(x: &[f32], y: &[f32]) -> f64 {
        let of = |data: &[f32]| Tensor::from_slice(data, (3, 3), &Device::Cpu).unwrap();
        divergence([&of(x), &of(y)], &labels(), 0.5).unwrap().value
    }

    const X: [f32; 9] = [0.1, -0.4, 1.2, 0.3, 0.3, 0.3, -1.0, 2.0, 0.5];
    const Y: [f32; 9] = [0.6, -0.1, 0.7, 9.0, 0.0, 0.0, -0.5, 1.5, 0.9];

    #[test]
    fn gradients_are_those_of_finite_differences_and_unlabelled_tokens_have_none() {
        let of = |data: &[f32]| Tensor::from_slice(data, (3, 3), &Device::Cpu).unwrap();
        let found = divergence([&of(&X), &of(&Y)], &labels(), 0.5).unwrap();
        for side in 0..2 {
            let gradient = found.gradients[side].flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for i in 0..9 {
                let shifted = |by: f32| {
                    let mut both = [X, Y];
                    both[side][i] += by;
                    value(&both[0], &both[1])
                };
                let numeric = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
                assert!((f64::from(gradient[i]) - numeric).abs() < 1e-4, "side {side}, {i}");
            }
            assert_eq!(gradient[3..6], [0.0; 3]);
        }
    }

    #[test]
    fn passes_that_agree_do_not_diverge() {
        assert!(value(&X, &X).abs() < 1e-12);
        assert!(value(&X, &Y) > 0.0);
    }
}

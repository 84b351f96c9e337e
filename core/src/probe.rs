//! The probe of a bundle: a few encoded windows with the logits that the trained model gave for them.
//!
//! The exporter writes it, `verify` and the server replay it. Here are its bytes (safetensors) and the comparison;
//! files and engines are others' business. For windows i = 0, 1, …: `w{i}.input_ids` `[seq]` i64, `w{i}.bbox`
//! `[seq, 4]` i64, `w{i}.logits` `[seq, labels]` f32, `w{i}.first` `[words]` i64: positions of first sub-tokens, where
//! labels count (everywhere when absent).

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::bbox::NormalizedBox;
use crate::bundle::Limits;
use crate::window::Window;

/// A probe that can't be read, or answers that do not fit it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("probe.safetensors: {0}")]
pub struct ProbeError(String);

/// One window of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeWindow {
    /// What the network is fed; its words are not recorded when read back.
    pub window: Window,
    /// Reference answer, `[seq, labels]` row-major.
    pub logits: Vec<f32>,
    /// Positions of first sub-tokens.
    pub first: Vec<usize>,
}

/// How well a graph repeated a probe.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Replayed {
    /// Windows compared.
    pub windows: usize,
    /// First sub-tokens compared.
    pub labels: usize,
    /// Largest |Δlogit| over them; NaN when an answer is not finite.
    pub max_abs_logit_diff: f64,
    /// Mean |Δlogit| over them.
    pub mean_abs_logit_diff: f64,
    /// First sub-tokens whose most probable class differs.
    pub label_flips: usize,
    /// Window of the largest difference.
    pub worst_window: usize,
}

/// A probe as a safetensors file.
///
/// # Errors
/// [`ProbeError`] when a window's arrays do not fit each other.
pub fn to_bytes(probe: &[ProbeWindow]) -> Result<Vec<u8>, ProbeError> {
    let mut arrays: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (i, p) in probe.iter().enumerate() {
        let seq = p.window.len();
        let classes = p.logits.len() / seq.max(1);
        let ids = p.window.input_ids.iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect();
        let boxes =
            p.window.bbox.iter().flat_map(|b| b.corners()).flat_map(|v| i64::from(v).to_le_bytes()).collect();
        let logits = p.logits.iter().flat_map(|v| v.to_le_bytes()).collect();
        let first = p.first.iter().flat_map(|&v| (v as i64).to_le_bytes()).collect();
        arrays.push((format!("w{i}.input_ids"), Dtype::I64, vec![seq], ids));
        arrays.push((format!("w{i}.bbox"), Dtype::I64, vec![seq, 4], boxes));
        arrays.push((format!("w{i}.logits"), Dtype::F32, vec![seq, classes], logits));
        arrays.push((format!("w{i}.first"), Dtype::I64, vec![p.first.len()], first));
    }
    let wrong = |e: safetensors::SafeTensorError| ProbeError(e.to_string());
    let views = arrays.iter().map(|(name, dtype, shape, bytes)| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view)).map_err(wrong)
    });
    safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, None).map_err(wrong)
}

/// Reads a probe for a model of so many classes.
///
/// # Errors
/// [`ProbeError`] with the tensor that is wrong.
pub fn from_bytes(bytes: &[u8], classes: usize) -> Result<Vec<ProbeWindow>, ProbeError> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| ProbeError(e.to_string()))?;
    let mut windows = Vec::new();
    while tensors.tensor(&format!("w{}.input_ids", windows.len())).is_ok() {
        windows.push(read_window(&tensors, windows.len(), classes)?);
    }
    if windows.is_empty() {
        return Err(ProbeError("holds no windows (w0.input_ids, …)".into()));
    }
    Ok(windows)
}

fn read_window(tensors: &SafeTensors<'_>, index: usize, classes: usize) -> Result<ProbeWindow, ProbeError> {
    let wrong = |what: String| ProbeError(format!("w{index}.{what}"));
    let ids = integers(tensors, &format!("w{index}.input_ids"))?;
    let seq = ids.len();
    let input_ids = ids.iter().map(|&id| u32::try_from(id)).collect::<Result<Vec<_>, _>>();
    let input_ids = input_ids.map_err(|_| wrong("input_ids holds a negative or huge id".into()))?;
    let corners = integers(tensors, &format!("w{index}.bbox"))?;
    let bbox = corners.as_chunks().0.iter().map(grid_box).collect::<Option<Vec<_>>>();
    let bbox = bbox.ok_or_else(|| wrong("bbox holds a box off the 0..=1000 grid".into()))?;
    if corners.len() != seq * 4 {
        return Err(wrong(format!("bbox is not [{seq}, 4]")));
    }
    let logits = tensor(tensors, &format!("w{index}.logits"), Dtype::F32)?;
    let logits: Vec<f32> = logits.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    if logits.len() != seq * classes {
        return Err(wrong(format!("logits is not [{seq}, {classes}]")));
    }
    if logits.iter().any(|v| !v.is_finite()) {
        return Err(wrong("logits holds a number that is not finite".into()));
    }
    let first = match tensors.tensor(&format!("w{index}.first")) {
        Err(_) => (0..seq).collect(),
        Ok(_) => {
            let positions = integers(tensors, &format!("w{index}.first"))?;
            let inside = positions.iter().map(|&p| usize::try_from(p).ok().filter(|p| *p < seq));
            inside
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| wrong("first points outside the window".into()))?
        }
    };
    let window = Window { word_indices: Vec::new(), input_ids, bbox, word_ids: vec![None; seq] };
    Ok(ProbeWindow { window, logits, first })
}

fn grid_box(corners: &[i64; 4]) -> Option<NormalizedBox> {
    let [x0, y0, x1, y1] = corners.map(|v| u16::try_from(v).ok());
    NormalizedBox::new([x0?, y0?, x1?, y1?]).ok()
}

fn tensor<'a>(tensors: &SafeTensors<'a>, name: &str, dtype: Dtype) -> Result<&'a [u8], ProbeError> {
    let tensor = tensors.tensor(name).map_err(|_| ProbeError(format!("{name} is missing")))?;
    if tensor.dtype() == dtype {
        Ok(tensor.data())
    } else {
        Err(ProbeError(format!("{name} is {:?}, expected {dtype:?}", tensor.dtype())))
    }
}

fn integers(tensors: &SafeTensors<'_>, name: &str) -> Result<Vec<i64>, ProbeError> {
    let bytes = tensor(tensors, name, Dtype::I64)?;
    Ok(bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect())
}

/// Holds answers (`[seq, labels]` of each window, in order) against a probe.
///
/// # Errors
/// [`ProbeError`] when an answer has the wrong size.
pub fn compare(probe: &[ProbeWindow], answers: &[Vec<f32>], classes: usize) -> Result<Replayed, ProbeError> {
    let mut result = Replayed { windows: probe.len(), ..Replayed::default() };
    let (mut sum, mut largest) = (0.0f64, -1.0f64);
    for (index, expected) in probe.iter().enumerate() {
        let found = answers.get(index).map_or(&[][..], Vec::as_slice);
        if found.len() != expected.logits.len() {
            let (expected, found) = (expected.logits.len(), found.len());
            return Err(ProbeError(format!("window {index} has {expected} logits, the graph gives {found}")));
        }
        for &position in &expected.first {
            let range = position * classes..(position + 1) * classes;
            let reference = expected.logits.get(range.clone()).unwrap_or_default();
            let row = found.get(range).unwrap_or_default();
            for (a, b) in reference.iter().zip(row) {
                let difference = f64::from((a - b).abs());
                sum += difference;
                // A NaN becomes the largest and stays it.
                if (difference > largest || difference.is_nan()) && !largest.is_nan() {
                    (largest, result.worst_window) = (difference, index);
                }
            }
            result.labels += 1;
            result.label_flips += usize::from(most_probable(reference) != most_probable(row));
        }
    }
    result.max_abs_logit_diff = if largest < 0.0 { 0.0 } else { largest };
    result.mean_abs_logit_diff = sum / (result.labels * classes).max(1) as f64;
    Ok(result)
}

/// The lowest class of the largest value, as decoding has it.
fn most_probable(row: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, &value) in row.iter().enumerate() {
        if value > best.1 {
            best = (class, value);
        }
    }
    best.0
}

impl Limits {
    /// Which limit a replayed probe breaks, as a sentence. A probe is short: where any label may flip, one may.
    pub fn broken_by(&self, replayed: &Replayed) -> Option<String> {
        let difference = replayed.max_abs_logit_diff;
        if !difference.is_finite() {
            return Some("an answer is not a finite number".into());
        }
        if let Some(limit) = self.max_abs_logit_diff.filter(|limit| difference > *limit) {
            return Some(format!("|Δlogit| of {difference:.2e}, above {limit:.0e}"));
        }
        let share = (self.max_flip_rate * replayed.labels as f64).floor() as usize;
        let allowed = if self.max_flip_rate > 0.0 { share.max(1) } else { 0 };
        let (flips, labels) = (replayed.label_flips, replayed.labels);
        (flips > allowed).then(|| format!("{flips} of {labels} labels differ"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Vec<ProbeWindow> {
        let window = Window {
            word_indices: Vec::new(),
            input_ids: vec![2, 7, 3],
            bbox: vec![
                NormalizedBox::ZERO,
                NormalizedBox::new([1, 2, 3, 1000]).unwrap(),
                NormalizedBox::ZERO,
            ],
            word_ids: vec![None; 3],
        };
        vec![ProbeWindow { window, logits: [[1.0, 0.0]; 3].concat(), first: vec![1] }]
    }

    fn replay(change: impl Fn(&mut Vec<f32>)) -> Replayed {
        let mut answer = [[1.0, 0.0]; 3].concat();
        change(&mut answer);
        compare(&probe(), &[answer], 2).unwrap()
    }

    #[test]
    fn a_probe_survives_its_file() {
        assert_eq!(from_bytes(&to_bytes(&probe()).unwrap(), 2).unwrap(), probe());
    }

    #[test]
    fn only_first_subtokens_count() {
        let replayed = replay(|a| {
            a[0] = -9.0;
            a[2] = 0.5;
        });
        assert_eq!((replayed.max_abs_logit_diff, replayed.mean_abs_logit_diff), (0.5, 0.25));
        assert_eq!((replayed.label_flips, replayed.labels), (0, 1));
    }

    #[test]
    fn a_difference_a_flip_and_a_nan_break_limits() {
        let broken = |limits: Limits, change: fn(&mut Vec<f32>)| limits.broken_by(&replay(change));
        assert_eq!(broken(Limits::EXACT, |a| a[2] += 1e-4), None);
        assert!(broken(Limits::EXACT, |a| a[2] += 1e-2).unwrap().contains("above 1e-3"));
        let no_flip = Limits { max_abs_logit_diff: None, max_flip_rate: 0.0, max_f1_drop: 0.0 };
        assert!(broken(no_flip, |a| a[3] = 2.0).unwrap().contains("1 of 1 labels differ"));
        assert_eq!(broken(Limits::INT8, |a| a[3] = 2.0), None);
        assert!(broken(Limits::INT8, |a| a[2] = f32::NAN).unwrap().contains("not a finite number"));
    }

    #[test]
    fn what_is_no_probe_is_refused_by_name() {
        assert!(from_bytes(b"nonsense", 2).is_err());
        assert!(from_bytes(&to_bytes(&probe()).unwrap(), 3).unwrap_err().to_string().contains("w0.logits"));
        assert!(compare(&probe(), &[vec![0.0]], 2).unwrap_err().to_string().contains("window 0"));
        assert!(to_bytes(&[]).is_ok_and(|bytes| from_bytes(&bytes, 2).is_err()));
    }
}

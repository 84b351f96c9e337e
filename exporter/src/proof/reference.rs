//! What the trained model itself says: the other side of every proof.

use std::fs::File;
use std::io::BufReader;

use candle_core::Device;
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::probe::ProbeWindow;
use layoutlm_core::receipt::{BadLines, read_jsonl};
use layoutlm_trainer::files::FileError;
use layoutlm_trainer::model::{CandleClassifier, LayoutLm};
use layoutlm_trainer::weights::Weights;

use super::{Answers, Evidence, Prepared, make_probe, probe_receipts};
use crate::checkpoint::Loaded;
use crate::error::ExportError;
use crate::int8::{Observer, Ranges};
use crate::options::ExportOptions;
use crate::progress::Watch;

/// The candle model's answers.
pub(crate) struct Reference {
    /// To the evidence. Their time has the look at the activations in it, where ranges were asked for: some 6 %.
    pub(crate) answers: Answers,
    /// To the probe.
    pub(crate) probe: Vec<ProbeWindow>,
    /// How far its activations reach on the evidence; empty when not asked for.
    pub(crate) ranges: Ranges,
}

/// Runs the candle model in f32. The model is gone when this returns.
///
/// # Errors
/// Whatever the model reports; [`ExportError::Interrupted`].
pub(crate) fn run_reference(
    config: ModelConfig,
    weights: Weights,
    encoder: &Encoder,
    prepared: &Prepared,
    ranges: bool,
    watch: &Watch<'_>,
) -> Result<Reference, ExportError> {
    let model = LayoutLm::new(config, weights, &Device::Cpu).map_err(ExportError::Reference)?;
    let (classifier, observer) = (CandleClassifier::new(&model), Observer::new(&model));
    let answering: &dyn TokenClassifier = if ranges { &observer } else { &classifier };
    let answers = Answers::collect(encoder, answering, prepared, watch, "reference")?;
    let probe = match prepared.as_probe(&answers) {
        Some(probe) => probe,
        None => make_probe(encoder, &classifier)?,
    };
    Ok(Reference { answers, probe, ranges: observer.into_ranges() })
}

/// The receipts to prove on: those given, else the run's own validation receipts, else the probe's.
///
/// # Errors
/// [`ExportError::Evidence`] with the line that can't be read.
pub(crate) fn evidence_of(loaded: &Loaded, options: &ExportOptions) -> Result<Evidence, ExportError> {
    if let Some(evidence) = &options.evidence {
        return Ok(evidence.clone());
    }
    let Some(path) = loaded.validation_file() else { return Ok(probe_receipts()) };
    let name = path.display().to_string();
    let reader = BufReader::new(File::open(&path).map_err(FileError::at(&path))?);
    let read = read_jsonl(reader, &name, BadLines::Refuse);
    let receipts = read.map_err(|e| ExportError::Evidence { name, reason: e.to_string() })?.receipts;
    Ok(Evidence { name: "validation".into(), receipts })
}

//! From a wish for int8 to a graph that keeps its labels.
//!
//! Everything went into int8 first. Where that changes too many labels, each product in turn is in int8 alone on some
//! receipts to see what it costs in exactness; those that cost most for their share of the work go back to float, as
//! few of them as the limits ask for, judged on all receipts. (Leaving one product out of many in int8 instead tells
//! little: the errors of the others hide it.)

use std::path::Path;

use layoutlm_core::bundle::{AllInt8, Certificate, LayerProduct, Limits, Quantization, Sensitivity};
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::probe::ProbeWindow;
use layoutlm_trainer::files::FileError;
use layoutlm_trainer::weights::Weights;

use crate::error::ExportError;
use crate::graph::{Form, Product, VariantKind, build};
use crate::options::OpenGraph;
use crate::progress::Watch;
use crate::proof::{Answers, BrokenProof, Prepared, Subject, certify, mean_difference, replay_proven};
use crate::write::{Durability, write_model};

/// Receipts that sensitivities are measured on.
const SAMPLE: usize = 12;
const VARIANT: &str = "int8";
/// Weights of trials lie beside the graph, where ONNX Runtime maps them instead of copying.
const EXTERNAL: u64 = 0;

/// What a graph is held against.
pub(crate) struct Judge<'a> {
    pub(crate) encoder: &'a Encoder,
    pub(crate) prepared: &'a Prepared,
    pub(crate) reference: &'a Answers,
    pub(crate) probe: &'a [ProbeWindow],
    pub(crate) limits: Limits,
    pub(crate) threads: usize,
    pub(crate) watch: &'a Watch<'a>,
}

/// What trials are made with.
pub(crate) struct Lab<'a> {
    pub(crate) judge: Judge<'a>,
    pub(crate) config: &'a ModelConfig,
    /// Reads the checkpoint again: its weights are in memory while a graph is written, and gone before it is opened.
    pub(crate) reload: &'a dyn Fn() -> Result<Weights, ExportError>,
    pub(crate) open: &'a OpenGraph<'a>,
    /// A folder for trial graphs, emptied by its owner.
    pub(crate) scratch: &'a Path,
}

/// A form that holds, with its proof.
pub(crate) struct Settled {
    pub(crate) form: Form,
    pub(crate) certificate: Certificate,
    pub(crate) quantization: Quantization,
}

impl Settled {
    /// A form that holds as it is.
    pub(crate) fn at_once(form: Form, certificate: Certificate) -> Self {
        let quantization = Quantization { smoothed: smoothed(&form), ..Quantization::default() };
        Self { form, certificate, quantization }
    }
}

/// Finds the form with the most int8 that holds, where `form` did not.
///
/// # Errors
/// [`ExportError::Proof`] of `form`, `broken`, when none holds.
pub(crate) fn search(lab: &Lab<'_>, form: Form, broken: Box<BrokenProof>) -> Result<Settled, ExportError> {
    let order = lab.sensitivities(&form)?;
    let Some((form, certificate)) = lab.fewest_in_float(&form, &order)? else { return Err(broken.into()) };
    let quantization = Quantization {
        smoothed: smoothed(&form),
        float: order.iter().filter(|o| !form.int8.contains(&o.key)).map(|o| name(o.key)).collect(),
        sensitivity: order.into_iter().map(|o| o.sensitivity).collect(),
        all_int8: Some(all_int8(&broken)),
    };
    Ok(Settled { form, certificate, quantization })
}

fn all_int8(broken: &BrokenProof) -> AllInt8 {
    let certificate = &broken.certificate;
    AllInt8 {
        reason: broken.reason.clone(),
        flips_per_10k_words: certificate.flips_per_10k_words,
        mean_abs_logit_diff: certificate.mean_abs_logit_diff,
        latency_ms: certificate.latency_ms.as_ref().map_or(0.0, |l| l.variant),
    }
}

fn smoothed(form: &Form) -> Vec<LayerProduct> {
    form.smoothing.keys().filter(|key| form.int8.contains(key)).map(|key| name(*key)).collect()
}

fn name((layer, product): (usize, Product)) -> LayerProduct {
    LayerProduct { layer, product: product.name().to_string() }
}

/// A product with what it costs.
struct Candidate {
    key: (usize, Product),
    sensitivity: Sensitivity,
    /// Square error per multiply-add: errors of different products add up as squares.
    worth: f64,
}

pub(crate) type Proven = Result<Certificate, Box<BrokenProof>>;

impl Judge<'_> {
    /// Holds a graph against the reference on everything there is.
    ///
    /// # Errors
    /// Whatever the graph reports; a broken limit is an answer.
    pub(crate) fn prove(&self, engine: &dyn TokenClassifier) -> Result<Proven, ExportError> {
        let answers = Answers::collect(self.encoder, engine, self.prepared, self.watch, VARIANT)?;
        let subject = Subject { variant: VARIANT, limits: self.limits, threads: self.threads };
        let certificate = match certify(&subject, self.encoder, self.prepared, self.reference, &answers) {
            Err(ExportError::Proof(broken)) => return Ok(Err(broken)),
            other => other?,
        };
        let proven = (self.prepared, &answers);
        match replay_proven(VARIANT, self.probe, engine, self.limits, proven) {
            Ok(_) => Ok(Ok(certificate)),
            Err(ExportError::Proof(mut broken)) => {
                // The probe alone was not timed.
                broken.certificate.latency_ms = certificate.latency_ms;
                Ok(Err(broken))
            }
            Err(error) => Err(error),
        }
    }
}

impl Lab<'_> {
    /// Writes and opens a graph of this form.
    fn trial(&self, form: &Form) -> Result<Box<dyn TokenClassifier>, ExportError> {
        self.judge.watch.writing(VARIANT)?;
        let folder = tempfile::tempdir_in(self.scratch).map_err(FileError::at(self.scratch))?;
        let labels = self.judge.encoder.encoding().labels.len();
        let weights = (self.reload)()?;
        let model = build(self.config, labels, form, &weights, &[])?;
        write_model(folder.path(), "trial.onnx", &model, &weights, EXTERNAL, Durability::Passing)?;
        drop(weights);
        (self.open)(&folder.path().join("trial.onnx"), VariantKind::Int8)
            .map_err(|source| ExportError::Open { variant: VARIANT.into(), source })
    }

    /// Every int8 product, the one worth most in float first.
    fn sensitivities(&self, form: &Form) -> Result<Vec<Candidate>, ExportError> {
        let Judge { encoder, prepared, reference, watch, .. } = self.judge;
        let (sample, expected) = prepared.sample(reference, SAMPLE);
        let classes = encoder.encoding().labels.len();
        let mut candidates = Vec::with_capacity(form.int8.len());
        for &key in &form.int8 {
            let alone = Form { int8: [key].into(), ..form.clone() };
            let what = format!("int8 only in {} of layer {}", key.1.name(), key.0);
            let engine = self.trial(&alone)?;
            let answers = Answers::collect(encoder, engine.as_ref(), &sample, watch, &what)?;
            let difference = mean_difference(&sample, &expected, &answers, classes);
            let cost = key.1.multiply_adds(self.config) / 1e6;
            let (mean_abs_logit_diff, million_multiply_adds) = (difference, cost);
            let sensitivity = Sensitivity { product: name(key), mean_abs_logit_diff, million_multiply_adds };
            candidates.push(Candidate { key, sensitivity, worth: difference * difference / cost });
        }
        candidates.sort_by(|a, b| b.worth.total_cmp(&a.worth));
        Ok(candidates)
    }

    /// The shortest beginning of `order` that has to be in float; not all of it, as that would be no int8 graph.
    fn fewest_in_float(
        &self,
        form: &Form,
        order: &[Candidate],
    ) -> Result<Option<(Form, Certificate)>, ExportError> {
        let attempt = |count: usize| -> Result<Option<(Form, Certificate)>, ExportError> {
            let mut form = form.clone();
            order.iter().take(count).for_each(|candidate| _ = form.int8.remove(&candidate.key));
            Ok(self.judge.prove(self.trial(&form)?.as_ref())?.ok().map(|certificate| (form, certificate)))
        };
        let most = order.len().saturating_sub(1);
        let (mut too_few, mut count) = (0, 1.min(most));
        let mut found = None;
        while count > too_few {
            match attempt(count)? {
                Some(holds) => {
                    found = Some((count, holds));
                    break;
                }
                None => (too_few, count) = (count, (count * 2).min(most)),
            }
        }
        let Some((mut enough, mut best)) = found else { return Ok(None) };
        while enough - too_few > 1 {
            let middle = too_few.midpoint(enough);
            match attempt(middle)? {
                Some(holds) => (enough, best) = (middle, holds),
                None => too_few = middle,
            }
        }
        Ok(Some(best))
    }
}

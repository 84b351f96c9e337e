//! Exported graphs, run by the server's own engine, beside the golden logits of the Hugging Face reference.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use layoutlm_core::bundle::{Limits, Manifest};
use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_exporter::{ExportError, ExportOptions, Signature, VariantKind, Watch, export};
use layoutlm_inference::{Bundle, Engine, EngineOptions, Runtime};
use layoutlm_tests::golden::golden_windows;
use layoutlm_tests::shared;
use safetensors::SafeTensors;

fn open(path: &Path) -> Result<Box<dyn TokenClassifier>, ClassifierError> {
    Ok(Box::new(Engine::open(&Runtime::load(None)?, path, EngineOptions::single())?))
}

/// int8 may do what it likes: a random model has no margins.
fn export_golden(output: &Path, int8_limits: Limits) -> Option<Result<Manifest, ExportError>> {
    let tiny = shared("goldens/tiny")?;
    let variants = VariantKind::ALL.to_vec();
    let options = ExportOptions { variants, int8_limits, fall_back: false, ..ExportOptions::default() };
    Some(run(&tiny, output, &options))
}

fn run(checkpoint: &Path, output: &Path, options: &ExportOptions) -> Result<Manifest, ExportError> {
    let stop = AtomicBool::new(false);
    export(checkpoint, output, options, &|path, _| open(path), Watch { progress: &|_| {}, stop: &stop })
}

fn int8_only() -> ExportOptions {
    ExportOptions { variants: vec![VariantKind::Int8], int8_limits: ANYTHING, ..ExportOptions::default() }
}

const ANYTHING: Limits = Limits { max_abs_logit_diff: None, max_flip_rate: 1.0, max_f1_drop: 1.0 };

#[test]
fn every_float_graph_equals_pytorch_on_every_golden_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let output: PathBuf = folder.path().join("bundle");
    let (Some(manifest), Some(goldens)) = (export_golden(&output, ANYTHING), shared("goldens/encode")) else {
        return;
    };
    let manifest = manifest.unwrap();
    let windows = golden_windows(&goldens);
    assert_eq!(windows.len(), 24);
    for name in ["fp32", "fused"] {
        let engine = open(&output.join(&manifest.variants[name].file)).unwrap();
        for (window, expected) in &windows {
            let found = engine.logits(&[window]).unwrap().remove(0);
            assert_eq!(found.len(), expected.len());
            let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{name}: {worst} on a window of {} tokens", window.len());
        }
    }
}

#[test]
fn the_server_opens_every_graph_of_an_export() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("bundle");
    let Some(manifest) = export_golden(&output, ANYTHING) else { return };
    let manifest = manifest.unwrap();
    let bundle = Bundle::open(&output).unwrap();
    let runtime = Runtime::load(None).unwrap();
    for name in manifest.variants.keys() {
        let engine = bundle.engine(&runtime, Some(name), EngineOptions::single()).unwrap();
        assert_eq!(engine.metadata("layoutlm.variant").as_ref(), Some(name));
    }
}

#[test]
fn an_int8_graph_that_changes_labels_is_refused_with_the_windows_that_show_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("bundle");
    let Some(refused) = export_golden(&output, Limits::INT8) else { return };
    let Err(ExportError::Proof(proof)) = refused else { panic!("a random model survived int8") };
    assert_eq!(proof.variant, "int8");
    assert!(proof.certificate.label_flips > 0 && proof.worst[0].flips > 0);
    assert!(proof.worst[0].example.as_deref().unwrap().contains(" → "));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn graphs_with_and_without_a_mask_input_give_the_same_logits() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(tiny), Some(goldens)) = (shared("goldens/tiny"), shared("goldens/encode")) else { return };
    let engine = |name: &str, signature| {
        let variants = vec![VariantKind::Fused];
        let options = ExportOptions { variants, signature, ..ExportOptions::default() };
        run(&tiny, &folder.path().join(name), &options).unwrap();
        open(&folder.path().join(name).join("model.onnx")).unwrap()
    };
    let (padded, unpadded) = (engine("padded", Signature::Padded), engine("unpadded", Signature::Unpadded));
    for (window, _) in golden_windows(&goldens) {
        let (a, b) =
            (padded.logits(&[&window]).unwrap().remove(0), unpadded.logits(&[&window]).unwrap().remove(0));
        let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
    }
}

#[test]
fn weights_beside_the_graph_are_found_by_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tiny) = shared("goldens/tiny") else { return };
    let output = folder.path().join("bundle");
    run(&tiny, &output, &ExportOptions { external_above: 0, ..ExportOptions::default() }).unwrap();
    assert!(output.join("model.onnx.data").is_file());
    let bundle = Bundle::open(&output).unwrap();
    bundle.engine(&Runtime::load(None).unwrap(), None, EngineOptions::single()).unwrap();
}

#[test]
fn the_server_names_any_file_changed_by_one_byte() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("bundle");
    let Some(manifest) = export_golden(&output, ANYTHING) else { return };
    let files = manifest.unwrap().files;
    for name in files.keys().map(String::as_str).chain(["manifest.json"]) {
        let whole = std::fs::read(output.join(name)).unwrap();
        for at in [whole.len() / 3, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(output.join(name), bytes).unwrap();
            let error = Bundle::open(&output).unwrap_err().to_string();
            assert!(error.contains(name), "{name}, byte {at}: {error}");
        }
        std::fs::write(output.join(name), whole).unwrap();
    }
    Bundle::open(&output).unwrap();
}

#[test]
fn products_that_cost_most_go_back_to_float_until_the_limits_hold() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tiny) = shared("goldens/tiny") else { return };
    let rate = |flips: usize, words: usize| flips as f64 / words as f64;
    let loose = run(&tiny, &folder.path().join("loose"), &int8_only()).unwrap();
    let all = &loose.variants["int8"].certificate;
    assert!(loose.variants["int8"].quantization.as_ref().unwrap().float.is_empty() && all.label_flips > 1);
    let max_flip_rate = rate(all.label_flips, all.words) / 2.0;
    let options = ExportOptions { int8_limits: Limits { max_flip_rate, ..ANYTHING }, ..int8_only() };
    let strict = run(&tiny, &folder.path().join("strict"), &options).unwrap();
    let (certificate, quantization) =
        (&strict.variants["int8"].certificate, strict.variants["int8"].quantization.as_ref().unwrap());
    assert!(rate(certificate.label_flips, certificate.words) <= max_flip_rate);
    assert!((1..8).contains(&quantization.float.len()) && quantization.sensitivity.len() == 8);
    assert_eq!(quantization.float[0], quantization.sensitivity[0].product);
    let refused = quantization.all_int8.as_ref().unwrap();
    assert!((refused.flips_per_10k_words - all.flips_per_10k_words).abs() < 1e-9 && refused.latency_ms > 0.0);
    assert_eq!(std::fs::read_dir(folder.path().join("strict")).unwrap().count(), 5);
}

/// Makes one channel of a layer's first normalisation reach `factor` times as far.
fn with_outlier(checkpoint: &Path, to: &Path, factor: f32) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(checkpoint).unwrap() {
        let from = entry.unwrap().path();
        std::fs::write(to.join(from.file_name().unwrap()), std::fs::read(&from).unwrap()).unwrap();
    }
    let path = to.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let start = {
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let scale = tensors.tensor("layoutlm.encoder.layer.0.attention.output.LayerNorm.weight").unwrap();
        scale.data().as_ptr() as usize - bytes.as_ptr() as usize + 5 * 4
    };
    let value = f32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()) * factor;
    bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn an_outlier_moved_into_the_weights_brings_int8_closer() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tiny) = shared("goldens/tiny") else { return };
    let checkpoint = folder.path().join("checkpoint");
    with_outlier(&tiny, &checkpoint, 30.0);
    let error = |name: &str, smoothing: bool| {
        let options = ExportOptions { smoothing, ..int8_only() };
        let mut manifest = run(&checkpoint, &folder.path().join(name), &options).unwrap();
        let int8 = manifest.variants.remove("int8").unwrap();
        (int8.certificate.mean_abs_logit_diff, int8.quantization.unwrap().smoothed)
    };
    let ((plain, none), (smooth, some)) = (error("plain", false), error("smooth", true));
    assert!(
        none.is_empty() && some.iter().any(|p| (p.layer, p.product.as_str()) == (0, "intermediate")),
        "{some:?}"
    );
    assert!(smooth < 0.7 * plain, "mean |Δlogit| {smooth} with, {plain} without");
}

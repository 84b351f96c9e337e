//! Exported graphs, run by the server's own engine, beside the golden logits of the Hugging Face reference.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::bundle::{Limits, Manifest};
use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::window::Window;
use layoutlm_exporter::{ExportError, ExportOptions, VariantKind, Watch, export};
use layoutlm_inference::{Bundle, Engine, EngineOptions, Runtime};
use layoutlm_tests::shared;
use safetensors::SafeTensors;
use serde_json::Value;

fn open(path: &Path) -> Result<Box<dyn TokenClassifier>, ClassifierError> {
    Ok(Box::new(Engine::open(&Runtime::load(None)?, path, EngineOptions::single())?))
}

/// int8 may do what it likes: a random model has no margins.
fn export_golden(output: &Path, int8_limits: Limits) -> Option<Result<Manifest, ExportError>> {
    let tiny = shared("goldens/tiny")?;
    let options =
        ExportOptions { variants: VariantKind::ALL.to_vec(), int8_limits, ..ExportOptions::default() };
    let stop = AtomicBool::new(false);
    let watch = Watch { progress: &|_| {}, stop: &stop };
    Some(export(&tiny, output, &options, &|path, _| open(path), watch))
}

const ANYTHING: Limits = Limits { max_abs_logit_diff: None, max_flip_rate: 1.0, max_f1_drop: 1.0 };

/// Every golden receipt as a window, with its logits `[seq, 15]`.
fn golden_windows(folder: &Path) -> Vec<(Window, Vec<f32>)> {
    let bytes = std::fs::read(folder.join("arrays.safetensors")).unwrap();
    let arrays = SafeTensors::deserialize(&bytes).unwrap();
    let receipts: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("receipts.json")).unwrap()).unwrap();
    let window = |r: &Value| Window {
        word_indices: Vec::new(),
        input_ids: serde_json::from_value(r["input_ids"].clone()).unwrap(),
        bbox: serde_json::from_value::<Vec<NormalizedBox>>(r["bbox"].clone()).unwrap(),
        word_ids: serde_json::from_value(r["word_ids"].clone()).unwrap(),
    };
    let logits = |r: &Value| -> Vec<f32> {
        let tensor = arrays.tensor(&format!("{}.logits", r["key"].as_str().unwrap())).unwrap();
        tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    receipts["receipts"].as_array().unwrap().iter().map(|r| (window(r), logits(r))).collect()
}

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

//! Exports of a small model with the candle model itself in the place of the ONNX engine: what is written, what is
//! proved, and what is left when the proof fails. Graphs themselves are run elsewhere.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use layoutlm_core::bundle::{Limits, Manifest};
use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::{Encoding, sha256_hex};
use layoutlm_core::label::{LabelScheme, LabelSet};
use layoutlm_core::probe;
use layoutlm_core::tokenize::Tokenizer;
use layoutlm_core::window::Window;
use layoutlm_exporter::{
    Evidence, ExportError, ExportOptions, Signature, VariantKind, VerifyOptions, Watch, export, verify,
};
use layoutlm_trainer::data::{build_vocab, synthesize};
use layoutlm_trainer::model::{CandleClassifier, LayoutLm};
use layoutlm_trainer::model_folder::write_encoder;
use layoutlm_trainer::weights::{Checkpoint, LoadOptions};

/// The candle model of a checkpoint, its logits shifted by a constant on one class, or broken.
struct Stand {
    model: LayoutLm,
    shift: f32,
}

impl Stand {
    fn open(folder: &Path, shift: f32) -> Box<dyn TokenClassifier> {
        let checkpoint = Checkpoint::load(folder, LoadOptions::default()).unwrap();
        let model = LayoutLm::new(checkpoint.config, checkpoint.weights, &Device::Cpu).unwrap();
        Box::new(Self { model, shift })
    }
}

impl TokenClassifier for Stand {
    fn num_labels(&self) -> usize {
        self.model.num_labels()
    }
    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        let mut logits = CandleClassifier::new(&self.model).logits(windows)?;
        let classes = self.num_labels();
        logits.iter_mut().flat_map(|l| l.iter_mut().step_by(classes)).for_each(|v| *v += self.shift);
        Ok(logits)
    }
}

/// A checkpoint folder of a model with fresh weights.
fn checkpoint(at: &Path) -> PathBuf {
    let labels = LabelSet::from_entities(["DATE", "AMOUNT"].map(String::from)).unwrap();
    let tokenizer = Tokenizer::from_vocab(&build_vocab(&synthesize(1, 20, 10), 600), true).unwrap();
    let text = format!(
        r#"{{"model_type":"bert","vocab_size":{},"hidden_size":16,"num_hidden_layers":2,
            "num_attention_heads":2,"intermediate_size":24,"initializer_range":0.5}}"#,
        tokenizer.vocab_size()
    );
    let folder = at.join("run/best");
    fs::create_dir_all(&folder).unwrap();
    let start = at.join("start");
    fs::create_dir_all(&start).unwrap();
    let config = ModelConfig::from_json(&text).unwrap();
    start_weights(&config).save(&start, &config).unwrap();
    let loaded = Checkpoint::load(&start, LoadOptions { labels: Some(&labels), seed: 3 }).unwrap();
    loaded.weights.save(&folder, &loaded.config).unwrap();
    let scheme = LabelScheme::default();
    let encoding = Encoding::new(tokenizer.sha256().into(), true, labels, scheme);
    write_encoder(&folder, &Encoder::new(encoding, tokenizer).unwrap()).unwrap();
    folder
}

/// A BERT of zeros and ones with a spread of values in its word table, from which LayoutLM starts.
fn start_weights(config: &ModelConfig) -> layoutlm_trainer::weights::Weights {
    use layoutlm_trainer::weights::Array;
    let (h, inner) = (config.hidden_size, config.intermediate_size);
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_string(), vec![config.vocab_size, h]),
        ("embeddings.position_embeddings.weight".into(), vec![config.max_position_embeddings, h]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, h]),
    ];
    let mut module = |name: String, shape: Vec<usize>| {
        shapes.push((format!("{name}.bias"), vec![shape[0]]));
        shapes.push((format!("{name}.weight"), shape));
    };
    module("embeddings.LayerNorm".into(), vec![h]);
    for i in 0..config.num_hidden_layers {
        let layer = |part: &str| format!("encoder.layer.{i}.{part}");
        for part in ["query", "key", "value"] {
            module(layer(&format!("attention.self.{part}")), vec![h, h]);
        }
        module(layer("attention.output.dense"), vec![h, h]);
        module(layer("attention.output.LayerNorm"), vec![h]);
        module(layer("intermediate.dense"), vec![inner, h]);
        module(layer("output.dense"), vec![h, inner]);
        module(layer("output.LayerNorm"), vec![h]);
    }
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let arrays = shapes.into_iter().map(|(name, shape)| {
        let data = (0..shape.iter().product()).map(|_| next()).collect();
        (name, Array { shape, data })
    });
    arrays.collect()
}

fn quiet(stop: &AtomicBool) -> Watch<'_> {
    Watch { progress: &|_| {}, stop }
}

fn run(
    checkpoint: &Path,
    output: &Path,
    options: &ExportOptions,
    shift: f32,
) -> Result<Manifest, ExportError> {
    let stop = AtomicBool::new(false);
    export(checkpoint, output, options, &|_, _| Ok(Stand::open(checkpoint, shift)), quiet(&stop))
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn all() -> ExportOptions {
    ExportOptions { variants: VariantKind::ALL.to_vec(), ..ExportOptions::default() }
}

#[test]
fn a_bundle_holds_what_its_manifest_says() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    let record =
        r#"{"job_name":"nightly","best":{"step":5},"epoch_metrics":[{"global_step":5,"eval_f1":0.5}]}"#;
    fs::write(folder.path().join("run/run.json"), record).unwrap();
    let manifest = run(&checkpoint, &output, &all(), 0.0).unwrap();
    let text = fs::read_to_string(output.join("manifest.json")).unwrap();
    assert_eq!(Manifest::from_json(&text).unwrap(), manifest);
    let expected = [
        "config.json",
        "manifest.json",
        "model.fused.onnx",
        "model.int8.onnx",
        "model.onnx",
        "probe.safetensors",
        "tokenizer.json",
    ];
    assert_eq!(names(&output), expected.map(String::from).into());
    for (name, hash) in &manifest.files {
        assert_eq!(&sha256_hex(&fs::read(output.join(name)).unwrap()), hash, "{name}");
    }
    assert_eq!(manifest.source.job_name.as_deref(), Some("nightly"));
    assert_eq!(manifest.source.metrics.get("eval_f1"), Some(&0.5));
    let certificate = &manifest.variants["fp32"].certificate;
    assert_eq!((certificate.data.as_str(), certificate.label_flips), ("probe", 0));
    assert!(
        certificate.words > 200 && certificate.f1 == certificate.f1_reference && certificate.f1.is_some()
    );
    let probe = probe::from_bytes(&fs::read(output.join("probe.safetensors")).unwrap(), 5).unwrap();
    assert!(probe.iter().any(|p| p.window.len() > 200) && probe.len() > 6);
    assert_eq!(names(folder.path()), ["bundle", "run", "start"].map(String::from).into());
}

#[test]
fn the_runs_own_validation_receipts_are_the_evidence_when_none_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    fs::write(folder.path().join("run/run.json"), "{}").unwrap();
    let lines =
        synthesize(1, 3, 3).iter().map(|r| serde_json::to_string(r).unwrap() + "\n").collect::<String>();
    fs::write(folder.path().join("run/validation.jsonl"), &lines).unwrap();
    let manifest = run(&checkpoint, &output, &ExportOptions::default(), 0.0).unwrap();
    let certificate = &manifest.variants["fp32"].certificate;
    assert_eq!((certificate.data.as_str(), certificate.receipts), ("validation", 3));
    fs::write(folder.path().join("run/validation.jsonl"), lines + "{\n").unwrap();
    let error = run(&checkpoint, &output, &ExportOptions::default(), 0.0).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("validation.jsonl:4"), "{error}");
}

#[test]
fn a_variant_that_answers_otherwise_is_not_shipped_and_the_old_bundle_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    run(&checkpoint, &output, &ExportOptions::default(), 0.0).unwrap();
    let before = fs::read(output.join("manifest.json")).unwrap();
    let error = run(&checkpoint, &output, &all(), 0.01).unwrap_err();
    let ExportError::Proof(proof) = &error else { panic!("{error}") };
    assert_eq!(proof.variant, "fp32");
    assert!((proof.certificate.max_abs_logit_diff - 0.01).abs() < 1e-4);
    let text = error.to_string();
    assert!(text.contains("is above 1.000e-3") && text.lines().count() > 5, "{text}");
    assert_eq!(fs::read(output.join("manifest.json")).unwrap(), before);
    assert_eq!(names(folder.path()), ["bundle", "run", "start"].map(String::from).into());
}

/// Right on short windows; on longer ones everything gets the first label.
struct RightOnShort(Box<dyn TokenClassifier>, usize);

impl TokenClassifier for RightOnShort {
    fn num_labels(&self) -> usize {
        self.0.num_labels()
    }
    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        let mut logits = self.0.logits(windows)?;
        for (logits, _) in logits.iter_mut().zip(windows).filter(|(_, window)| window.len() > self.1) {
            logits.iter_mut().step_by(self.num_labels()).for_each(|v| *v += 100.0);
        }
        Ok(logits)
    }
}

#[test]
fn int8_that_only_fails_on_the_probe_says_so_and_how_long_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    let mut receipts = synthesize(5, 1, 1);
    receipts[0].words.truncate(2);
    let evidence = Some(Evidence { name: "two words".into(), receipts });
    let variants = vec![VariantKind::Int8];
    let options = ExportOptions { evidence, variants, fall_back: false, ..ExportOptions::default() };
    let stop = AtomicBool::new(false);
    let open = |_: &Path, _| -> Result<Box<dyn TokenClassifier>, ClassifierError> {
        Ok(Box::new(RightOnShort(Stand::open(&checkpoint, 0.0), 40)))
    };
    let error = export(&checkpoint, &output, &options, &open, quiet(&stop)).unwrap_err();
    let ExportError::Proof(proof) = &error else { panic!("{error}") };
    assert_eq!((proof.variant.as_str(), proof.certificate.data.as_str()), ("int8", "probe"));
    let took = proof.certificate.latency_ms.as_ref().expect("the milliseconds of the proof before it");
    assert!(took.variant > 0.0);
    assert!(!output.exists());
}

#[test]
fn numbers_that_are_not_finite_never_pass_even_without_a_limit_on_logits() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    let anything = Limits { max_abs_logit_diff: None, max_flip_rate: 1.0, max_f1_drop: 1.0 };
    let options = ExportOptions { exact_limits: anything, ..ExportOptions::default() };
    let error = run(&checkpoint, &output, &options, f32::NAN).unwrap_err().to_string();
    assert!(error.contains("not a finite number"), "{error}");
    assert!(!output.exists());
}

#[test]
fn a_stopped_export_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    let stop = AtomicBool::new(false);
    let watch = Watch { progress: &|_| stop.store(true, Ordering::Relaxed), stop: &stop };
    let error = export(&checkpoint, &output, &all(), &|_, _| unreachable!(), watch).unwrap_err();
    assert!(matches!(error, ExportError::Interrupted));
    assert_eq!(names(folder.path()), ["run", "start"].map(String::from).into());
}

#[test]
fn equal_weights_give_equal_graphs() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(folder.path());
    let files = |name: &str| run(&checkpoint, &folder.path().join(name), &all(), 0.0).unwrap().files;
    assert_eq!(files("a"), files("b"));
}

#[test]
fn verify_repeats_the_proof_and_notices_a_changed_file_and_a_changed_engine() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    run(&checkpoint, &output, &all(), 0.0).unwrap();
    let stop = AtomicBool::new(false);
    let check = |options: &VerifyOptions, shift: f32| {
        verify(&output, options, &|_, _| Ok(Stand::open(&checkpoint, shift)), quiet(&stop))
    };
    let by_probe = check(&VerifyOptions::default(), 0.0).unwrap();
    assert_eq!((by_probe.len(), by_probe["int8"].data.as_str()), (3, "probe"));
    let evidence = Some(Evidence { name: "x.jsonl".into(), receipts: synthesize(2, 2, 2) });
    let options = VerifyOptions { evidence, ..VerifyOptions::default() };
    let by_data = check(&options, 0.0).unwrap();
    assert_eq!((by_data["fp32"].receipts, by_data["fp32"].data.as_str()), (2, "x.jsonl"));
    assert!(matches!(check(&VerifyOptions::default(), 0.5).unwrap_err(), ExportError::Proof(_)));
    fs::write(output.join("tokenizer.json"), "{}").unwrap();
    let error = check(&options, 0.0).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("tokenizer.json: sha256"), "{error}");
}

#[test]
fn evidence_without_words_and_a_missing_checkpoint_are_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    let evidence = Some(Evidence { name: "empty.jsonl".into(), receipts: Vec::new() });
    let options = ExportOptions { evidence, ..ExportOptions::default() };
    let error = run(&checkpoint, &output, &options, 0.0).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().starts_with("empty.jsonl: holds no word"), "{error}");
    let error = run(&folder.path().join("nowhere"), &output, &options, 0.0).unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn any_file_changed_by_one_byte_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    run(&checkpoint, &output, &all(), 0.0).unwrap();
    let stop = AtomicBool::new(false);
    let open = |_: &Path, _| -> Result<Box<dyn TokenClassifier>, ClassifierError> { unreachable!() };
    for name in names(&output) {
        let path = output.join(&name);
        let whole = fs::read(&path).unwrap();
        for at in
            [0, 1, 3, 5, 7, 9].map(|tenths| tenths * whole.len() / 10).into_iter().chain([whole.len() - 1])
        {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            let error = verify(&output, &VerifyOptions::default(), &open, quiet(&stop)).unwrap_err();
            assert!(error.is_bad_input() && error.to_string().contains(&name), "{name}, byte {at}: {error}");
        }
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_checkpoint_that_is_replaced_during_its_export_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    let weights = checkpoint.join("model.safetensors");
    let stop = AtomicBool::new(false);
    let replace = |_: &Path, _| {
        let stand = Stand::open(&checkpoint, 0.0);
        let mut bytes = fs::read(&weights).unwrap();
        let last = bytes.len() - 4;
        bytes[last] ^= 1;
        fs::write(&weights, bytes).unwrap();
        Ok(stand)
    };
    let variants = vec![VariantKind::Fp32, VariantKind::Int8];
    let options = ExportOptions { variants, ..ExportOptions::default() };
    let error = export(&checkpoint, &output, &options, &replace, quiet(&stop)).unwrap_err();
    assert!(
        error.is_bad_input() && error.to_string().contains("changed while it was being exported"),
        "{error}"
    );
    assert!(!output.exists());
}

#[test]
fn graphs_above_the_size_limit_keep_their_weights_in_a_hashed_file_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    let manifest = run(&checkpoint, &output, &ExportOptions { external_above: 1000, ..all() }, 0.0).unwrap();
    for graph in ["model.onnx", "model.fused.onnx", "model.int8.onnx"] {
        let data = format!("{graph}.data");
        assert_eq!(manifest.files[&data], sha256_hex(&fs::read(output.join(&data)).unwrap()));
    }
}

#[test]
fn the_manifest_says_which_graphs_take_padded_batches() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(folder.path());
    let padding = |name: &str, signature| {
        let options = ExportOptions { signature, ..all() };
        let manifest = run(&checkpoint, &folder.path().join(name), &options, 0.0).unwrap();
        ["fp32", "fused", "int8"].map(|v| manifest.variants[v].padding)
    };
    assert_eq!(padding("a", Signature::Unpadded), [true, false, false]);
    assert_eq!(padding("b", Signature::Padded), [true, true, true]);
}

#[test]
fn receipts_that_only_call_themselves_the_probe_never_get_into_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, output) = (checkpoint(folder.path()), folder.path().join("bundle"));
    let evidence = Some(Evidence { name: "probe".into(), receipts: synthesize(99, 1, 1) });
    run(&checkpoint, &output, &ExportOptions { evidence, ..ExportOptions::default() }, 0.0).unwrap();
    let probe = |at: &Path| fs::read(at.join("probe.safetensors")).unwrap();
    let usual = folder.path().join("usual");
    run(&checkpoint, &usual, &ExportOptions::default(), 0.0).unwrap();
    assert_eq!(probe(&output), probe(&usual));
}

//! Checkpoint folders of every age in, whole files out, and clear words about broken ones.

use std::path::{Path, PathBuf};

use layoutlm_core::label::LabelSet;
use layoutlm_trainer::weights::{
    Array, Checkpoint, LoadOptions, TensorOrigin, Weights, WeightsError, write_tensor_file,
};

use crate::shared::{goldens, labels, small_config};

const GAMMA: &str = "layoutlm.embeddings.LayerNorm.weight";
const X_TABLE: &str = "layoutlm.embeddings.x_position_embeddings.weight";

fn small() -> Weights {
    Weights::random(&small_config(0.1), 3, 5)
}

fn saved(weights: &Weights) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    weights.save(folder.path(), &small_config(0.1)).unwrap();
    folder
}

/// The same tensors under other names.
fn renamed(weights: &Weights, rename: impl Fn(&str) -> String) -> Weights {
    weights.iter().map(|(name, array)| (rename(name), array.clone())).collect()
}

fn load(folder: &Path, labels: Option<&LabelSet>) -> Result<Checkpoint, WeightsError> {
    Checkpoint::load(folder, LoadOptions { labels, seed: 9 })
}

#[test]
fn what_is_saved_is_loaded_to_the_bit() {
    let weights = small();
    let folder = saved(&weights);
    let loaded = load(folder.path(), None).unwrap();
    assert_eq!(loaded.weights, weights);
    assert_eq!(loaded.config, {
        let mut config = small_config(0.1);
        config.architectures = vec!["LayoutLMForTokenClassification".into()];
        config
    });
    assert!(loaded.report.0.values().all(|o| *o == TensorOrigin::Loaded));
    let mut files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["config.json", "model.safetensors"]);
}

#[test]
fn names_with_other_prefixes_and_gamma_and_beta_are_understood() {
    let weights = small();
    let old = |name: &str| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        name.replace("LayerNorm.bias", "LayerNorm.beta")
    };
    let variants: [&dyn Fn(&str) -> String; 4] = [
        &|name| old(name),
        &|name| old(name).replace("layoutlm.", "bert."),
        &|name| name.replace("layoutlm.", ""),
        &|name| format!("module.{}", old(name)),
    ];
    for rename in variants {
        let folder = saved(&renamed(&weights, rename));
        assert_eq!(load(folder.path(), None).unwrap().weights, weights);
    }
}

#[test]
fn a_bert_checkpoint_is_a_start_with_fresh_tables_and_head() {
    let mut bert = renamed(&small(), |name| name.replace("layoutlm.", "bert."));
    for table in ["x", "y", "h", "w"] {
        bert.remove(&format!("bert.embeddings.{table}_position_embeddings.weight")).unwrap();
    }
    bert.remove("classifier.weight").unwrap();
    bert.remove("classifier.bias").unwrap();
    bert.insert("bert.pooler.dense.bias", Array::filled(vec![16], 1.0));
    bert.insert("cls.predictions.bias", Array::filled(vec![40], 1.0));
    let folder = saved(&bert);
    let loaded = load(folder.path(), Some(&labels())).unwrap();
    let fresh: Vec<&str> = loaded.report.names(TensorOrigin::Fresh).collect();
    assert_eq!(fresh.len(), 6);
    assert!(fresh.contains(&X_TABLE) && fresh.contains(&"classifier.weight"));
    let ignored: Vec<&str> = loaded.report.names(TensorOrigin::Ignored).collect();
    assert_eq!(ignored, ["cls.predictions.bias", "layoutlm.pooler.dense.bias"]);
    let table = &loaded.weights.get(X_TABLE).unwrap().data;
    let deviation = (table.iter().map(|x| f64::from(x * x)).sum::<f64>() / table.len() as f64).sqrt();
    assert!((deviation - 0.2).abs() < 0.01, "{deviation}");
    assert_eq!(loaded.weights, load(folder.path(), Some(&labels())).unwrap().weights);
    let other_seed =
        Checkpoint::load(folder.path(), LoadOptions { labels: Some(&labels()), seed: 10 }).unwrap();
    assert_ne!(loaded.weights.get(X_TABLE), other_seed.weights.get(X_TABLE));
    assert_eq!(loaded.weights.get(GAMMA), other_seed.weights.get(GAMMA));
}

#[test]
fn a_head_for_other_labels_starts_anew() {
    let folder = saved(&small());
    let more = LabelSet::from_entities(["DATE", "AMOUNT"].map(String::from)).unwrap();
    let other = LabelSet::from_entities(["TIME".to_string()]).unwrap();
    for labels in [more, other] {
        let loaded = load(folder.path(), Some(&labels)).unwrap();
        let fresh: Vec<&str> = loaded.report.names(TensorOrigin::Fresh).collect();
        assert_eq!(fresh, ["classifier.bias", "classifier.weight"]);
        assert_eq!(loaded.weights.get("classifier.weight").unwrap().shape, [labels.len(), 16]);
        assert_eq!(loaded.config.labels().unwrap().unwrap(), labels.tags());
    }
    let same = load(folder.path(), Some(&labels())).unwrap();
    assert_eq!(same.report.names(TensorOrigin::Fresh).count(), 0);
}

#[test]
fn missing_and_misshapen_tensors_are_named_with_their_shapes() {
    let name = "layoutlm.encoder.layer.1.output.dense.weight";
    let mut weights = small();
    let array = weights.remove(name).unwrap();
    let text = load(saved(&weights).path(), Some(&labels())).unwrap_err().to_string();
    assert_eq!(text, format!("the tensor {name} [16, 24] is missing"));
    weights.insert(name, Array { shape: vec![24, 16], data: array.data });
    let text = load(saved(&weights).path(), None).unwrap_err().to_string();
    assert_eq!(text, format!("the tensor {name} has shape [24, 16], but config.json asks for [16, 24]"));
}

#[test]
fn one_missing_table_is_an_error_and_not_a_fresh_start() {
    let mut weights = small();
    weights.remove(X_TABLE).unwrap();
    let error = load(saved(&weights).path(), Some(&labels())).unwrap_err();
    assert!(matches!(&error, WeightsError::Missing { name, .. } if name == X_TABLE), "{error}");
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let mut weights = small();
    let mut array = weights.remove(GAMMA).unwrap();
    array.data[3] = f32::NAN;
    weights.insert(GAMMA, array);
    let text = load(saved(&weights).path(), None).unwrap_err().to_string();
    assert!(text.contains(GAMMA) && text.contains("not finite"), "{text}");
}

#[test]
fn one_tensor_under_two_spellings_is_refused() {
    let mut weights = small();
    weights.insert("bert.embeddings.LayerNorm.gamma", Array::filled(vec![16], 1.0));
    let text = load(saved(&weights).path(), None).unwrap_err().to_string();
    assert!(text.contains(&format!("{GAMMA} occurs twice")), "{text}");
}

#[test]
fn truncated_and_foreign_files_are_named() {
    let folder = saved(&small());
    let file = folder.path().join("model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        let error = load(folder.path(), None).unwrap_err();
        assert!(matches!(&error, WeightsError::Corrupt { path, .. } if *path == file), "{length}: {error}");
    }
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(load(folder.path(), None), Err(WeightsError::NoWeights { .. })));
    let pickle = folder.path().join("pytorch_model.bin");
    for content in [b"".as_slice(), b"PK\x03\x04 no archive", &whole] {
        std::fs::write(&pickle, content).unwrap();
        let error = load(folder.path(), None).unwrap_err();
        assert!(matches!(&error, WeightsError::Corrupt { path, .. } if *path == pickle), "{error}");
    }
    std::fs::write(folder.path().join("config.json"), "{").unwrap();
    assert!(matches!(load(folder.path(), None), Err(WeightsError::Config { .. })));
    assert!(matches!(load(Path::new("/no/such/folder"), None), Err(WeightsError::File(_))));
}

/// A pickled BERT with `gamma` and `beta`, width 4, one layer; every tensor counts up from its length in hundredths.
fn pickled() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bert-pickle"))
}

#[test]
fn a_pickled_bert_is_read() {
    let loaded = load(&pickled(), Some(&labels())).unwrap();
    let ramp = |n: usize| (0..n).map(|i| (n + i) as f32 / 100.0).collect::<Vec<f32>>();
    for (name, shape) in [
        (GAMMA, vec![4]),
        ("layoutlm.embeddings.word_embeddings.weight", vec![12, 4]),
        ("layoutlm.encoder.layer.0.intermediate.dense.weight", vec![6, 4]),
        ("layoutlm.encoder.layer.0.output.LayerNorm.bias", vec![4]),
    ] {
        let array = loaded.weights.get(name).unwrap();
        assert_eq!((&array.shape, &array.data), (&shape, &ramp(shape.iter().product())), "{name}");
    }
    assert_eq!(loaded.report.names(TensorOrigin::Fresh).count(), 6);
}

#[test]
fn a_damaged_pickle_is_an_error_wherever_it_was_cut() {
    let whole = std::fs::read(pickled().join("pytorch_model.bin")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(pickled().join("config.json"), folder.path().join("config.json")).unwrap();
    let file = folder.path().join("pytorch_model.bin");
    for length in (0..whole.len()).step_by(whole.len() / 23) {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(load(folder.path(), Some(&labels())).is_err(), "cut at {length}");
    }
    // Flipped bytes may go unnoticed in the numbers, but never take the process down.
    for at in (0..whole.len()).step_by(61) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x5A;
        std::fs::write(&file, &flipped).unwrap();
        let _ = load(folder.path(), Some(&labels()));
    }
}

#[test]
fn the_reference_model_loads_without_its_pooler() {
    let Some(goldens) = goldens("the_reference_model_loads_without_its_pooler") else { return };
    let loaded = load(&goldens.join("tiny"), None).unwrap();
    let ignored: Vec<&str> = loaded.report.names(TensorOrigin::Ignored).collect();
    assert_eq!(ignored, ["layoutlm.pooler.dense.bias", "layoutlm.pooler.dense.weight"]);
    assert_eq!(loaded.report.names(TensorOrigin::Fresh).count(), 0);
}

#[test]
fn half_precision_files_are_widened() {
    let folder = saved(&small());
    let (narrow, wide) = (folder.path().join("half.safetensors"), folder.path().join("f32.safetensors"));
    let values = [1.0f32, -0.5, 65504.0];
    write_tensor_file(&wide, [("a", [3].as_slice(), values.as_slice())], &[]).unwrap();
    let tensor = candle_core::Tensor::new(&values, &candle_core::Device::Cpu).unwrap();
    let half = tensor.to_dtype(candle_core::DType::F16).unwrap();
    candle_core::safetensors::save(&std::collections::HashMap::from([("a", half)]), &narrow).unwrap();
    let read = |path: &Path| layoutlm_trainer::weights::read_tensor_file(path).unwrap();
    assert_eq!(read(&narrow), read(&wide));
}

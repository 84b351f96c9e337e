//! The `fp32` graph in tract, a runtime that shares no code with ONNX Runtime: it must answer the same.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use layoutlm_core::window::Window;
use layoutlm_exporter::VariantKind;
use layoutlm_tests::bundle::export_checkpoint;
use layoutlm_tests::golden::golden_windows;
use layoutlm_tests::shared;
use tract_onnx::prelude::*;

/// Labels of the golden model.
const LABELS: usize = 15;

/// What the graph asks for by `name`, for one window: `[1, seq]`, boxes `[1, seq, 4]`.
fn input(name: &str, window: &Window) -> Tensor {
    let seq = window.len();
    let flat = |value: i64| tract_ndarray::Array2::from_elem((1, seq), value).into_tensor();
    match name {
        "input_ids" => {
            tract_ndarray::Array2::from_shape_fn((1, seq), |(_, t)| i64::from(window.input_ids[t]))
                .into_tensor()
        }
        "bbox" => tract_ndarray::Array3::from_shape_fn((1, seq, 4), |(_, t, side)| {
            i64::from(window.bbox[t].corners()[side])
        })
        .into_tensor(),
        "attention_mask" => flat(1),
        _ => flat(0),
    }
}

fn best(row: &[f32]) -> usize {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap()
}

#[test]
fn tract_gives_the_labels_of_the_reference_on_every_golden_receipt() {
    let (Some(tiny), Some(goldens)) = (shared("goldens/tiny"), shared("goldens/encode")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("bundle");
    let manifest = export_checkpoint(&tiny, &output, &[VariantKind::Fp32]).unwrap();
    let graph = tract_onnx::onnx().model_for_path(output.join(&manifest.variants["fp32"].file)).unwrap();
    let names: Vec<String> =
        graph.input_outlets().unwrap().iter().map(|o| graph.node(o.node).name.clone()).collect();
    assert_eq!(names, ["input_ids", "bbox", "attention_mask", "token_type_ids"]);
    let model = graph.into_optimized().unwrap().into_runnable().unwrap();
    let mut words = 0;
    for (window, expected) in golden_windows(&goldens) {
        let inputs = names.iter().map(|name| input(name, &window).into()).collect();
        let outputs = model.run(inputs).unwrap();
        let found = outputs[0].to_plain_array_view::<f32>().unwrap();
        let found = found.as_slice().unwrap();
        assert_eq!(found.len(), expected.len());
        for (token, (found, expected)) in found.chunks(LABELS).zip(expected.chunks(LABELS)).enumerate() {
            let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{worst} at token {token} of {}", window.len());
            assert_eq!(best(found), best(expected));
            words += 1;
        }
    }
    assert!(words > 1000, "only {words} tokens were compared");
}
